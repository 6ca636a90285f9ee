"""The page's own folder of files: uploads, and copies of files offered for download.

Each process has its own, private to its user. Files are deleted after an hour or two, and the
folder when the process ends; a later process deletes the folder of one that was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

LIFETIME_SECONDS = 3600
# Further uploads are rejected until older ones are deleted.
MAX_BYTES = 2 << 30

_PREFIX = "digitcnn-page-"
# A living process touches its folder with each sweep, every few minutes.
_ABANDONED_SECONDS = 24 * 3600


class PageFiles:
    """The folder; call ``sweep`` every few minutes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @classmethod
    def make(cls) -> PageFiles:
        """Make a folder in GRADIO_TEMP_DIR, else in the system's folder of temporary files.

        Sets that variable to the new folder, for Gradio: call this before creating components.
        Deletes abandoned folders.
        """
        parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # deleted by another process, or another user's
                if time.time() - old.lstat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(old)
        files = cls(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
        os.environ["GRADIO_TEMP_DIR"] = str(files.folder)
        return files

    def holds(self, path: Path) -> bool:
        """Return whether it is a file of this folder, after following all links."""
        try:
            resolved = path.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # absent, a null byte, a loop of links
            return False
        return resolved.is_file() and resolved.is_relative_to(self.folder)

    def has_room_for(self, size: int) -> bool:
        """Return whether ``size`` more bytes fit within MAX_BYTES."""
        return size + sum(stat.st_size for _, stat in self._list()) <= MAX_BYTES

    def sweep(self, now: float | None = None) -> None:
        """Delete files older than an hour. now: seconds since 1970."""
        now = time.time() if now is None else now
        for path, stat in self._list():
            # By the time of change, as Gradio touches a file that it offers again.
            if now - stat.st_ctime > LIFETIME_SECONDS:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty
                    path.parent.rmdir()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(self.folder)

    def remove(self) -> None:
        """Delete the folder with all its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _list(self) -> list[tuple[Path, os.stat_result]]:
        files = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    files.append((path, path.lstat()))
        return files
