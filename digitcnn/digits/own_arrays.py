"""Read a person's digits from an ``.npz`` or from ``.npy`` files.

Arrays are read with ``numpy.load(allow_pickle=False)``, so nothing in them is run. A member's
declared size is compared with the file before memory is allocated.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from digitcnn.digits.idx import DEFLATE_LIMIT, LARGEST, explaining
from digitcnn.digits.own_values import (
    LABEL_NAMES,
    Array,
    Bytes,
    split_of,
    to_labels,
    to_pixels,
    words,
)
from digitcnn.errors import DigitSetError

# Up to TIGHT_BYTES, any compression is accepted; above, more than hundredfold is a decompression
# bomb and not a set of digits.
TIGHT_BYTES, TIGHTEST = 64 << 20, 100

_SAVE = "save it with numpy.savez(path, images=..., labels=...)"

# Words in the names of arrays.
_IMAGE_NAMES = {
    "x", "image", "images", "img", "imgs", "data", "pixel", "pixels", "features", "inputs",
}  # fmt: skip

# Errors that reading a forged zip file or array can raise.
READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    OverflowError,
    RuntimeError,  # NotImplementedError and RecursionError among them
)


@dataclass(frozen=True)
class _Member:
    """One array of a file or folder, not read yet. read: reads it, checked by its header."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Array]


def read_npz(path: Path, split: str) -> tuple[Bytes, Bytes]:
    """Read images uint8 [N, H, W] and labels uint8 [N] from an ``.npz``.

    Raises DigitSetError.
    """
    with _one_sentence(path), zipfile.ZipFile(path) as archive:
        members = [
            _npz_member(archive, info, path)
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        ]
        if not members:
            raise DigitSetError(f"{path} is a zip file without arrays; unpack it, or {_SAVE}.")
        return _images_and_labels(members, split, path)


def read_npy(path: Path, split: str) -> tuple[Bytes, Bytes]:
    """Read a folder's ``.npy`` arrays, or one of them with the labels next to it, as ``read_npz``.

    Raises DigitSetError.
    """
    folder = path if path.is_dir() else path.parent
    with _one_sentence(path):
        files = [file for file in sorted(folder.glob("*.npy")) if file.is_file()]
        members = [_npy_member(file) for file in files]
        # A file that is chosen by name states the split.
        stated = "" if path.is_dir() else split_of(path.stem)
        return _images_and_labels(members, stated or split, path)


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    try:
        with explaining(path):
            yield
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())[:120]
        raise DigitSetError(
            f"{path} cannot be read as numpy arrays ({reason}); it may be truncated, so {_SAVE}."
        ) from error


def _npz_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Member:
    name = info.filename.removesuffix(".npy")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DigitSetError(
            f"{path} is encrypted or compressed in a way that numpy does not use; {_SAVE}."
        )
    with archive.open(info) as file:
        shape, dtype = read_header(cast(BinaryIO, file))
        start = file.tell()

    def read() -> Array:
        _check_size(name, path, shape, dtype, info.file_size - start, info.compress_size)
        with archive.open(info) as file:
            return cast(Array, np.load(cast(Any, file), allow_pickle=False))

    return _Member(name, shape, read)


def _npy_member(path: Path) -> _Member:
    with path.open("rb") as file:
        shape, dtype = read_header(file)
        stored = path.stat().st_size - file.tell()

    def read() -> Array:
        _check_size(path.stem, path, shape, dtype, stored, stored)
        return cast(Array, np.load(path, allow_pickle=False))

    return _Member(path.stem, shape, read)


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type that an array declares. Raises one of READ_ERRORS."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format")
    return shape, dtype


def _check_size(
    name: str,
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    stored: int,
    compressed: int,
) -> None:
    """Raise DigitSetError unless an array fits its file, before memory is allocated for it.

    stored: bytes after the header, unpacked. compressed: as they are in the file.
    """
    # Objects would be unpickled, which runs code.
    if dtype.kind not in "buifUS":
        raise DigitSetError(
            f"The array {name} in {path} holds {dtype!s:.60} where numbers are expected; "
            "save it as uint8."
        )
    size = math.prod(shape) * dtype.itemsize
    if size != stored or size > compressed * DEFLATE_LIMIT:
        raise DigitSetError(
            f"The array {name} in {path} is truncated or damaged: it declares {size:,} bytes, "
            "which the file does not hold; save it again."
        )
    if size > LARGEST or size > max(TIGHT_BYTES, TIGHTEST * compressed):
        raise DigitSetError(
            f"The array {name} in {path} unpacks from {compressed:,} to {size:,} bytes, above "
            "the limit; save the images as uint8 with numpy.savez, in smaller sets."
        )


def _images_and_labels(members: Sequence[_Member], split: str, path: Path) -> tuple[Bytes, Bytes]:
    """Choose the arrays of ``split`` by their names, else by their shapes, and convert them."""
    by_split: dict[str, list[_Member]] = {}
    for member in members:
        by_split.setdefault(split_of(member.name), []).append(member)
    # Names that state no split belong to whichever was requested.
    chosen = by_split.get(split) or by_split.get("")
    if chosen is None:
        others = ", ".join(name for name in by_split if name)
        raise DigitSetError(
            f"{path} has no {split} arrays but {others} ({_names(members)}); "
            f"choose with --split, or {_SAVE}."
        )
    labels = _named(chosen, LABEL_NAMES)
    images = _named([member for member in chosen if member not in labels], _IMAGE_NAMES)
    if len(chosen) == 2 and len(images) + len(labels) < 2:
        # Of two arrays, as numpy.savez(path, a, b) leaves them, the smaller one has the labels.
        images, labels = ([m] for m in sorted(chosen, key=lambda m: -math.prod(m.shape)))
    if len(images) != 1 or len(labels) != 1:
        missing = "labels" if len(images) == 1 else "images"
        count = "no" if not (labels if missing == "labels" else images) else "several"
        raise DigitSetError(f"{path} has {count} {missing} ({_names(members)}); {_SAVE}.")
    digits = to_labels(labels[0].read(), f"The array {labels[0].name} in {path}")
    return to_pixels(images[0].read(), f"The array {images[0].name} in {path}", len(digits)), digits


def _named(members: Sequence[_Member], names: set[str]) -> list[_Member]:
    """Return the members with one of the names; of several, those with nothing else in theirs."""
    named = [member for member in members if set(words(member.name)) & names]
    exact = [
        member
        for member in named
        if all(word in names or split_of(word) for word in words(member.name))
    ]
    return exact if exact and len(named) > 1 else named


def _names(members: Sequence[_Member]) -> str:
    shapes = [f"{member.name} {list(member.shape)}" for member in members[:6]]
    return f"it has {', '.join(shapes)}"[:200]
