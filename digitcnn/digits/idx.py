"""The IDX format: read without trusting any of its bytes, written atomically.

    00 00 08 D    8: unsigned bytes; D: dimensions, 1 for labels, 3 for images
    D times       size of that dimension, 32 bits, big-endian
    the values    one byte each, the last dimension fastest

Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format". Files may be gzipped, which their
first bytes show, not their names. PyTorch is imported only where tensors are made, so that listing
digit sets is quick.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from digitcnn.errors import DigitSetError
from digitcnn.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

# No published digits are larger: EMNIST's largest file holds 0.2 GiB of pixels.
LARGEST = 1 << 30

# Deflate cannot pack more than 1,032 bytes into one (https://zlib.net/zlib_tech.html).
DEFLATE_LIMIT = 1_032

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8
KINDS = {1: "labels", 3: "images"}

Shape = tuple[int, ...]


def read_idx(path: Path, dimensions: int | None = None) -> Tensor:
    """Read an IDX file as uint8 [N] (labels) or [N, rows, columns] (images).

    dimensions: 1 to accept labels only, 3 to accept images only; None accepts both.

    Never allocates more than the header declares, and refuses a header that the file is too short
    for. Raises DigitSetError, naming the file, when it is not an IDX file, is truncated or
    damaged, holds too much, or holds images where labels are expected or the reverse.
    """
    import torch

    shape, values = read_values(path, dimensions)
    if not values:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.frombuffer(values, dtype=torch.uint8).view(shape)


def read_values(path: Path, dimensions: int | None = None) -> tuple[Shape, bytearray]:
    """Read an IDX file as ``read_idx`` does, but return its shape and plain bytes."""
    with _open(path) as file:
        shape = _read_shape(file, path, dimensions)
        size = math.prod(shape)
        _check_plausible(path, size)
        values = bytearray(size)
        count = _fill(file, memoryview(values))
        if count < size:
            raise DigitSetError(
                f"{path} is truncated ({count:,} of {size:,} values); "
                "delete it and download it again."
            )
        # At the end of a gzip file this read also checks its CRC.
        if file.read(1):
            raise DigitSetError(
                f"{path} holds more than the {size:,} values that it declares; "
                "delete it and download it again."
            )
        return shape, values


def read_shape(path: Path, dimensions: int | None = None) -> Shape:
    """Return the shape that ``read_idx`` would return, from the header where possible.

    Compares the declared size with the file's length, or with the length in a gzip file's last
    four bytes. Raises DigitSetError as ``read_idx`` does, but does not notice flipped bits.
    """
    with _open(path) as file:
        shape = _read_shape(file, path, dimensions)
        length = _unpacked_length(path)
    if length != 4 * (1 + len(shape)) + math.prod(shape):
        # Damaged, or a gzip file of several members: only reading the whole file shows which.
        return read_values(path, dimensions)[0]
    return shape


def write_idx(path: Path, values: Tensor) -> None:
    """Write uint8 ``values`` of one or three dimensions, gzipped if ``path`` ends in ``.gz``.

    The file appears whole or not at all. Equal values give equal bytes. Raises OSError when it
    cannot be written.
    """
    content = idx_bytes(values)
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with atomic_write(path) as file:
        file.write(content)


def idx_bytes(values: Tensor) -> bytes:
    """Encode uint8 ``values`` of one or three dimensions as an IDX file."""
    header = bytes((0, 0, UNSIGNED_BYTE, values.dim()))
    header += b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.contiguous().cpu().numpy().tobytes()


def looks_like_html(start: bytes) -> bool:
    """Return whether a file's first bytes are a web page: many servers send one for an error."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml"))


@contextmanager
def explaining(path: Path, done: str = "read") -> Iterator[None]:
    """Raise an OSError as a DigitSetError that says what cannot be done with the path."""
    try:
        yield
    except OSError as error:
        raise DigitSetError(
            f"{error.filename or path} cannot be {done} ({error.strerror or error}); check its "
            "permissions."
        ) from error


@contextmanager
def open_unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be compressed with gzip."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacking gzip; errors raised in the block become one sentence."""
    if not path.is_file():
        raise DigitSetError(f"{path} is not a file; put the IDX file there.")
    with explaining(path):
        try:
            with open_unpacked(path) as file:
                yield file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DigitSetError(
                f"{path} is a truncated or damaged gzip file ({error}); "
                "delete it and download it again."
            ) from error


def _read_shape(file: BinaryIO, path: Path, dimensions: int | None) -> Shape:
    start = file.read(4)
    if start[:3] != bytes((0, 0, UNSIGNED_BYTE)) or len(start) < 4 or start[3] not in KINDS:
        raise DigitSetError(
            f"{path} is {_describe(start + file.read(60))}, not an IDX file of digits; "
            "replace it with the original."
        )
    if dimensions is not None and start[3] != dimensions:
        raise DigitSetError(
            f"{path} holds {KINDS[start[3]]} where {KINDS[dimensions]} are expected; "
            "if the images file and the labels file were swapped, swap their names back."
        )
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DigitSetError(
            f"{path} is truncated within its header; delete it and download it again."
        )
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    if math.prod(shape) > LARGEST:
        raise DigitSetError(
            f"{path} declares {' x '.join(f'{size:,}' for size in shape)} values, above the limit "
            f"of {LARGEST:,}; replace it with the original."
        )
    return shape


def _describe(start: bytes) -> str:
    if not start:
        return "empty"
    if looks_like_html(start):
        return "an HTML page"
    if start[:2] == b"\0\0":
        return "another type of IDX file"
    if start.isascii() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        return "a text file"
    return "another kind of file"


def _check_plausible(path: Path, size: int) -> None:
    """Raise DigitSetError when the file is too short for ``size`` values, before allocating."""
    stored = path.stat().st_size
    if size > stored * DEFLATE_LIMIT:
        raise DigitSetError(
            f"{path} is truncated or damaged: it declares {size:,} values, but {stored:,} bytes "
            "cannot hold them; delete it and download it again."
        )


def _fill(file: BinaryIO, buffer: memoryview) -> int:
    """Read until ``buffer`` is full or the file ends; return how many bytes were read."""
    filled = 0
    while filled < len(buffer):
        # In pieces, so that an unpacking reader holds no second copy of the whole.
        count = cast(int, file.readinto(buffer[filled : filled + (1 << 20)]))  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def _unpacked_length(path: Path) -> int:
    """Return the unpacked length in bytes; of gzip as its last member says, modulo 2**32."""
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            return path.stat().st_size
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")
