"""Turn sketches, image files and digit images into the 28x28 that the network expects.

Everything here returns MNIST framing, ink high on paper 0, uint8. A blank sketch gives None; it is
not an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from digitcnn.digits.coarse import black_and_white, without_stairs
from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.framing import (
    CHUNK,
    MIDDLE,
    MNIST_SPAN,
    Doubles,
    Floats,
    frame_ink,
    mass_middle,
    to_bytes,
)
from digitcnn.digits.image_files import LEAST_CONTRAST, check_size, grey_of
from digitcnn.digits.ink import SMALL_SIDE, find_ink
from digitcnn.errors import SketchError

# The thinnest and the thickest pen, in pixels of the framed digit: between them a sketch keeps
# its own pen, outside it gets the nearest. Centre lines of 1,500 MNIST test digits, redrawn with
# one pen and classified by a network trained on MNIST: 97.2% to 97.4% right from 1.3 to 2.5 pixels,
# 97.1% at 3.4, 94.8% at 4.2; the loss is least at 2.5 and within a tenth of that from 1.9 to 3.1.
THINNEST_PEN = 2.0
THICKEST_PEN = 3.0
# The same for ink on a page, whose pen is measured and not known.
THINNEST, THICKEST = 2.0, 4.2
# A tap, or a sketch smaller than its own pen, is not enlarged to fill the frame: the pen it was
# drawn with may grow to this many pixels at most.
LARGEST_SPECK = 10.0

MAX_STROKES = 1_000
MAX_POINTS = 12_000
# Discs are set at most this many framed pixels apart along a stroke; the scallop between two of
# them stays under 0.01 pixels.
DISC_SPACING = 0.25
MAX_DISCS = 20_000

# Ink fainter than this share of the darkest ink is paper.
LEAST_INK = 0.1


def from_image(image: Image.Image) -> Tensor | None:
    """Return the digit in a drawing or photograph: uint8 [28, 28]; None when it is blank.

    Accepts any mode, dark ink on a light ground or light ink on a dark one, transparent or not. All
    ink counts as one digit. Raises SketchError when the image is empty, too large or cannot be
    decoded.
    """
    check_size(image)
    ink = find_ink(grey_of(image))
    return None if ink is None else framed(ink.shares)


def from_images(images: Tensor) -> Tensor:
    """Frame digit images as ``from_image`` does, several hundred times as fast.

    uint8 [N, 28, 28] -> uint8 [N, 28, 28]. Ink on the outermost pixels counts as ink; paper is 0.
    Blank images stay blank.
    """
    ink = images.numpy().astype(np.float32)
    peak = ink.max(axis=(1, 2), keepdims=True)
    inked = np.flatnonzero(peak >= LEAST_CONTRAST)
    sketches = torch.zeros_like(images)
    for part in np.array_split(inked, len(inked) // CHUNK + 1):
        clear = np.clip((ink[part] / peak[part] - LEAST_INK) / (1 - LEAST_INK), 0, 1)
        sketches[part] = frame_ink(clear)
        for index in np.flatnonzero(black_and_white(clear)):
            sketches[part[index]] = frame_ink(without_stairs(clear[index])[None])[0]
    return sketches


def from_strokes(strokes: Sequence[Sequence[Sequence[float]]], width: float) -> Tensor | None:
    """Draw pen strokes: uint8 [28, 28]; None when there are none.

    strokes: polylines of (x, y), in units of the pad's side, 0 to 1, y downwards; a stroke of one
    point is a dot. width: the pen's width in the same units.

    The strokes are drawn here, with round caps and exact coverage, so that the prediction does not
    depend on the device. The sketch is scaled to its frame and the pen with it, but only within
    the range of MNIST's pens: a digit drawn small would otherwise become a blot, a large one a
    hairline. Raises SketchError for too many or unusable points.
    """
    if not (isinstance(width, (int, float)) and 0 < width <= 0.5):
        raise SketchError("The pen's width is not between 0 and 0.5 of the pad; reload the page.")
    lines = _polylines(strokes)
    if not lines:
        return None
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    pen = float(np.clip(width * MNIST_SPAN / (extent + width), THINNEST_PEN, THICKEST_PEN))
    scale = LARGEST_SPECK / width
    if extent > 0:
        scale = min(scale, (MNIST_SPAN - pen) / extent)
    discs = _discs([(line - (low + high) / 2) * scale for line in lines])
    # Drawn once around the middle of its box to find its centre of mass, then around that.
    half = (high - low)[None, ::-1] * scale / 2 + pen / 2
    mass = mass_middle(
        _draw(discs + MIDDLE, pen)[None], MIDDLE - half, MIDDLE + half, step=np.ones(1)
    )[0, ::-1]
    return torch.from_numpy(to_bytes(_draw(discs + (2 * MIDDLE - mass), pen)[None])[0])


# Ink on a page


def framed(shares: Floats) -> Tensor:
    """Return the ink on a page in MNIST framing: uint8 [28, 28].

    shares: [H, W], 0 to 1, not blank. The pen of small images stays as it is, as in digit sets.
    """
    small = max(shares.shape) <= SMALL_SIDE
    shares = without_stairs(shares)
    if small:
        return frame_ink(shares[None])[0]
    rows, columns = (np.flatnonzero(shares.any(axis=axis)) for axis in (1, 0))
    box = shares[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return frame_ink(with_usual_pen(box)[None])[0]


def with_usual_pen(shares: Floats) -> Floats:
    """Return ink whose strokes, once framed, are between THINNEST and THICKEST wide.

    shares: [H, W], 0 to 1, cut to the box around the ink. Grows by what the strokes grow.
    """
    from scipy import ndimage

    padded = np.pad(shares, 1)
    inside = ndimage.distance_transform_edt(padded > 0.5)
    ridge = (inside > 0) & (inside >= ndimage.maximum_filter(inside, 3))
    if not ridge.any():
        return shares
    step = max(shares.shape) / MNIST_SPAN
    # A stroke one pixel wide has its ridge at a distance of 1, one two or three wide at 1 and 2.
    pen = (2 * float(inside[ridge].mean()) - 0.5) / step
    target = min(max(pen, THINNEST), THICKEST)
    grow = (target - pen) * step / 2
    if abs(grow) < 0.25:
        return shares
    margin = max(1, math.ceil(grow) + 1)
    padded = np.pad(shares, margin)
    inked = padded > 0.5
    outside = ndimage.distance_transform_edt(~inked)
    inside = ndimage.distance_transform_edt(inked)
    away = np.where(inked, 0.5 - inside, outside - 0.5)
    drawn: Floats = np.clip(grow + 0.5 - away, 0, 1).astype(np.float32)
    return drawn if drawn.max() > 0.5 else shares


# Strokes


def _polylines(strokes: Sequence[Sequence[Sequence[float]]]) -> list[Doubles]:
    """Check the strokes and return them as float64 [K, 2] each."""
    if not isinstance(strokes, Sequence) or isinstance(strokes, (str, bytes)):
        raise SketchError("The sketch is not a list of strokes; reload the page.")
    if len(strokes) > MAX_STROKES:
        raise SketchError(
            f"The sketch has {len(strokes):,} strokes; the limit is {MAX_STROKES:,}, so clear the "
            "pad and draw again."
        )
    lines = []
    count = 0
    for stroke in strokes:
        if isinstance(stroke, Sequence):
            count += len(stroke)
        if count > MAX_POINTS:
            raise SketchError(
                f"The sketch has more than {MAX_POINTS:,} points, the limit; clear the pad and "
                "draw again."
            )
        unusable = "A stroke is not a list of points (x, y); reload the page and draw again."
        try:
            line = np.asarray(stroke)
        except (ValueError, TypeError, OverflowError) as error:
            raise SketchError(unusable) from error
        if line.dtype.kind not in "iuf" or line.ndim != 2 or line.shape[1] != 2 or not len(line):
            raise SketchError(unusable)
        # NaN is neither inside nor outside.
        if not ((line >= 0) & (line <= 1)).all():
            raise SketchError("A stroke leaves the pad, whose sides go from 0 to 1; draw again.")
        lines.append(line.astype(np.float64))
    return lines


def _discs(lines: list[Doubles]) -> Doubles:
    """Return the middles of the discs whose union is the strokes: float64 [K, 2], framed pixels."""
    starts = np.concatenate([line[:-1] for line in lines])
    steps = np.concatenate([np.diff(line, axis=0) for line in lines])
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    # Only a scribble of many thousand pixels is set wider; it is black all over anyway.
    spacing = max(DISC_SPACING, float(lengths.sum()) / MAX_DISCS)
    counts = np.ceil(lengths / spacing).astype(int)
    which = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    share = (np.arange(len(which)) - first[which]) / counts[which]
    along = starts[which] + steps[which] * share[:, None]
    return np.concatenate([along, np.stack([line[-1] for line in lines])])


def _draw(discs: Doubles, pen: float) -> Floats:
    """Return how much of each pixel the discs cover, 0 to 1: float32 [28, 28].

    discs: middles (x, y) inside the frame, where pixel i covers i to i + 1. pen: diameter.
    """
    reach = math.ceil(pen / 2 + 0.5)
    around = np.arange(-reach, reach + 1)
    cells = np.floor(discs).astype(int)
    within = discs - cells - 0.5
    dx = around[None, None, :] - within[:, 0, None, None]
    dy = around[None, :, None] - within[:, 1, None, None]
    cover = np.clip(pen / 2 + 0.5 - np.hypot(dx, dy), 0, 1).astype(np.float32)
    padded = np.zeros((SIDE + 2 * reach + 1,) * 2, dtype=np.float32)
    rows = (cells[:, 1, None, None] + reach + around[None, :, None]) + 0 * around
    columns = (cells[:, 0, None, None] + reach + around) + 0 * around[:, None]
    np.maximum.at(padded, (rows, columns), cover)
    return padded[reach : reach + SIDE, reach : reach + SIDE]
