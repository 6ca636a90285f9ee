"""Read a person's digits from image files in a folder per digit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.framing import frame_emnist
from digitcnn.digits.idx import explaining
from digitcnn.digits.image_files import MAX_BYTES, grey_of, open_image
from digitcnn.digits.own_values import WORDS, split_of
from digitcnn.digits.sketch import from_image
from digitcnn.errors import DigitSetError, SketchError
from digitcnn.shared_cache import Progress

# Files and folders that operating systems leave behind.
_LITTER = ("thumbs.db", "desktop.ini", "__macosx")

# How many folders around those of the digits are entered: SET/trainingSet/trainingSet/7.
_DEPTH = 3

LabelledPath = tuple[Path, int]


def find_images(folder: Path, split: str, depth: int = _DEPTH) -> list[LabelledPath]:
    """Return every image file in the folders of digits, with its digit, in order of their names.

    Folders are named by digit (``7``, ``07``) or by word (``seven``, in any case), and may lie in
    folders named by split. Empty where there are no such folders. Raises DigitSetError when the
    split is missing, an unexpected folder is in between, or a folder cannot be listed.
    """
    folders = [path for path in _visible(folder) if path.is_dir()]
    digits = {path: digit for path in folders if (digit := _digit(path.name)) is not None}
    if digits:
        return _image_files(folder, folders, digits)
    inside = {path: split_of(path.name) for path in folders} if depth else {}
    stated = sorted({each for each in inside.values() if each})
    if stated:
        entered = [path for path, each in inside.items() if each == split]
        others = [path for path, each in inside.items() if each and each != split]
        for path in entered:
            if images := find_images(path, split, depth - 1):
                return images
        if any(find_images(path, split_of(path.name), depth - 1) for path in others):
            raise DigitSetError(
                f"{folder} has no {split} images but {', '.join(stated)}; choose with --split."
            )
        return []
    # A single folder around everything, as an archive unpacks to.
    return find_images(folders[0], split, depth - 1) if len(inside) == 1 else []


def _visible(folder: Path) -> list[Path]:
    with explaining(folder, "listed"):
        paths = sorted(folder.iterdir())
    return [
        path for path in paths if not path.name.startswith(".") and path.name.lower() not in _LITTER
    ]


def _digit(name: str) -> int | None:
    """Return the digit that a folder's name states, None where it states none."""
    word = re.sub(r"^(digit|class|label|number)[ _-]?", "", name.lower())
    if word in WORDS:
        return WORDS.index(word)
    return int(word) if re.fullmatch(r"0?[0-9]", word) else None


def _image_files(
    folder: Path, folders: Sequence[Path], digits: dict[Path, int]
) -> list[LabelledPath]:
    if len(digits) < len(folders):
        other = next(path.name for path in folders if path not in digits)
        raise DigitSetError(
            f"{folder} has an unexpected subfolder {other!r:.80}; only 0 to 9 (or zero to nine) "
            "are read, so move it away."
        )
    images = [(path, digit) for place, digit in digits.items() for path in _visible(place)]
    if not images:
        raise DigitSetError(f"The digits' folders in {folder} are empty; put images into them.")
    return images


def read_framed(
    images: Sequence[LabelledPath], framing: str, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Frame images of any size, each by itself: uint8 [N, 28, 28] and labels uint8 [N]."""
    opened = ((_open(path), str(path)) for path, _ in images)
    return frame_all(opened, len(images), framing, progress), _labels(images)


def frame_all(
    images: Iterable[tuple[Image.Image, str]], n: int, framing: str, progress: Progress
) -> Tensor:
    """Return ``n`` images in that framing: uint8 [n, 28, 28].

    images: each with its name for errors. Raises SketchError for one that is blank or unreadable.
    """
    framed = torch.empty(n, SIDE, SIDE, dtype=torch.uint8)
    for index, (image, what) in enumerate(images):
        framed[index] = _frame_one(image, what)
        progress(index + 1, n)
    return frame_emnist(framed) if framing == "emnist" else framed


def read_unframed(images: Sequence[LabelledPath]) -> tuple[Tensor, Tensor]:
    """Read images of 28x28 as they are: uint8 [N, 28, 28] and labels uint8 [N]."""
    pixels = torch.empty(len(images), SIDE, SIDE, dtype=torch.uint8)
    for index, (path, _) in enumerate(images):
        image = _open(path)
        if image.size != (SIDE, SIDE):
            raise DigitSetError(
                f"{path} is {image.width}x{image.height}, but --frame none needs {SIDE}x{SIDE}; "
                "use --frame mnist or emnist."
            )
        pixels[index] = torch.from_numpy(np.rint(grey_of(image)).astype(np.uint8))
    return pixels, _labels(images)


def _frame_one(image: Image.Image, what: str) -> Tensor:
    try:
        framed = from_image(image)
    except SketchError as error:
        raise SketchError(f"{what}: {error}") from error
    if framed is None:
        raise SketchError(f"{what} is blank; remove it or redraw it darker.")
    return framed


def _labels(images: Sequence[LabelledPath]) -> Tensor:
    return torch.tensor([digit for _, digit in images], dtype=torch.uint8)


def _open(path: Path) -> Image.Image:
    try:
        with explaining(path):
            # A pipe or a device has no end, and a file larger than any image need not be read.
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                raise DigitSetError(
                    f"{path} is not an image of at most {MAX_BYTES >> 20} MiB; remove it."
                )
            return open_image(path.read_bytes())
    except SketchError as error:
        raise SketchError(f"{path}: {error}") from error
