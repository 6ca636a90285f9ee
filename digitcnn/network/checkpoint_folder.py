"""A folder's checkpoints, each read once until its file changes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import Checkpoint, generated_digits, load
from digitcnn.network.classifier import Classifier
from digitcnn.network.reader import listed, shown

# Listed in a folder of checkpoints; ``load`` reads files of any name.
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
# As many as Compare takes.
NETWORKS_HELD = 8

# What changes when a file's content does; the time first.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class BadCheckpoint:
    """A file in a folder of checkpoints that cannot be used.

    reason: one sentence. name: as a Checkpoint's.
    """

    name: str
    path: Path
    reason: str


class CheckpointFolder:
    """The checkpoints of a folder, each inspected once until its file changes. Thread-safe.

    Asking again for an unchanged folder reads no file: one look at the folder's names, sizes and
    times. In memory are the details of all, with their OOD detectors (0.4 MB each), and the
    networks that were used last.
    """

    def __init__(
        self,
        folder: Path,
        also: Path | None = None,
        digits: Callable[[], DigitSet] = generated_digits,
    ) -> None:
        """List ``folder``; nothing is read yet.

        also: a second folder to read, such as that of the shipped model; names in the first hide
        those in the second. digits: as for ``load``.
        """
        self.folder = folder
        self._also, self._digits = also, digits
        self._lock = threading.Lock()
        self._networks: LRUCache[str, Classifier] = LRUCache(NETWORKS_HELD)
        self._inspected: dict[str, tuple[Stamp, Checkpoint | BadCheckpoint]] = {}

    def list(self) -> list[Checkpoint | BadCheckpoint]:
        """Return every checkpoint, newest first, unusable ones with their problem.

        Empty when there is no such folder. Names that begin with a dot are files being written.
        """
        with self._lock:
            inspected = {}
            for path, stamp in self._files():
                known = self._inspected.get(path.name)
                if known is None or known[0] != stamp:
                    known = stamp, self._inspect(path)
                inspected[path.name] = known
            self._inspected = inspected
            newest_first = sorted(inspected.values(), key=lambda item: item[0], reverse=True)
            return [entry for _, entry in newest_first]

    def get(self, name: str) -> Checkpoint:
        """Return the checkpoint of that name, with its network. Raises as ``find``."""
        found = self.find(name)
        return dataclasses.replace(found, held=self._network(found))

    def find(self, name: str) -> Checkpoint:
        """Return the checkpoint of that name. Raises CheckpointError if it is missing or bad."""
        entry = self._unchanged(name)
        entries = [entry] if entry is not None else self.list()
        for entry in entries:
            if entry.name == name:
                if isinstance(entry, BadCheckpoint):
                    raise CheckpointError(entry.reason)
                return entry
        known = listed([entry.name for entry in entries if isinstance(entry, Checkpoint)])
        raise CheckpointError(
            f"There is no checkpoint {shown(name)}; "
            f"{'available: ' + known if known else 'train one'}."
        )

    def delete(self, name: str) -> None:
        """Delete a checkpoint's file, unless it is in the second folder.

        Raises CheckpointError for an unknown name, or a file that cannot be deleted.
        """
        for entry in self.list():
            if entry.name == name and entry.path is not None and entry.path.parent == self.folder:
                try:
                    entry.path.unlink(missing_ok=True)
                except OSError as error:
                    raise CheckpointError(
                        f"{entry.path.name} cannot be deleted ({error.strerror}); check the "
                        "permissions of its folder."
                    ) from error
                return
        raise CheckpointError(f"There is no file of checkpoint {shown(name)} to delete.")

    def _unchanged(self, name: str) -> Checkpoint | BadCheckpoint | None:
        """Return the entry of that name if its file is unchanged; checks only that file."""
        with self._lock:
            for stamp, entry in self._inspected.values():
                if entry.name == name and entry.path is not None:
                    hidden = self._also is not None and entry.path.parent == self._also
                    if not hidden and _stamp(entry.path) == stamp:
                        return entry
        return None

    def _network(self, entry: Checkpoint) -> Classifier:
        with self._lock:
            network = self._networks.get(entry.key)
            if network is None:
                self._networks[entry.key] = network = entry.classifier
            return network

    def _inspect(self, path: Path) -> Checkpoint | BadCheckpoint:
        try:
            return dataclasses.replace(load(path, digits=self._digits).fitted(), held=None)
        except CheckpointError as error:
            return BadCheckpoint(shown(path.name.removesuffix(".pt")), path, str(error))

    def _files(self) -> Iterator[tuple[Path, Stamp]]:
        """Return each file that could be a checkpoint, with its stamp."""
        paths: dict[str, Path] = {}
        for folder in (self.folder, self._also):
            for path in _listing(folder) if folder is not None else ():
                paths.setdefault(path.name, path)
        for path in paths.values():
            if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            stamp = _stamp(path)
            if stamp is not None:  # else deleted since its name was read
                yield path, stamp


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(
            f"The folder {shown(str(folder), 100)} cannot be read "
            f"({error.strerror or error}); check its permissions."
        ) from error
