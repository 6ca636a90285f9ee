"""Computed tensors stored on disk for later: checked on reading, bounded in size.

Nothing relies on them. A file that cannot be read is computed again; a folder that cannot be
written costs time later and leaves a line in the log. Our own code instead of a cache library,
because those either unpickle what they read or keep a database that another process may lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from digitcnn.files import atomic_write

log = logging.getLogger(__name__)


class DiskCache:
    """Tensors of one kind in ``folder``, at most ``limit`` bytes; the least recently used go first.

    Thread-safe, and safe with other processes on the same folder.

    suffix: of the file names. magic: first bytes of each file; a new number in it makes this
    version ignore the files of older ones. what: plural noun for the log.
    """

    def __init__(self, folder: Path, suffix: str, magic: bytes, limit: int, what: str) -> None:
        self.folder, self.limit = folder, limit
        self._suffix, self._magic, self._what = suffix, magic, what
        self._evicting = threading.Lock()

    def read(self, name: str, rows: int, columns: int) -> Tensor | None:
        """Return the float32 [rows, columns] stored under that name; None where there is none."""
        path = self.folder / f"{name}{self._suffix}"
        try:
            data = memoryview(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("Stored %s cannot be read; computing them again: %s", self._what, error)
            return None
        head = len(self._magic) + hashlib.sha256().digest_size
        body = data[head:]
        size = rows * columns * np.dtype("<f4").itemsize
        if len(body) != size or data[:head] != self._magic + hashlib.sha256(body).digest():
            log.warning("Stored %s are damaged; computing them again: %s", self._what, path.name)
            return None
        with contextlib.suppress(OSError):  # a read-only folder
            path.touch()
        values = np.frombuffer(body, dtype="<f4").astype(np.float32)
        return torch.from_numpy(values).view(rows, columns)

    def write(self, name: str, values: Tensor) -> None:
        """Store float32 values under that name, then delete the oldest files beyond the limit."""
        body = values.numpy().astype("<f4").tobytes()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{name}{self._suffix}") as file:
                file.write(self._magic + hashlib.sha256(body).digest() + body)
            with self._evicting:
                self._evict()
        except OSError as error:
            log.warning("The %s cannot be stored in %s: %s", self._what, self.folder, error)

    def _evict(self) -> None:
        files = []
        for path in self.folder.glob(f"*{self._suffix}"):
            with contextlib.suppress(FileNotFoundError):  # another process deleted it
                status = path.stat()
                files.append((status.st_mtime_ns, path, status.st_size))
        total = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size
