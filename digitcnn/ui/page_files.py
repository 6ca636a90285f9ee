"""The page's own folder of files: uploads, and copies of what is offered for download.

Every process has its own, which nobody else on the machine can read. Nothing stays in it longer
than an hour or two, and it goes with the process; that of a process which was killed is taken away
by a later one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

KEPT_SECONDS = 3600
# Uploads beyond this are refused until older ones are gone.
MAX_BYTES = 2 << 30

_PREFIX = "digitcnn-page-"
# A living process touches its folder whenever it sweeps, every few minutes.
_ABANDONED_SECONDS = 24 * 3600


class PageFiles:
    """The folder; ``sweep`` is to be called every few minutes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @classmethod
    def make(cls) -> PageFiles:
        """A new folder where GRADIO_TEMP_DIR says, else where temporary files go.

        Gradio takes its folder from that variable, so it is set: before a component is made.
        """
        parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # taken away by another process, or another user's
                if time.time() - old.lstat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(old)
        files = cls(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
        os.environ["GRADIO_TEMP_DIR"] = str(files.folder)
        return files

    def holds(self, path: Path) -> bool:
        """Whether it is a file of this folder, wherever links in its path lead."""
        try:
            found = path.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # absent, a null byte, links in a circle
            return False
        return found.is_file() and found.is_relative_to(self.folder)

    def have_room_for(self, size: int) -> bool:
        """Whether ``size`` bytes more keep the folder within MAX_BYTES."""
        return size + sum(found.st_size for _, found in self._found()) <= MAX_BYTES

    def sweep(self, now: float | None = None) -> None:
        """Delete what has lain here for more than an hour; ``now``: seconds since 1970."""
        now = time.time() if now is None else now
        for path, found in self._found():
            # As Gradio does, which touches a file that it offers again: by the time of change.
            if now - found.st_ctime > KEPT_SECONDS:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # it holds more
                    path.parent.rmdir()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(self.folder)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                    found.append((path, path.lstat()))
        return found
