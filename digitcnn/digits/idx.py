"""The IDX format: read without trusting a byte of it, written atomically.

    00 00 08 D    8: unsigned bytes; D: dimensions, 1 for labels, 3 for images
    D times       size of that dimension, 32 bits, big-endian
    the values    one byte each, the last dimension fastest

Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format". Files may be gzipped; whether one
is, is told by its first bytes, not by its name.
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

# Nobody's digits are larger: EMNIST's largest file holds 0.2 GiB of pixels.
LARGEST = 1 << 30

# Deflate cannot pack more than 1,032 bytes into one (https://zlib.net/zlib_tech.html).
DEFLATE_LIMIT = 1_032

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8
KINDS = {1: "labels", 3: "images"}

Shape = tuple[int, ...]


def read_idx(path: Path, dimensions: int | None = None) -> Tensor:
    """The values of an IDX file: uint8 [N] (labels) or [N, rows, columns] (images).

    dimensions: 1 or 3 where only labels or only images will do; None takes either.

    Never takes more memory than the header declares, nor believes a header that the file cannot
    fill. Raises DigitSetError, naming the file, when it is no IDX file, is cut, holds too much,
    is damaged, or holds images where labels are expected and the other way round.
    """
    import torch  # here, so that a list of sets does without

    with _open(path) as file:
        shape = _read_shape(file, path, dimensions)
        size = math.prod(shape)
        _refuse_what_cannot_fit(path, size)
        values = torch.empty(shape, dtype=torch.uint8)
        found = _fill(file, values.view(-1).numpy().data) if size else 0
        if found < size:
            raise DigitSetError(
                f"{path} is cut: {found:,} of the {size:,} values that it declares are there; "
                "delete it and fetch it again."
            )
        # At the end of a gzip file this read is also what checks its CRC.
        if file.read(1):
            raise DigitSetError(
                f"{path} holds more than the {size:,} values that it declares; "
                "delete it and fetch it again."
            )
        return values


def read_shape(path: Path, dimensions: int | None = None) -> Shape:
    """What ``read_idx`` would return the shape of, without reading the values where possible.

    The declared size is compared with the file's length, of a gzip file with the length in its
    last four bytes. Raises DigitSetError as ``read_idx`` does, but does not see flipped bits.
    """
    with _open(path) as file:
        shape = _read_shape(file, path, dimensions)
        length = _length(path)
    if length != 4 * (1 + len(shape)) + math.prod(shape):
        # Damaged, or a gzip file of several members: only reading it tells.
        return tuple(read_idx(path, dimensions).shape)
    return shape


def write_idx(path: Path, values: Tensor) -> None:
    """``values``, uint8 with one or three dimensions, as an IDX file; gzipped if so named.

    The file appears whole or not at all. Equal values give equal bytes. Raises OSError when it
    cannot be written.
    """
    content = idx_bytes(values)
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with atomic_write(path) as file:
        file.write(content)


def idx_bytes(values: Tensor) -> bytes:
    """``values``, uint8 with one or three dimensions, as an IDX file holds them."""
    import torch

    if values.dtype != torch.uint8 or values.dim() not in KINDS:
        raise ValueError(
            f"uint8 with 1 or 3 dimensions expected, not {values.dtype} {values.dim()}"
        )
    header = bytes((0, 0, UNSIGNED_BYTE, values.dim()))
    header += b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.contiguous().cpu().numpy().tobytes()


def looks_like_html(start: bytes) -> bool:
    """Whether a file that starts so is a web page: what many servers send instead of an error."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml"))


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """The file, unpacked if gzipped; what goes wrong in the block becomes one sentence."""
    if not path.is_file():
        raise DigitSetError(f"{path} is no file; put the IDX file there.")
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(BinaryIO, unpacked)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DigitSetError(
            f"{path} is a cut or damaged gzip file ({error}); delete it and fetch it again."
        ) from error
    except OSError as error:
        raise DigitSetError(
            f"{path} cannot be read ({error.strerror or error}); check its permissions."
        ) from error


def _read_shape(file: BinaryIO, path: Path, dimensions: int | None) -> Shape:
    start = file.read(4)
    if start[:3] != bytes((0, 0, UNSIGNED_BYTE)) or len(start) < 4 or start[3] not in KINDS:
        raise DigitSetError(
            f"{path} is {_what_it_is(start + file.read(60))}, no IDX file of digits; "
            "put the original file in its place."
        )
    if dimensions is not None and start[3] != dimensions:
        raise DigitSetError(
            f"{path} holds {KINDS[start[3]]} where {KINDS[dimensions]} are expected; "
            "if the images file and the labels file were swapped, swap their names back."
        )
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DigitSetError(f"{path} ends within its header; delete it and fetch it again.")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    if math.prod(shape) > LARGEST:
        raise DigitSetError(
            f"{path} declares {' x '.join(f'{size:,}' for size in shape)} values, more than the "
            f"{LARGEST:,} that are read; put the original file in its place."
        )
    return shape


def _what_it_is(start: bytes) -> str:
    if not start:
        return "empty"
    if looks_like_html(start):
        return "an HTML page"
    if start[:2] == b"\0\0":
        return "of another IDX type"
    if start.isascii() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        return "a text file"
    return "something else"


def _refuse_what_cannot_fit(path: Path, size: int) -> None:
    """Before memory is taken for ``size`` values, see that the file is long enough for them."""
    stored = path.stat().st_size
    if size > stored * DEFLATE_LIMIT:
        raise DigitSetError(
            f"{path} declares {size:,} values, which its {stored:,} bytes cannot hold; "
            "delete it and fetch it again."
        )


def _fill(file: BinaryIO, buffer: memoryview) -> int:
    """Read until ``buffer`` is full or the file ends; returns how many bytes came."""
    filled = 0
    while filled < len(buffer):
        # In pieces, so that an unpacking reader holds no second copy of the whole.
        count = cast(int, file.readinto(buffer[filled : filled + (1 << 20)]))  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def _length(path: Path) -> int:
    """Unpacked length in bytes; of a gzip file what its last member says, modulo 2**32."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        if not packed:
            return path.stat().st_size
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")
