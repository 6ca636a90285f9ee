"""Read a person's digits from arrays: an ``.npz``, ``.npy`` files or a CSV table.

Arrays are read with ``numpy.load(allow_pickle=False)``, so nothing in them is run. A member's
declared size is compared with the file before memory is allocated. Names and shapes are accepted
where they have only one meaning; everything else is refused with the conversion that would help.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.idx import DEFLATE_LIMIT, GZIP_MAGIC, LARGEST
from digitcnn.digits.image_files import LEAST_CONTRAST
from digitcnn.errors import DigitSetError

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

# Up to TIGHT_BYTES, any compression is accepted; above, more than hundredfold is a decompression
# bomb and not a set of digits.
TIGHT_BYTES, TIGHTEST = 64 << 20, 100

# The text of 60,000 images of 784 values is at most 190 MB.
MAX_CSV_BYTES = 1 << 30

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_SAVE = "save it with numpy.savez(path, images=..., labels=...)"

# Words in the names of arrays and columns.
_IMAGE_NAMES = {
    "x",
    "image",
    "images",
    "img",
    "imgs",
    "data",
    "pixel",
    "pixels",
    "features",
    "inputs",
}
_LABEL_NAMES = {"y", "label", "labels", "target", "targets", "class", "classes", "digit"}
_INDEX_NAMES = {"", "unnamed: 0", "id", "index", "imageid"}

# Errors that reading a forged zip file or array can raise.
_READ_ERRORS = (
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


def split_of(name: str) -> str:
    """Return the split that a file, folder or array name states: train, test, validation or ""."""
    for word in _words(name):
        if word.startswith("train"):
            return "train"
        if word.startswith(("test", "t10k")):
            return "test"
        if word in ("val", "valid", "validation", "dev"):
            return "validation"
    return ""


def _words(name: str) -> list[str]:
    """Split ``x_train``, ``trainImages`` or ``Xtest`` into lower-case words."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    spaced = re.sub(r"\b([xy])(train|test)|(train|test)([xy])\b", r"\1\3 \2\4", spaced)
    return re.findall(r"t10k|[a-z]+", spaced)


# Arrays


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
        yield
    except OSError as error:
        raise DigitSetError(
            f"{path} cannot be read ({error.strerror or error}); check its permissions."
        ) from error
    except _READ_ERRORS as error:
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
        shape, dtype = _read_header(cast(BinaryIO, file))
        start = file.tell()

    def read() -> Array:
        _check_size(name, path, shape, dtype, info.file_size - start, info.compress_size)
        with archive.open(info) as file:
            return cast(Array, np.load(cast(Any, file), allow_pickle=False))

    return _Member(name, shape, read)


def _npy_member(path: Path) -> _Member:
    with path.open("rb") as file:
        shape, dtype = _read_header(file)
        stored = path.stat().st_size - file.tell()

    def read() -> Array:
        _check_size(path.stem, path, shape, dtype, stored, stored)
        return cast(Array, np.load(path, allow_pickle=False))

    return _Member(path.stem, shape, read)


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type that an array declares. Raises one of _READ_ERRORS."""
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
    labels = _named(chosen, _LABEL_NAMES)
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
    named = [member for member in members if set(_words(member.name)) & names]
    exact = [
        member
        for member in named
        if all(word in names or split_of(word) for word in _words(member.name))
    ]
    return exact if exact and len(named) > 1 else named


def _names(members: Sequence[_Member]) -> str:
    shapes = [f"{member.name} {list(member.shape)}" for member in members[:6]]
    return f"it has {', '.join(shapes)}"[:200]


# CSV


def read_csv(path: Path, split: str) -> tuple[Bytes, Bytes]:
    """Read a table with a row per image: a label and the pixels, row after row of the image.

    With a header, the label's column may be anywhere; without one it is the first. Raises
    DigitSetError.
    """
    lines = [line for line in _csv_text(path).splitlines() if line.strip()]
    first = lines[0] if lines else ""
    mark = max(",;\t ", key=first.count)
    header = [word.strip(" \"'\r\n").lower() for word in first.split(mark)]
    # Names such as label and 1x1, or pandas' numbers of the columns.
    numbered = header == [str(place) for place in range(len(header))]
    named = not all(_is_number(word) for word in header)
    if len(lines) <= (named or numbered):
        raise DigitSetError(f"{path} has no rows of numbers; save a row per image: label, pixels.")
    try:
        table = np.loadtxt(
            lines,
            np.float32,
            comments=None,
            delimiter=None if mark == " " else mark,
            skiprows=int(named or numbered),
            quotechar='"',
            ndmin=2,
        )
    except (ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DigitSetError(
            f"{path} is not a table of numbers ({reason}); save a row per image: label, pixels."
        ) from error
    labels = [place for place, word in enumerate(header) if named and word in _LABEL_NAMES]
    dropped = [place for place, word in enumerate(header) if named and word in _INDEX_NAMES]
    pixels = table.shape[1] - len(dropped)
    if not labels and not named and _side(pixels) is None:
        labels = [0]
    if len(labels) != 1:
        raise DigitSetError(
            f"{path} has {pixels} columns of pixels but no column of labels, as Kaggle's test.csv; "
            "add a file with labels, such as its train.csv."
            if not labels
            else f"{path} has several columns of labels; keep one, called label."
        )
    images = np.delete(table, [*labels, *dropped], axis=1)
    digits = to_labels(table[:, labels[0]], f"The label column of {path}")
    return to_pixels(images, str(path), len(digits)), digits


def _csv_text(path: Path) -> str:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            content = stream.read(MAX_CSV_BYTES + 1)
        if len(content) > MAX_CSV_BYTES:
            raise DigitSetError(
                f"{path} has more than {MAX_CSV_BYTES >> 20:,} MiB of text; save it in parts, or "
                "as an .npz."
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DigitSetError(f"{path} is not a text file in UTF-8; save it again as CSV.") from error
    except (EOFError, zlib.error, OSError) as error:
        raise DigitSetError(f"{path} cannot be read ({error}); save it again.") from error


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# Conversion


def to_labels(values: Array, what: str) -> Bytes:
    """Convert labels [N], [N, 1], one-hot [N, 10], or digits as text or words, to uint8 [N].

    what: names the array in errors. Raises DigitSetError.
    """
    if values.ndim == 2 and values.shape[1] == CLASSES and values.dtype.kind in "buif":
        if not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
            raise DigitSetError(
                f"{what} has shape {list(values.shape)} but is not one-hot; save each image's "
                "digit, with labels.argmax(axis=1) for probabilities."
            )
        digits: Bytes = values.argmax(1).astype(np.uint8)
        return digits
    if values.ndim < 1 or values.size != max(values.shape) or not values.size:
        raise DigitSetError(
            f"{what} has shape {list(values.shape)!s:.80}; expected [images] or one-hot "
            "[images, 10] without zeros, so save each image's digit."
        )
    flat = values.reshape(-1)
    if flat.dtype.kind in "US":
        return _text_labels(flat, what)
    whole = flat.astype(np.int64) if np.isfinite(flat).all() else np.full(len(flat), -1)
    if not np.array_equal(whole, flat) or whole.min() < 0 or whole.max() >= CLASSES:
        hint = ", with 0 instead of 10" if whole.min() == 1 and whole.max() == CLASSES else ""
        raise DigitSetError(
            f"{what} must be whole numbers from 0 to 9, but contains "
            f"{flat[(whole != flat) | (whole < 0) | (whole >= CLASSES)][0]!s:.20}; save each "
            f"image's digit{hint}."
        )
    return whole.astype(np.uint8)


def _text_labels(texts: Array, what: str) -> Bytes:
    if texts.dtype.kind == "S":
        texts = np.char.decode(texts, "utf-8", "replace")
    digits: Mapping[str, int] = {
        **{word: digit for digit, word in enumerate(WORDS)},
        **{str(digit): digit for digit in range(CLASSES)},
    }
    labels = [digits.get(str(text).strip().lower()) for text in texts]
    if None in labels:
        raise DigitSetError(
            f"{what} contains {str(texts[labels.index(None)])!r:.40}; labels must be digits 0 to 9."
        )
    return np.array(labels, np.uint8)


def to_pixels(values: Array, what: str, n: int) -> Bytes:
    """Convert ``n`` images of any number type and unambiguous shape to uint8 [n, H, W].

    Values are 0 to 255, or 0 to 1 (fractions, or True for ink or paper), give or take a rounding
    error. what: names the array in errors. Raises DigitSetError.
    """
    images = _in_order(values, what, n)
    if images.dtype.kind not in "buif":
        raise DigitSetError(f"{what} holds text where numbers are expected; save it as uint8.")
    low, high = float(images.min()), float(images.max())
    exact = images.dtype.kind != "f"
    top = 1 if high <= (1 if exact else 1.001) else 255
    slack = 0 if exact else top / 1000
    faint = not exact and top == 255 and 0 < high < LEAST_CONTRAST
    if faint or not -slack <= low <= high <= top + slack:
        raise DigitSetError(
            f"{what} has values from {low:g} to {high:g}, expected 0 to 255 or 0 to 1; "
            f"{_rescaling(low, high)}."
        )
    if images.dtype == np.uint8 and top == 255:
        return np.ascontiguousarray(images)
    # Image by image: as floats, all of them would take four times the memory.
    pixels = np.empty(images.shape, np.uint8)
    for target, image in zip(pixels, images, strict=True):
        target[:] = np.rint(np.clip(image.astype(np.float32), 0, top) * (255 / top))
    return pixels


def _rescaling(low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "replace values that are not finite before saving"
    if -1.01 <= low < 0 and high <= 1.01:
        return "save (images + 1) / 2"
    if low < 0:
        return "undo the normalisation before saving, with images * std + mean"
    if high < LEAST_CONTRAST:
        return "save images / images.max()"
    return "save images / 257" if high <= 65_535 and high > 4_095 else "scale them before saving"


def _in_order(values: Array, what: str, n: int) -> Array:
    """Return the images as [n, H, W], from any shape that can mean only one thing."""
    shape = values.shape
    if values.ndim > 1 and values.size:
        if shape[0] != n and shape[-1] == n:
            values = np.moveaxis(values, -1, 0)
        count, *sizes = values.shape
        # Axes of size 1 are channels, such as in [n, 28, 28, 1] and [n, 1, 28, 28].
        images = values.reshape(count, *(size for size in sizes if size > 1))
        side = _side(images.shape[1]) if images.ndim == 2 else None
        if side is not None:
            images = images.reshape(count, side, side)
        elif images.ndim == 4 and 3 in (images.shape[1], images.shape[3]):
            images = _luminance(images)
        if images.ndim == 3 and count == n:
            return images
        if images.ndim == 3:
            raise DigitSetError(
                f"{what} has {count:,} images but {n:,} labels; save as many labels as images."
            )
    raise DigitSetError(
        f"{what} has shape {list(shape)!s:.80}; expected [images, rows, columns] or "
        "[images, 784] without zeros, so reshape it before saving."
    )


def _luminance(images: Array) -> Array:
    """Convert colour images, channels first or last, by ITU-R 601's weights."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    channels_last = images if images.shape[3] == 3 else np.moveaxis(images, 1, -1)
    grey = np.stack([image.astype(np.float32) @ weights for image in channels_last])
    return grey if images.dtype.kind == "f" else np.rint(grey).astype(np.int64)


def _side(pixels: int) -> int | None:
    """Return the side of a square image with so many pixels, None where there is none."""
    side = math.isqrt(pixels)
    return side if side >= 8 and side * side == pixels else None
