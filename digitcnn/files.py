"""Files that matter are written to a temporary name in the same folder, flushed, and renamed."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def atomic_write(path: Path, *, new: bool = False) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` only when the block ends without an error.

    After a crash or a full disk the old file is still there, whole. new: never take a name that is
    taken, even since the block began. Raises OSError, FileExistsError for a name that is taken.
    """
    # Not tempfile's mkstemp, whose files only their owner may read: others may read results.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if new:
            _take_free_name(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _take_free_name(temporary: Path, path: Path) -> None:
    """Rename, but never over another file. Raises FileExistsError where the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links in this folder (FAT, some network shares): the name first, then the content.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        temporary.replace(path)
    else:
        temporary.unlink()


def without_nan(value: Any) -> Any:
    """``value`` with every NaN or infinite number in it as None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON at ``path``, atomically. Raises OSError."""
    with atomic_write(path) as file:
        file.write(json.dumps(without_nan(value), indent=2, allow_nan=False).encode() + b"\n")
