"""Write digit sets into the data folder, one writer at a time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.digits.set_files import RESERVED, file_names, layout_of, list_folder
from digitcnn.errors import DigitSetError, DownloadError

# Valid names of own sets.
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def check_new(data_dir: Path, name: str, split: str, reserved: Collection[str]) -> None:
    """Raise DigitSetError when an own set cannot have that name, or has that split already."""
    if not _OWN_NAME.fullmatch(name):
        raise DigitSetError(
            f"The name {name!r:.80} cannot be a folder's name; use up to 60 letters, digits, dots, "
            "dashes and underscores."
        )
    # Some file systems ignore the case of letters.
    if name.lower() in {known.lower() for known in (*RESERVED, *reserved)}:
        raise DigitSetError(f"{name} is a built-in set; choose another name.")
    folder = data_dir / name
    if folder.is_file():
        raise DigitSetError(f"{folder} is a file; choose another name for the set.")
    names = {
        file
        for stem in layout_of(name).stems[split]
        for kind in ("images", "labels")
        for file in file_names(stem, kind)
    }
    existing = sorted(names.intersection(list_folder(folder)))
    if existing:
        raise DigitSetError(
            f"{folder} has {split} digits already ({', '.join(existing)}); choose another name, "
            "or move them away."
        )


def add(data_dir: Path, digit_set: DigitSet, reserved: Collection[str]) -> Path:
    """Write a set into the folder of its name and return the folder.

    Nothing that exists is replaced. Raises DigitSetError as ``check_new`` does, or when the folder
    cannot be written.
    """
    name, split = digit_set.name, digit_set.split
    check_new(data_dir, name, split, reserved)
    folder = data_dir / name
    try:
        with exclusive(data_dir, folder, name, "being written to"):
            check_new(data_dir, name, split, reserved)
            labels, images = (folder / file_names(split, kind)[0] for kind in ("labels", "images"))
            try:
                # A set is found by its images, so it appears whole when these appear.
                write_idx(labels, digit_set.labels)
                write_idx(images, digit_set.images)
            except BaseException:
                labels.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise DigitSetError(cannot_write(name, folder, error)) from error
    return folder


@contextmanager
def exclusive(data_dir: Path, folder: Path, name: str, doing: str) -> Iterator[None]:
    """Keep all other threads and processes from writing this set while the block runs.

    Makes the folder, and removes it again if nothing was written into it. The system releases the
    lock when the process dies. Raises DownloadError when another writer has the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Held by one generator, whichever thread it runs or is closed in.
    lock = FileLock(data_dir / f".{name}.lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise DownloadError(
            f"{name} is already {doing} {data_dir}; wait for it to finish."
        ) from error
    try:
        yield
    finally:
        try:
            if not any(folder.iterdir()):
                folder.rmdir()
        finally:
            lock.release()


def cannot_write(name: str, folder: Path, error: OSError) -> str:
    """Return the sentence for a set that cannot be written."""
    return (
        f"{name} cannot be written to {folder} ({error.strerror or error}); free some space or "
        "change its permissions, or choose another folder with --data-dir."
    )
