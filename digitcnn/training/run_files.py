"""The files of a run that a page may list and download."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from digitcnn.errors import RunError
from digitcnn.training.run import Run

# A run writes into its folder and ``figures/`` below it, and nothing larger than this.
MAX_FILE = 64 << 20
MAX_FILES = 500


@dataclass(frozen=True)
class RunFile:
    """A file of a run.

    name: relative to the run's folder, such as ``figures/05_conv_filters.png``. size: in bytes.
    """

    name: str
    size: int


def list_files(run: Run) -> list[RunFile]:
    """Return the run's regular files by name, without links, hidden files and locks.

    Raises RunError when the folder is gone or cannot be listed.
    """
    files = []
    try:
        for folder in (run.folder, run.folder / "figures"):
            prefix = "" if folder == run.folder else "figures/"
            if prefix and not (folder.is_dir() and not folder.is_symlink()):
                continue
            for path in folder.iterdir():
                status = path.lstat()
                hidden = path.name.startswith(".") or path.suffix == ".lock"
                if stat.S_ISREG(status.st_mode) and not hidden and path.name.isprintable():
                    files.append(RunFile(prefix + path.name, status.st_size))
    except OSError as error:
        raise RunError(
            f"The files of run '{run.name}' cannot be listed ({error.strerror}); it may have been "
            "deleted."
        ) from error
    return sorted(files, key=lambda file: file.name)[:MAX_FILES]


def read_file(run: Run, name: str) -> bytes:
    """Return the content of one of ``list_files``, and of no other file.

    Raises RunError for any other name, or a file that is too large or cannot be read.
    """
    known = {file.name: file for file in list_files(run)}
    # Looked up, not joined: a name from outside never becomes a path.
    file = known.get(name) if isinstance(name, str) else None
    if file is None:
        raise RunError(f"Run '{run.name}' has no file {name!s:.60}; it has {', '.join(known)}.")
    if file.size > MAX_FILE:
        raise RunError(
            f"{file.name} is too large to download ({file.size:,} bytes); copy it from "
            f"{run.folder}."
        )
    try:
        # O_NOFOLLOW: a link may have replaced the file since it was listed.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(run.folder / file.name, flags), "rb") as opened:
            return opened.read(MAX_FILE)
    except OSError as error:
        raise RunError(
            f"{file.name} of run '{run.name}' cannot be read ({error.strerror}); try again."
        ) from error
