"""Computed numbers kept on disk, to be read the next time: checked, bounded, never relied on."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from pathlib import Path

from digitcnn.files import atomic_write

log = logging.getLogger(__name__)


class DiskCache:
    """Files of one kind in ``folder``, at most ``limit`` bytes; those unused for longest go first.

    Thread-safe. A file that cannot be read is made again; a folder that cannot be written costs
    time later and leaves a line in the log.

    ending: of the files' names. magic: their first bytes; another number in it makes this version
    ignore what older ones wrote. what: is kept, in the plural, for the log.
    """

    def __init__(self, folder: Path, ending: str, magic: bytes, limit: int, what: str) -> None:
        self.folder, self.limit = folder, limit
        self._ending, self._magic, self._what = ending, magic, what
        self._dropping = threading.Lock()

    def read(self, name: str, size: int) -> memoryview | None:
        """What was written under that name, ``size`` bytes; None for any other file, or none."""
        path = self.folder / f"{name}{self._ending}"
        try:
            data = memoryview(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("Kept %s cannot be read and are made again: %s", self._what, error)
            return None
        head = len(self._magic) + hashlib.sha256().digest_size
        body = data[head:]
        if len(body) != size or data[:head] != self._magic + hashlib.sha256(body).digest():
            log.warning("Kept %s %s are damaged and are made again", self._what, path.name)
            return None
        with contextlib.suppress(OSError):  # in a folder that can be read only
            path.touch()
        return body

    def write(self, name: str, body: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{name}{self._ending}") as file:
                file.write(self._magic + hashlib.sha256(body).digest() + body)
            with self._dropping:
                self._drop_oldest()
        except OSError as error:
            log.warning("The %s cannot be kept in %s: %s", self._what, self.folder, error)

    def _drop_oldest(self) -> None:
        files = []
        for path in self.folder.glob(f"*{self._ending}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process has dropped it
            files.append((status.st_mtime_ns, path, status.st_size))
        total = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size
