"""Place ink in the 28x28 as MNIST or EMNIST does.

MNIST framing (LeCun et al. 1998): the ink's longest side spans 20 pixels, its aspect ratio stays,
and its centre of mass lies on the middle of the 28x28. Measured on MNIST's own files, that middle
is pixel index 14, not 13.5. EMNIST framing (Cohen et al. 2017, arXiv 1702.05373): a slight blur, 24
pixels, centred by its box.

In this module ink is [N, H, W]; places are [N, 2], (y, x), where pixel i covers i to i + 1; a step
[N] is the number of source pixels per framed pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from digitcnn.digits.digit_set import SIDE

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MNIST_SPAN = 20
EMNIST_SPAN = 24
# The middle of a framed digit in continuous coordinates, where pixel i covers i to i + 1.
MIDDLE = SIDE / 2 + 0.5

# In a digit set, ink up to this of 255 does not count for an image's box: files that were resized
# once show faint ripples around the digit. MNIST's boxes are the same with it and without.
FAINT = 16
# EMNIST's blur has a sigma of 1 pixel where a digit spans about 64; it then reaches 3 pixels far.
EMNIST_BLUR = EMNIST_SPAN / 70
EMNIST_BLUR_REACH = 3 * EMNIST_BLUR

# Images framed at a time, which bounds the work area.
CHUNK = 2048


def frame_mnist(images: Tensor) -> Tensor:
    """Bring digit images to MNIST framing: uint8 [N, 28, 28] -> uint8 [N, 28, 28].

    The centre of mass is moved by whole pixels, as it was for MNIST, so that images in MNIST
    framing keep their pixels, except for faint traces at the edge of their ink. Blank images stay
    blank.
    """
    return _frame_each(images, _to_mnist)


def frame_emnist(images: Tensor) -> Tensor:
    """Bring digit images to EMNIST framing: uint8 [N, 28, 28] -> uint8 [N, 28, 28].

    The slight blur is EMNIST's sigma of 1 pixel in a 128x128 scan, at the size it has there.
    Blank images stay blank.
    """
    return _frame_each(images, _to_emnist)


def frame_ink(ink: Floats) -> Tensor:
    """Bring sketches to MNIST framing, moved by fractions of a pixel: uint8 [N, 28, 28].

    ink: [N, H, W], 0 to 1, none of them blank.
    """
    low, high = _boxes(ink > 0)
    step = (high - low).max(axis=1) / MNIST_SPAN
    return torch.from_numpy(to_bytes(resampled(ink, mass_middle(ink, low, high, step), step)))


def mass_middle(ink: NDArray[Any], low: Doubles, high: Doubles, step: Doubles) -> Doubles:
    """Return the source place that goes to MIDDLE.

    It is the centre of mass, or the nearest place that keeps the whole box, from ``low`` to
    ``high``, inside the frame.
    """
    step = step[:, None]
    return np.clip(_mass(ink), high - (SIDE - MIDDLE) * step, low + MIDDLE * step)


def resampled(ink: NDArray[Any], middle: Doubles, step: Doubles) -> Floats:
    """Return the 28x28 around ``middle``, antialiased: float32 [N, 28, 28].

    With a step of 1 and a middle on a pixel's middle this copies pixels, bit for bit.
    """
    rows = _weights(middle[:, 0], step, ink.shape[1])
    columns = _weights(middle[:, 1], step, ink.shape[2])
    framed: Floats = rows @ ink.astype(np.float32) @ columns.transpose(0, 2, 1)
    return framed


def to_bytes(ink: Floats) -> Bytes:
    """Scale ink to uint8, the darkest pixel of each image 255 as in nearly all of MNIST."""
    ink = np.clip(ink, 0, None)
    scaled: Bytes = np.rint(ink * (255 / ink.max(axis=(1, 2), keepdims=True))).astype(np.uint8)
    return scaled


def _weights(middle: Doubles, step: Doubles, size: int) -> Floats:
    """Return the weight of each source pixel in each framed pixel: float32 [N, 28, size].

    Catmull and Rom's cubic (Keys 1981, a = -0.5), widened by the step where it shrinks. Source
    pixels beyond the edge are paper. Each image has its own step and middle, which libraries'
    resizing does not offer.
    """
    step = step[:, None, None]
    places = middle[:, None, None] + (np.arange(SIDE)[:, None] + 0.5 - MIDDLE) * step
    widening = np.maximum(step, 1)
    x = np.abs((np.arange(size) + 0.5 - places) / widening).astype(np.float32)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return (np.where(x < 1, near, np.where(x < 2, far, 0)) / widening).astype(np.float32)


def _boxes(inked: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Return the upper left and lower right corners of the box around the inked pixels."""
    _, height, width = inked.shape
    rows, columns = np.any(inked, axis=2), np.any(inked, axis=1)
    low = np.stack([rows.argmax(axis=1), columns.argmax(axis=1)], axis=1)
    last = np.stack([rows[:, ::-1].argmax(axis=1), columns[:, ::-1].argmax(axis=1)], axis=1)
    return low.astype(np.float64), np.array([height, width], dtype=np.float64) - last


def _mass(ink: NDArray[Any]) -> Doubles:
    """Return the ink's centre of mass."""
    rows = ink.sum(axis=2, dtype=np.float64) @ (np.arange(ink.shape[1]) + 0.5)
    columns = ink.sum(axis=1, dtype=np.float64) @ (np.arange(ink.shape[2]) + 0.5)
    centres: Doubles = np.stack([rows, columns], axis=1)
    centres /= ink.sum(axis=(1, 2), dtype=np.float64)[:, None]
    return centres


def _frame_each(images: Tensor, frame: Callable[[Bytes], Floats]) -> Tensor:
    """Apply ``frame`` to all images that are not blank."""
    framed = torch.zeros_like(images, device="cpu")
    inked = (images > FAINT).flatten(1).any(dim=1).nonzero()[:, 0].cpu()
    for indices in inked.split(CHUNK):
        ink = frame(images[indices].cpu().numpy())
        framed[indices] = torch.from_numpy(np.rint(np.clip(ink, 0, 255)).astype(np.uint8))
    return framed


def _to_mnist(images: Bytes) -> Floats:
    low, high, ink = _without_faint_edges(images)
    step = (high - low).max(axis=1) / MNIST_SPAN
    middle = mass_middle(ink, low, high, step)
    # MIDDLE is the middle of a pixel, so whole pixels are moved where the step is 1.
    moved = np.rint((middle - low) / step[:, None] - 0.5) + 0.5
    return resampled(ink, low + moved * step[:, None], step)


def _to_emnist(images: Bytes) -> Floats:
    low, high, ink = _without_faint_edges(images)
    step = (high - low).max(axis=1) / (EMNIST_SPAN - 2 * EMNIST_BLUR_REACH)
    # MIDDLE is half a pixel beyond the frame's middle.
    middle = (low + high) / 2 + step[:, None] / 2
    # Three pixels with the variance of the Gaussian, which is too narrow to be sampled.
    side = EMNIST_BLUR**2 / 2
    blur = (1 - 2 * side) * np.eye(SIDE) + side * (np.eye(SIDE, k=1) + np.eye(SIDE, k=-1))
    return (blur @ resampled(ink, middle, step) @ blur).astype(np.float32)


def _without_faint_edges(images: Bytes) -> tuple[Doubles, Doubles, Bytes]:
    """Return the boxes around clear ink, and the images with paper outside them."""
    low, high = _boxes(images > FAINT)
    place = np.arange(SIDE)
    rows, columns = (
        (place >= low[:, axis, None]) & (place < high[:, axis, None]) for axis in (0, 1)
    )
    return low, high, images * (rows[:, :, None] & columns[:, None, :])
