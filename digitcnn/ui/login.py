"""Login with names and passwords from a file; wrong guesses slow down, but never lock out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from cachetools import LRUCache

from digitcnn.errors import ConfigError

# Seconds before an answer: none at first, then doubling with each wrong password of a name.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0

# Any name can be tried, so only the latest are remembered.
NAMES_REMEMBERED = 10_000


class Logins:
    """The names and passwords; pass ``check`` to ``launch(auth=...)``.

    The wait comes before the response, right or wrong, so disconnecting early reveals nothing. A
    right password always succeeds, after at most ``LONGEST_WAIT`` seconds.
    """

    def __init__(
        self,
        passwords: Mapping[str, str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Store the passwords, by name. sleep: waits for so many seconds."""
        self._passwords = {name: password.encode() for name, password in passwords.items()}
        self._sleep = sleep
        # Used on the server's event loop only, so it needs no lock.
        self._failures: LRUCache[str, int] = LRUCache(NAMES_REMEMBERED)

    @classmethod
    def from_text(cls, text: str, source: str) -> Logins:
        """Read lines of ``name:password``; empty lines and those that start with ``#`` are skipped.

        source: where the text comes from, for messages. Raises ConfigError for any other line.
        """
        passwords: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, password = line.partition(":")
            name = name.strip()  # as Gradio does with the name that a person types
            if not colon or not name or not password:
                # The line itself may be a password: it is not repeated.
                raise ConfigError(f"Line {number} of {source} is not of the form name:password.")
            if name in passwords:
                raise ConfigError(f"Line {number} of {source} repeats a name; use each name once.")
            passwords[name] = password
        if not passwords:
            raise ConfigError(f"{source} contains no logins; add a line of the form name:password.")
        return cls(passwords)

    @classmethod
    def from_file(cls, path: Path) -> Logins:
        """Read a file as ``from_text`` does. Raises ConfigError for an unusable file."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"The --auth-file {path} cannot be read ({reason}).") from error
        return cls.from_text(text, str(path))

    async def check(self, name: str, password: str) -> bool:
        """Return whether the password is the name's, after the wait."""
        failures = self._failures.get(name, 0)
        # Counted before the wait: simultaneous guesses wait ever longer too.
        self._failures[name] = failures + 1
        if failures:
            await self._sleep(min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT))
        # An unknown name takes as long as a known one.
        expected = self._passwords.get(name) or secrets.token_bytes()
        right = secrets.compare_digest(password.encode("utf-8", "surrogatepass"), expected)
        if right:
            self._failures.pop(name, None)
        return right
