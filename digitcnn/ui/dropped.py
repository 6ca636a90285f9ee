"""Checkpoints dropped on the page: held in memory, each for its own page session alone."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.network.filenames import numbered, safe_filename, save_under_free_name

# A page that asks for its models keeps them; without that they go after so long.
SECONDS_HELD = 70 * 60
PER_SESSION = 8
# 4 MB each, for all sessions together; the oldest go first.
HELD = 64

PREFIX = "dropped-"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one dropped file. key: its model's name on this page; None if refused.

    file: its name as the person called it. sentence: what network it holds, or why it is refused.
    """

    file: str
    sentence: str
    key: str | None


@dataclasses.dataclass
class _Held:
    session: str
    checkpoint: Checkpoint
    asked: float


class DroppedModels:
    """Thread-safe. A model's key holds a secret: who does not know it cannot ask for the model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often the models of any page have become others."""
        with self._lock:
            self._drop_old()
            return self._changes

    def receive(self, paths: Sequence[Path], session: str) -> list[Verdict]:
        """Read each file at once and hold what passed the gate; one verdict per file.

        A session has up to eight models; more push out its oldest.
        """
        return [self._one(path, session) for path in paths]

    def _one(self, path: Path, session: str) -> Verdict:
        try:
            found = dataclasses.replace(load(path).fitted(), path=None)
        except CheckpointError as error:
            return Verdict(path.name, str(error), None)
        with self._lock:
            self._drop_old()
            mine = [key for key, held in self._held.items() if held.session == session]
            for key in mine:
                if self._held[key].checkpoint.digest == found.digest:
                    del self._held[key]  # the same network again replaces itself
            mine = [key for key in mine if key in self._held]
            for key in mine[: max(0, len(mine) - PER_SESSION + 1)]:
                del self._held[key]
            key = PREFIX + secrets.token_urlsafe(16)
            self._held[key] = _Held(session, found, self._clock())
            self._changes += 1
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return Verdict(path.name, f"{found.verdict[:1].upper()}{found.verdict[1:]}.", key)

    def get(self, key: str) -> Checkpoint | None:
        """The model of that key; None where it is not, or no longer, held."""
        with self._lock:
            self._drop_old()
            held = self._held.get(key)
            return None if held is None else held.checkpoint

    def of(self, session: str) -> list[tuple[str, Checkpoint]]:
        """Keys and models of a session, the latest first; being asked keeps them."""
        with self._lock:
            self._drop_old()
            mine = [(key, held) for key, held in self._held.items() if held.session == session]
            for _, held in mine:
                held.asked = self._clock()
            return [(key, held.checkpoint) for key, held in reversed(mine)]

    def forget(self, session: str) -> None:
        """Let go of a session's models, as when its page was closed."""
        with self._lock:
            for key in [key for key, held in self._held.items() if held.session == session]:
                del self._held[key]
                self._changes += 1

    def _drop_old(self) -> None:
        oldest = self._clock() - SECONDS_HELD
        for key in [key for key, held in self._held.items() if held.asked < oldest]:
            del self._held[key]
            self._changes += 1


def keep(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a dropped model into a folder of checkpoints, under a name that is free there.

    Raises CheckpointError where it cannot be written.
    """
    stem = safe_filename(Path(checkpoint.name).name.removesuffix(".safetensors"), "dropped")
    return save_under_free_name(
        folder,
        numbered(stem),
        checkpoint.network,
        checkpoint.details,
        checkpoint.ood,
        reuse=False,  # each press of Keep writes a file
    )
