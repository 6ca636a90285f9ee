"""Convert a person's labels and images, given as arrays, to digits and pixels.

Names, values and shapes are accepted where they have only one meaning; everything else is refused
with the conversion that would help.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.image_files import LEAST_CONTRAST
from digitcnn.errors import DigitSetError

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Words in the names of arrays and columns.
LABEL_NAMES = {"y", "label", "labels", "target", "targets", "class", "classes", "digit"}


def split_of(name: str) -> str:
    """Return the split that a file, folder or array name states: train, test, validation or ""."""
    for word in words(name):
        if word.startswith("train"):
            return "train"
        if word.startswith(("test", "t10k")):
            return "test"
        if word in ("val", "valid", "validation", "dev"):
            return "validation"
    return ""


def words(name: str) -> list[str]:
    """Split ``x_train``, ``trainImages`` or ``Xtest`` into lower-case words."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    spaced = re.sub(r"\b([xy])(train|test)|(train|test)([xy])\b", r"\1\3 \2\4", spaced)
    return re.findall(r"t10k|[a-z]+", spaced)


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
        side = square_side(images.shape[1]) if images.ndim == 2 else None
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


def square_side(pixels: int) -> int | None:
    """Return the side of a square image with this many pixels, None where there is none."""
    side = math.isqrt(pixels)
    return side if side >= 8 and side * side == pixels else None
