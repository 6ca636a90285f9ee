"""A person's own digits, from the files they have to a digit set.

Three kinds of source: an IDX pair, an ``.npz`` with ``images`` and ``labels``, and a folder of
pictures with a subfolder per digit. Nothing in them is run and no size in them is believed.

*Ink.* A digit set has high ink on paper 0; most people's digits are dark on light. For IDX and
``.npz`` that is decided once for the whole set, since its images have one origin: the paper is
the median of all border pixels, and where it is lighter than the images' mean everything is
inverted. Pictures that are framed are decided one by one, as photographs differ.

*Framing.* ``none`` keeps images of 28x28 as they are; ``mnist`` and ``emnist`` bring images of
any size to that framing as a sketch is brought to it. Where the set is written to is left to
``catalog``.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.idx import DEFLATE_LIMIT, LARGEST, read_idx
from digitcnn.digits.names import FRAMINGS
from digitcnn.digits.sketch import (
    FAINT,
    LEAST_CONTRAST,
    MAX_BYTES,
    frame_emnist,
    frame_mnist,
    from_picture,
    grey_of,
    open_picture,
)
from digitcnn.errors import DigitSetError, SketchError

# Below this an ``.npz`` may be packed as tightly as deflate can; above it, more than a hundredfold
# is no digits but a bomb.
HARMLESS, TIGHTEST = 64 << 20, 100

_DIGITS = tuple(str(digit) for digit in range(CLASSES))

# Files that systems leave in every folder.
LITTER = ("thumbs.db", "desktop.ini")

# Called with the images done and the images in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class OwnSet:
    """What was read. inverted: whether ink and paper were exchanged for the whole set; None where
    every picture was decided by itself."""

    digit_set: DigitSet
    inverted: bool | None


def read_own_set(
    path: Path, name: str, split: str, framing: str = "none", progress: Progress | None = None
) -> OwnSet:
    """The digits at ``path`` as a digit set of that name and split.

    path: a folder with ``<split>-images-idx3-ubyte`` and its labels (``t10k`` for test; ``.gz``
    or not) or such an images file with its labels beside it; an ``.npz``; or a folder with
    subfolders ``0`` to ``9`` of PNG, JPEG, WebP, BMP or GIF files, read in order of their names.
    Files that are named as EMNIST publishes them are set upright.
    framing: one of FRAMINGS.

    Raises DigitSetError, or SketchError for a picture, with one sentence that names the file.
    """
    if framing not in FRAMINGS:
        raise DigitSetError(f"The framing is {framing!r:.80}; take {', '.join(FRAMINGS)}.")
    if path.is_dir():
        pictures = _pictures(path)
        if pictures and framing != "none":
            framed, labels = _framed_pictures(pictures, framing, progress)
            return OwnSet(DigitSet(framed, labels, name, split), None)
        if pictures:
            images, labels = _small_pictures(pictures)
        else:
            images, labels = _read_idx_pair(_images_file(path, split))
    elif not path.is_file():
        raise DigitSetError(
            f"There is nothing at {path}; give an IDX images file, an .npz, or a folder of either "
            "IDX files or pictures per digit."
        )
    elif path.suffix.lower() == ".npz":
        images, labels = _read_npz(path)
    else:
        images, labels = _read_idx_pair(path)
    _check_counts(images, labels, path)
    images, inverted = _ink_high(images, path)
    images = _framed(images, framing, path, progress)
    return OwnSet(DigitSet(images, labels, name, split), inverted)


def _check_counts(images: Tensor, labels: Tensor, path: Path) -> None:
    if len(images) != len(labels) or not len(images):
        raise DigitSetError(
            f"{path} has {len(images):,} images and {len(labels):,} labels; as many labels as "
            "images are expected, and at least one of each."
        )
    if int(labels.max()) >= CLASSES:
        raise DigitSetError(
            f"A label in {path} is {int(labels.max())}, but digits are 0 to 9; take a set of "
            "digits."
        )


# Ink and framing


def _ink_high(images: Tensor, path: Path) -> tuple[Tensor, bool]:
    """The images, [N, H, W], with high ink on low paper, and whether that took an inversion."""
    low, high = int(images.min()), int(images.max())
    if high - low < LEAST_CONTRAST:
        raise DigitSetError(
            f"The images of {path} are blank: their values go from {low} to {high} only, where 0 "
            "to 255 are expected; scale them before saving."
        )
    inverted = _paper(images) > float(images.sum(dtype=torch.int64)) / images.numel()
    return (255 - images if inverted else images), inverted


def _paper(images: Tensor) -> int:
    """The median of all border pixels."""
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    counts = torch.stack([torch.bincount(side.flatten(), minlength=256) for side in sides]).sum(0)
    return int((counts.cumsum(0) * 2 >= counts.sum()).nonzero()[0])


def _framed(images: Tensor, framing: str, path: Path, progress: Progress | None) -> Tensor:
    """The images, ink high, as uint8 [N, 28, 28]."""
    right_size = images.shape[1:] == (SIDE, SIDE)
    if framing == "none":
        if not right_size:
            raise DigitSetError(
                f"The images of {path} are {images.shape[1]}x{images.shape[2]}, but framing none "
                f"keeps images of {SIDE}x{SIDE} as they are; take --frame mnist or emnist."
            )
        return images
    paper = _paper(images)
    if right_size and paper <= FAINT:
        return frame_mnist(images) if framing == "mnist" else frame_emnist(images)
    # A margin of paper, so that the border shows paper where digits are cut to their ink.
    margin = max(2, max(images.shape[1:]) // 4)
    framed = torch.empty(len(images), SIDE, SIDE, dtype=torch.uint8)
    for index, image in enumerate(images):
        padded = np.pad(image.numpy(), margin, constant_values=paper)
        framed[index] = _sketched(Image.fromarray(padded), f"Image {index} of {path}")
        if progress is not None:
            progress(index + 1, len(images))
    return frame_emnist(framed) if framing == "emnist" else framed


def _sketched(picture: Image.Image, what: str) -> Tensor:
    """The picture in MNIST framing: uint8 [28, 28]."""
    try:
        image = from_picture(picture)
    except SketchError as error:
        raise SketchError(f"{what}: {error}") from error
    if image is None:
        raise SketchError(f"{what} is blank; take it out, or draw its digit darker.")
    return image


# Pictures


def _pictures(folder: Path) -> list[tuple[Path, int]]:
    """Every picture in the subfolders 0 to 9, and its digit; empty where there are none of these.

    Raises DigitSetError for a folder that cannot be listed or holds other subfolders as well.
    """
    try:
        folders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        folders = [path for path in folders if not path.name.startswith(".")]
        digits = {path: int(path.name) for path in folders if path.name in _DIGITS}
        if not digits:
            return []
        if len(digits) < len(folders):
            other = next(path.name for path in folders if path not in digits)
            raise DigitSetError(
                f"{folder} has a subfolder {other!r:.80} beside those of digits; only 0 to 9 are "
                "read, so move it away."
            )
        found = [
            (path, digit)
            for place, digit in digits.items()
            for path in sorted(place.iterdir())
            if not path.name.startswith(".") and path.name.lower() not in LITTER
        ]
    except OSError as error:
        raise DigitSetError(
            f"{error.filename} cannot be listed ({error.strerror}); check its permissions."
        ) from error
    if not found:
        raise DigitSetError(f"The digits' folders in {folder} are empty; put pictures into them.")
    return found


def _framed_pictures(
    pictures: Sequence[tuple[Path, int]], framing: str, progress: Progress | None
) -> tuple[Tensor, Tensor]:
    framed = torch.empty(len(pictures), SIDE, SIDE, dtype=torch.uint8)
    for index, (path, _) in enumerate(pictures):
        framed[index] = _sketched(_opened(path), str(path))
        if progress is not None:
            progress(index + 1, len(pictures))
    return (frame_emnist(framed) if framing == "emnist" else framed), _digits(pictures)


def _small_pictures(pictures: Sequence[tuple[Path, int]]) -> tuple[Tensor, Tensor]:
    """Pictures of 28x28 as they are: uint8 [N, 28, 28], whatever is ink in them."""
    images = torch.empty(len(pictures), SIDE, SIDE, dtype=torch.uint8)
    for index, (path, _) in enumerate(pictures):
        picture = _opened(path)
        if picture.size != (SIDE, SIDE):
            raise DigitSetError(
                f"{path} is {picture.width}x{picture.height}, but framing none keeps pictures of "
                f"{SIDE}x{SIDE} as they are; take --frame mnist or emnist."
            )
        grey = grey_of(ImageOps.exif_transpose(picture))
        images[index] = torch.from_numpy(np.rint(grey).astype(np.uint8))
    return images, _digits(pictures)


def _digits(pictures: Sequence[tuple[Path, int]]) -> Tensor:
    return torch.tensor([digit for _, digit in pictures], dtype=torch.uint8)


def _opened(path: Path) -> Image.Image:
    try:
        # A pipe or a device has no end, and a file larger than any picture need not be read.
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise DigitSetError(
                f"{path} is no picture file of at most {MAX_BYTES >> 20} MiB; take it out."
            )
        return open_picture(path.read_bytes())
    except OSError as error:
        raise DigitSetError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    except SketchError as error:
        raise SketchError(f"{path}: {error}") from error


# IDX


def _images_file(folder: Path, split: str) -> Path:
    """The images file of ``split`` in a folder, or the only one. Raises DigitSetError."""
    try:
        found = {
            path.name.removesuffix(".gz").removesuffix("-images-idx3-ubyte"): path
            for path in sorted(folder.iterdir())
            if path.name.removesuffix(".gz").endswith("-images-idx3-ubyte")
        }
    except OSError as error:
        raise DigitSetError(
            f"{folder} cannot be listed ({error.strerror}); check its permissions."
        ) from error
    stems = (split, "t10k" if split == "test" else split)
    of_split = [stem for stem in found if stem in stems or stem.endswith(f"-{split}")]
    if len(of_split) == 1 or len(found) == 1:
        return found[(of_split or list(found))[0]]
    if not found:
        raise DigitSetError(
            f"{folder} holds neither {split}-images-idx3-ubyte nor subfolders 0 to 9 of pictures; "
            "give the folder that does."
        )
    raise DigitSetError(
        f"{folder} holds several images files ({', '.join(list(found)[:4])}); give the one that "
        "you mean."
    )


def _read_idx_pair(images_file: Path) -> tuple[Tensor, Tensor]:
    plain = images_file.name.removesuffix(".gz")
    labels_name = plain.replace("images-idx3", "labels-idx1")
    if labels_name == plain:
        raise DigitSetError(
            f"{images_file} is neither an .npz nor named like an IDX images file "
            "(test-images-idx3-ubyte); rename it, its labels beside it likewise."
        )
    beside = [images_file.with_name(labels_name + ending) for ending in ("", ".gz")]
    labels_file = next((path for path in beside if path.is_file()), None)
    if labels_file is None:
        raise DigitSetError(f"{beside[0]} is missing; put the labels beside the images.")
    images = read_idx(images_file, dimensions=3)
    if plain.startswith("emnist-"):
        # All files that EMNIST published have rows and columns swapped.
        images = images.transpose(1, 2).contiguous()
    return images, read_idx(labels_file, dimensions=1)


# .npz

# What reading a zip file that somebody made up can raise.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,  # NotImplementedError among them
)


def _read_npz(path: Path) -> tuple[Tensor, Tensor]:
    """``images`` as uint8 [N, H, W] and ``labels`` as uint8 [N]."""
    try:
        with zipfile.ZipFile(path) as archive:
            images = _read_array(archive, path, "images", 3)
            labels = _read_array(archive, path, "labels", 1)
    except _ZIP_ERRORS as error:
        raise DigitSetError(
            f"{path} is no .npz, or a cut or damaged one ({error}); save it again with "
            "numpy.savez(path, images=..., labels=...)."
        ) from error
    except OSError as error:
        raise DigitSetError(
            f"{path} cannot be read ({error.strerror or error}); check its permissions."
        ) from error
    return _pixels(images, path), _classes(labels, path)


def _read_array(archive: zipfile.ZipFile, path: Path, name: str, dimensions: int) -> NDArray[Any]:
    """One array of an ``.npz``, its size checked against the file before memory is taken."""
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        has = ", ".join(entry.removesuffix(".npy") for entry in archive.namelist()[:6])
        raise DigitSetError(
            f"{path} has no {name} but only {has!r:.200}; save it with numpy.savez(path, "
            "images=..., labels=...)."
        ) from error
    if member.flag_bits & 1 or member.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise DigitSetError(
            f"{path} is encrypted or packed in a way that numpy does not use; save it again with "
            "numpy.savez."
        )
    with archive.open(member) as file:
        shape, fortran, dtype = _read_header(cast(BinaryIO, file), path, name)
        if len(shape) != dimensions or min(shape) < 1:
            wanted = "[images, rows, columns]" if dimensions == 3 else "[images]"
            raise DigitSetError(
                f"{name} in {path} has the shape {list(shape)!s:.80}, but {wanted} is "
                "expected, none of them 0; reshape it before saving."
            )
        size = math.prod(shape) * dtype.itemsize
        start = file.tell()
        if size != member.file_size - start or size > member.compress_size * DEFLATE_LIMIT:
            raise DigitSetError(
                f"{name} in {path} declares {size:,} bytes, which the file does not hold; save it "
                "again."
            )
        if size > LARGEST or size > max(HARMLESS, TIGHTEST * member.compress_size):
            raise DigitSetError(
                f"{name} in {path} unpacks from {member.compress_size:,} to {size:,} bytes, more "
                "than is read; save the images as uint8 with numpy.savez, in smaller sets."
            )
        values = np.empty(math.prod(shape), dtype)
        _fill(cast(BinaryIO, file), values, path)
    return values.reshape(shape, order="F" if fortran else "C")


def _read_header(file: BinaryIO, path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            # Later versions exist for field names; the length of their headers is unbounded.
            raise ValueError("not of version 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, SyntaxError, TypeError, KeyError, tokenize.TokenError) as error:
        # numpy evaluates the header as a literal of Python.
        reason = " ".join(str(error).split())[:120]
        raise DigitSetError(
            f"{name} in {path} is no numpy array that can be read ({reason}); save it again with "
            "numpy.savez."
        ) from error
    # Objects would be unpickled, which runs code; records and texts are no images.
    if dtype.kind not in "buif":
        raise DigitSetError(
            f"{name} in {path} holds {dtype!s:.60} where numbers are expected; save it as uint8."
        )
    return shape, fortran, dtype


def _fill(file: BinaryIO, values: NDArray[Any], path: Path) -> None:
    buffer = memoryview(values.view(np.uint8))  # type: ignore[arg-type]
    filled = 0
    while filled < len(buffer):
        piece = file.read(min(1 << 20, len(buffer) - filled))
        if not piece:
            raise DigitSetError(f"{path} is cut; save it again.")
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
    file.read(1)  # at the end, what checks the CRC


def _pixels(values: NDArray[Any], path: Path) -> Tensor:
    """Images of any number type as uint8: 0 to 255, or fractions (or truths) from 0 to 1."""
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 255:
        raise DigitSetError(
            f"The images of {path} go from {low:g} to {high:g}, but 0 to 255 or 0 to 1 are "
            "expected; scale them before saving."
        )
    if values.dtype != np.uint8 or high <= 1:
        factor = 255 if high <= 1 else 1
        # One image after the other: as floats all of them would take four times the memory.
        scaled = np.empty(values.shape, np.uint8)
        for target, image in zip(scaled, values, strict=True):
            target[:] = np.rint(image.astype(np.float32) * factor)
        values = scaled
    return torch.from_numpy(np.ascontiguousarray(values))


def _classes(values: NDArray[Any], path: Path) -> Tensor:
    whole = values.astype(np.int64) if np.isfinite(values).all() else np.zeros(0, np.int64)
    if not np.array_equal(whole, values) or (whole < 0).any() or (whole >= CLASSES).any():
        raise DigitSetError(
            f"The labels of {path} are not all whole numbers from 0 to 9; save each image's digit."
        )
    return torch.from_numpy(whole.astype(np.uint8))
