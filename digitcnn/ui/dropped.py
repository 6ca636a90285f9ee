"""Models dropped on the page: held in memory, each for its own page session alone."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import Checkpoint, generated_digits, load
from digitcnn.network.filenames import numbered, safe_filename, save_under_free_name
from digitcnn.network.own_format import AnyNetwork

# A page's models expire when it has not asked for them for this long.
SECONDS_HELD = 70 * 60
PER_SESSION = 8
# For all sessions together; the oldest expire first. Most have 4 MB, some have 64.
HELD = 64
HELD_BYTES = 512_000_000

PREFIX = "dropped-"


@dataclasses.dataclass(frozen=True)
class DroppedFile:
    """The result of reading one dropped file. key: its model's name on this page; None if refused.

    file: its name as the visitor sees it. sentence: a description of the model, or the problem.
    same_as: the name of an earlier file with the same model, whose key this one has.
    """

    file: str
    sentence: str
    key: str | None
    same_as: str = ""


@dataclasses.dataclass
class _Held:
    session: str
    checkpoint: Checkpoint
    last_used: float


class DroppedModels:
    """Thread-safe. A model's key has a secret part: only its own page can use the model.

    digits: returns the training digits on which other networks are rebuilt.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        digits: Callable[[], DigitSet] = generated_digits,
        most_bytes: int = HELD_BYTES,
    ) -> None:
        self._clock, self._digits, self._most_bytes = clock, digits, most_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often the models of any page have changed."""
        with self._lock:
            self._drop_old()
            return self._changes

    def receive(self, paths: Sequence[Path], session: str) -> Iterator[DroppedFile]:
        """Read one file after another, hold the usable ones, and yield a verdict on each.

        A session has up to eight models; beyond that its oldest are removed, and a verdict on each
        of these follows those on the files.
        """
        names = {key: checkpoint.name for key, checkpoint in self.of(session)}
        for path in paths:
            verdict = self._receive_one(path, session)
            if verdict.key is not None:
                names.setdefault(verdict.key, verdict.file)
            yield verdict
        held = {key for key, _ in self.of(session)}
        yield from (_removed(name) for key, name in names.items() if key not in held)

    def _receive_one(self, path: Path, session: str) -> DroppedFile:
        try:
            checkpoint = load(path, digits=self._digits).fitted()
        except CheckpointError as error:
            return DroppedFile(path.name, str(error), None)
        # The upload is deleted soon; the model does not need it.
        checkpoint = dataclasses.replace(checkpoint, path=None)
        with self._lock:
            self._drop_old()
            own = [key for key, held in self._held.items() if held.session == session]
            for key in own:
                other = self._held[key].checkpoint
                if (other.key, other.details) == (checkpoint.key, checkpoint.details):
                    self._held.move_to_end(key)
                    return DroppedFile(path.name, _described(other), key, same_as=other.name)
            for key in own[: max(0, len(own) - PER_SESSION + 1)]:
                del self._held[key]
            key = PREFIX + secrets.token_urlsafe(16)
            self._held[key] = _Held(session, checkpoint, self._clock())
            self._changes += 1
            while len(self._held) > HELD or self._bytes() > self._most_bytes:
                self._held.popitem(last=False)
        return DroppedFile(path.name, _described(checkpoint), key)

    def get(self, key: str) -> Checkpoint | None:
        """Return the model with that key; None if it is unknown or has expired."""
        with self._lock:
            self._drop_old()
            held = self._held.get(key)
            return None if held is None else held.checkpoint

    def of(self, session: str) -> list[tuple[str, Checkpoint]]:
        """Return keys and models of a session, the latest first, and renew their time."""
        with self._lock:
            self._drop_old()
            own = [(key, held) for key, held in self._held.items() if held.session == session]
            for _, held in own:
                held.last_used = self._clock()
            return [(key, held.checkpoint) for key, held in reversed(own)]

    def forget(self, session: str) -> None:
        """Release a session's models, as when its page was closed."""
        with self._lock:
            for key in [key for key, held in self._held.items() if held.session == session]:
                del self._held[key]
                self._changes += 1

    def _bytes(self) -> int:
        """The size of the files of all models but the latest."""
        return sum(held.checkpoint.size for held in list(self._held.values())[:-1])

    def _drop_old(self) -> None:
        oldest = self._clock() - SECONDS_HELD
        for key in [key for key, held in self._held.items() if held.last_used < oldest]:
            del self._held[key]
            self._changes += 1


def _described(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.verdict[:1].upper()}{checkpoint.verdict[1:]}."


def _removed(name: str) -> DroppedFile:
    sentence = f"removed to make room: a page holds {PER_SESSION} dropped models; drop it again."
    return DroppedFile(name, sentence, None)


def save_dropped(checkpoint: Checkpoint, folder: Path) -> Path:
    """Save a dropped model in a folder of checkpoints, under a free name and in our format.

    Raises CheckpointError for an ONNX model, whose file is never copied, and where the folder
    cannot be written.
    """
    stem = safe_filename(_stem(checkpoint.name), "dropped")
    network = checkpoint.classifier
    if not isinstance(network, AnyNetwork):
        raise CheckpointError(
            f"{checkpoint.name} is an ONNX model, which cannot be saved in digitcnn's format; drop "
            "its file again whenever you need it."
        )
    return save_under_free_name(
        folder,
        numbered(stem),
        network,
        checkpoint.details,
        checkpoint.ood,
        description=checkpoint.description,
        reuse=False,  # each press of Save writes a file
    )


_SUFFIXES = [".safetensors", ".pth", ".ckpt", ".bin", ".pkl", ".tar", ".npz", ".npy", ".joblib"]


def _stem(name: str) -> str:
    """Return a file's name without the suffixes of weight files."""
    path = PurePath(name).name
    for suffix in _SUFFIXES:
        path = path.removesuffix(suffix)
    return path
