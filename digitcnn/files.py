"""Write files atomically: under a temporary name in the same folder, flushed, then renamed.

Also the text of JSON and CSV files.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def atomic_write(path: Path, *, new: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that takes the name ``path`` only if the block ends without an error.

    After a crash or on a full disk the old file is still whole. new: never replace a file, not
    even one that appeared since the block began; raises FileExistsError. Raises OSError.
    """
    # Not tempfile.mkstemp, which lets only the owner read its files: results are for others too.
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
    """Rename without replacing a file. Raises FileExistsError where the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network shares): reserve the name, then replace the file.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        temporary.replace(path)
    else:
        temporary.unlink()


def without_nan(value: Any) -> Any:
    """Return ``value`` with None for each NaN or infinite number in it: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return value


def csv_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path``, atomically. Raises OSError."""
    with atomic_write(path) as file:
        file.write(json.dumps(without_nan(value), indent=2, allow_nan=False).encode() + b"\n")
