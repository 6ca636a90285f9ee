"""Gradio's login with names and passwords of a file; guessing is slow and locks nobody out."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from digitcnn.errors import ConfigError

# Seconds before an answer: none at first, then doubling with each wrong password of a name.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0

# Anybody may try any name, so only the latest are remembered.
NAMES_REMEMBERED = 10_000


class Logins:
    """Who may enter. ``check`` is what ``launch(auth=...)`` takes.

    The wait comes before the answer, right or wrong, so that it tells nothing to whoever hangs up
    early; a right password always enters, after at most ``LONGEST_WAIT`` seconds.
    """

    def __init__(
        self,
        passwords: Mapping[str, str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._passwords = {name: password.encode() for name, password in passwords.items()}
        self._sleep = sleep
        self._wrong: OrderedDict[str, int] = OrderedDict()

    @classmethod
    def from_text(cls, text: str, where: str) -> Logins:
        """From lines of ``name:password``; empty lines and those after ``#`` are left out.

        where: what holds the text, for the message. Raises ConfigError for any other line.
        """
        passwords: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, password = line.partition(":")
            # Gradio strips the name that a person types.
            name = name.strip()
            if not colon or not name or not password:
                # The line itself may be a password: it is not repeated.
                raise ConfigError(f"Line {number} of {where} is not of the form name:password.")
            if name in passwords:
                raise ConfigError(f"Line {number} of {where} has a name that stands before it.")
            passwords[name] = password
        if not passwords:
            raise ConfigError(f"{where} names nobody; write a line of the form name:password.")
        return cls(passwords)

    @classmethod
    def from_file(cls, path: Path) -> Logins:
        """Raises ConfigError for a file that cannot be read or is not of the form."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise ConfigError(f"The --auth-file {path} cannot be read ({reason}).") from error
        return cls.from_text(text, str(path))

    async def check(self, name: str, password: str) -> bool:
        """Whether the password is the name's, answered after the wait."""
        wrong = self._wrong.pop(name, 0)
        # Counted before the wait: many tries at the same time wait ever longer too.
        self._wrong[name] = wrong + 1
        while len(self._wrong) > NAMES_REMEMBERED:
            self._wrong.popitem(last=False)
        if wrong:
            await self._sleep(min(FIRST_WAIT * 2 ** min(wrong - 1, 10), LONGEST_WAIT))
        known = self._passwords.get(name)
        # An unknown name takes the same way.
        right = secrets.compare_digest(
            password.encode("utf-8", "surrogatepass"), known or secrets.token_bytes()
        )
        if right:
            self._wrong.pop(name, None)
        return right
