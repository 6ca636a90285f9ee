"""The files of a run that a page may list and download."""

from __future__ import annotations

import os
import stat

from digitcnn.errors import RunError
from digitcnn.training.run import Run

# A run writes into its folder and ``figures/`` below it, and nothing larger than this.
MAX_FILE = 64 << 20
MAX_FILES = 500


def list_files(run: Run) -> list[str]:
    """Return the names of the run's regular files, without links, hidden files and locks.

    They are relative to its folder, such as ``figures/05_conv_filters.png``. Raises RunError
    when the folder is gone or cannot be listed.
    """
    files = []
    try:
        for folder in (run.folder, run.folder / "figures"):
            prefix = "" if folder == run.folder else "figures/"
            if prefix and not (folder.is_dir() and not folder.is_symlink()):
                continue
            for path in folder.iterdir():
                hidden = path.name.startswith(".") or path.suffix == ".lock"
                regular = stat.S_ISREG(path.lstat().st_mode)
                if regular and not hidden and path.name.isprintable():
                    files.append(prefix + path.name)
    except OSError as error:
        raise RunError(
            f"The files of run '{run.name}' cannot be listed ({error.strerror}); it may have been "
            "deleted."
        ) from error
    return sorted(files)[:MAX_FILES]


def read_file(run: Run, name: str) -> bytes:
    """Return the content of one of ``list_files``, and of no other file.

    Raises RunError for any other name, or a file that is too large or cannot be read.
    """
    known = list_files(run)
    if name not in known:
        raise RunError(f"Run '{run.name}' has no file {name!s:.60}; it has {', '.join(known)}.")
    try:
        # O_NOFOLLOW: a link may have replaced the file since it was listed.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(run.folder / name, flags), "rb") as opened:
            content = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise RunError(
            f"{name} of run '{run.name}' cannot be read ({error.strerror}); try again."
        ) from error
    if len(content) > MAX_FILE:
        raise RunError(
            f"{name} is too large to download (over {MAX_FILE:,} bytes); copy it from {run.folder}."
        )
    return content
