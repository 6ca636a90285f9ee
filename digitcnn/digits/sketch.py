"""From a drawing, a picture or a digit image to the 28x28 that the network expects.

MNIST framing (LeCun et al. 1998): the ink's longest side spans 20 pixels, its aspect is kept, and
its centre of mass lies on the middle of the 28x28. Measured on MNIST's own files, that middle is
pixel index 14, not 13.5. EMNIST framing (Cohen et al. 2017, arXiv 1702.05373): a slight blur, 24
pixels, centred by its box.

Everything here returns ink high on paper 0, uint8. A blank drawing is a result, None, and no
error. What the network makes of the 28x28 is left to ``network``.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from digitcnn.digits.digit_set import SIDE
from digitcnn.errors import DigitSetError, SketchError

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Singles = NDArray[np.float64]

MNIST_SPAN = 20
EMNIST_SPAN = 24
# The middle of a framed digit in continuous coordinates, where pixel i covers i to i + 1.
MIDDLE = SIDE / 2 + 0.5

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 25_000_000
# JPEG files can be decoded at a half, a quarter or an eighth, as long as this much is left.
DRAFT_SIDE = 1024

# The thinnest and the thickest pen, in pixels of the framed digit: between them a drawing keeps
# its own pen, outside it gets the nearest. Centre lines of 1,500 MNIST test digits, redrawn with
# one pen and read by a network trained on MNIST: 97.2 % to 97.4 % right from 1.3 to 2.5 pixels,
# 97.1 % at 3.4, 94.8 % at 4.2; the loss is least at 2.5 and within a tenth of that from 1.9 to 3.1.
THINNEST_PEN = 2.0
THICKEST_PEN = 3.0
# A tap, or a drawing smaller than its own pen, is not blown up to fill the frame: the pen it was
# drawn with may come to this many pixels at most.
LARGEST_SPECK = 10.0

MAX_STROKES = 1_000
MAX_POINTS = 12_000
# Discs are set at most this many framed pixels apart along a stroke; the scallop between two of
# them stays under 0.01 pixels.
DISC_SPACING = 0.25
MAX_DISCS = 20_000

# A picture whose ink differs from its ground by less than this, of 255, is blank.
LEAST_CONTRAST = 24
# Ink fainter than this share of the darkest ink is paper, whatever the paper looks like.
LEAST_INK = 0.1
# Larger pictures are reduced to about this side to look for ink, and the part that holds the ink
# to about this side, a few pixels per framed pixel, to look at it.
SEARCH_SIDE = 128
FINE_SIDE = 112

# In a digit set, ink up to this of 255 does not count for an image's box: files that were resized
# once show faint ripples around the digit. MNIST's boxes are the same with it and without.
FAINT = 16
# EMNIST's blur has a sigma of 1 pixel where a digit spans about 64; it then reaches 3 pixels far.
EMNIST_BLUR = EMNIST_SPAN / 70
EMNIST_BLUR_REACH = 3 * EMNIST_BLUR


def open_picture(data: bytes) -> Image.Image:
    """The picture in an image file's bytes, decoded, its pixels bounded before they are decoded.

    Reads PNG, JPEG, WebP, BMP and GIF (the first frame), up to 20 MiB and 25 million pixels.
    Raises SketchError for anything else.
    """
    if not data:
        raise SketchError("The picture is empty; choose another image file.")
    if len(data) > MAX_BYTES:
        raise SketchError(
            f"The picture is {len(data) / 2**20:.0f} MiB, but at most "
            f"{MAX_BYTES // 2**20} MiB are read; save it smaller."
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of "decompression bombs" above a size of its own; ours is lower.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image)
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
        image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        if isinstance(error, Image.DecompressionBombError):
            raise _too_large("far too large") from error
        raise SketchError(
            "This is no picture that can be read; choose a PNG, JPEG, WebP, BMP or GIF file."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        # Pillow's decoders raise any of these on a truncated or damaged file.
        raise SketchError("The picture is damaged or cut off; save or send it again.") from error
    return image


def from_picture(image: Image.Image) -> Tensor | None:
    """The digit in a drawing or photograph, in MNIST framing: uint8 [28, 28]; None when blank.

    Takes any mode, dark ink on a light ground or light ink on a dark one, transparent or not.
    The ground is what the picture's border shows; ink is what differs from it. Raises SketchError
    when the picture is empty, too large or cannot be decoded.
    """
    _check_size(image)
    try:
        grey = grey_of(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise SketchError("The picture is damaged or cut off; save or send it again.") from error
    part = _around_ink(grey)
    ink = None if part is None else _ink(_reduced(part, FINE_SIDE))
    return None if ink is None else frame_ink(ink[None])[0]


def from_images(images: Tensor) -> Tensor:
    """Digit images on the way that pictures take: ``from_picture`` of each, several hundred times
    as fast, uint8 [N, 28, 28] -> uint8 [N, 28, 28].

    Ink on the outermost pixels is taken for ink; paper is 0. Blank images stay blank.
    """
    ink = images.numpy().astype(np.float32)
    peak = ink.max(axis=(1, 2), keepdims=True)
    inked = np.flatnonzero(peak >= LEAST_CONTRAST)
    framed = torch.zeros_like(images)
    for part in np.array_split(inked, len(inked) // 2048 + 1):
        clear = np.clip((ink[part] / peak[part] - LEAST_INK) / (1 - LEAST_INK), 0, 1)
        framed[part] = frame_ink(clear)
    return framed


def from_strokes(strokes: Sequence[Sequence[Sequence[float]]], width: float) -> Tensor | None:
    """Pen strokes in MNIST framing: uint8 [28, 28]; None when there are none.

    strokes: polylines of (x, y), in units of the pad's side, 0 to 1, y downwards; a stroke of one
    point is a dot. width: the pen's width in the same units.

    The strokes are drawn here, with round caps and exact coverage, so that the answer does not
    depend on the device. The drawing is scaled to its frame and the pen follows, but only within
    the range of MNIST's pens: a digit drawn small would else be a blot, one drawn large a hair.
    Raises SketchError for too many or unusable points.
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
    mass = _mass_middle(
        _draw(discs + MIDDLE, pen)[None], MIDDLE - half, MIDDLE + half, step=np.ones(1)
    )[0, ::-1]
    return torch.from_numpy(_to_bytes(_draw(discs + (2 * MIDDLE - mass), pen)[None])[0])


def frame_mnist(images: Tensor) -> Tensor:
    """Digit images in MNIST framing: uint8 [N, 28, 28] -> uint8 [N, 28, 28].

    The centre of mass is moved by whole pixels, as it was for MNIST, so that images which are
    framed so already keep their pixels, but for faint traces at the edge of their ink. Blank
    images stay blank. Raises DigitSetError for another dtype or shape.
    """
    return _each(images, _reframe_mnist)


def frame_emnist(images: Tensor) -> Tensor:
    """Digit images in EMNIST framing: uint8 [N, 28, 28] -> uint8 [N, 28, 28].

    The slight blur is EMNIST's sigma of 1 pixel in a 128x128 scan, at the size it has there.
    Blank images stay blank. Raises DigitSetError for another dtype or shape.
    """
    return _each(images, _reframe_emnist)


# Pictures


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise SketchError("The picture has no pixels; choose another image file.")
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} pixels")


def _too_large(what: str) -> SketchError:
    return SketchError(
        f"The picture is {what}, but at most {MAX_PIXELS // 1_000_000} million pixels are read; "
        "save it smaller."
    )


def grey_of(image: Image.Image) -> Floats:
    """Luminance on white, 0 to 255: float32 [H, W]."""
    if image.mode.startswith("I"):
        # Pillow reads 16-bit greys as I;16 or, in older releases and some formats, as I.
        return np.asarray(image, dtype=np.float32) / np.float32(257)
    if image.mode == "F":
        grey = np.asarray(image, dtype=np.float32)
        return np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"), dtype=np.float32)
    # Pillow converts a palette with transparency by way of RGBA only.
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    flat = np.asarray(Image.alpha_composite(white, rgba).convert("L"), dtype=np.float32)
    alpha = np.asarray(rgba.getchannel("A"), dtype=np.float32)
    if np.ptp(flat) < LEAST_CONTRAST <= np.ptp(alpha):
        # White ink on a transparent ground would vanish on white paper.
        return 255 - alpha
    return flat


def _ink(grey: Floats) -> Floats | None:
    """How much ink is on each pixel, 0 to 1: float32 [H, W]; None when there is none."""
    border = _border(grey)
    ground = float(np.median(border))
    darker, lighter = ground - float(grey.min()), float(grey.max()) - ground
    ink = ground - grey if darker >= lighter else grey - ground
    peak = max(darker, lighter)
    if peak < LEAST_CONTRAST:
        return None
    grain = 1.4826 * float(np.median(np.abs(border - ground))) / peak
    floor = min(max(LEAST_INK, 4 * grain), 0.5)
    return np.clip((ink / peak - floor) / (1 - floor), 0, 1).astype(np.float32)


def _border(grey: Floats) -> Floats:
    """The outermost pixels, a fiftieth of the shorter side deep: float32 [K]."""
    deep = max(1, min(grey.shape) // 50)
    sides = (grey[:deep], grey[-deep:], grey[deep:-deep, :deep], grey[deep:-deep, -deep:])
    return np.concatenate([side.ravel() for side in sides])


def _around_ink(grey: Floats) -> Floats | None:
    """The part of a picture that holds its ink, with some ground around; None when blank.

    The ink is looked for on a small copy, where paper grain is averaged away.
    """
    small = _reduced(grey, SEARCH_SIDE)
    ink = _ink(small)
    if ink is None:
        return None
    factor = grey.shape[0] / small.shape[0], grey.shape[1] / small.shape[1]
    spans = [np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0)]
    margin = 2 + max(int(np.ptp(span)) for span in spans) // 8
    rows, columns = (
        slice(max(0, round((span[0] - margin) * f)), round((span[-1] + 1 + margin) * f))
        for span, f in zip(spans, factor, strict=True)
    )
    return grey[rows, columns]


def _reduced(grey: Floats, side: int) -> Floats:
    """[H, W] averaged over whole blocks until its longest side is under twice ``side``."""
    factor = max(grey.shape) // side
    return np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey


def frame_ink(ink: Floats) -> Tensor:
    """Drawings [N, H, W], ink 0 to 1 and none of them blank, in MNIST framing, moved by parts of
    a pixel: uint8 [N, 28, 28]."""
    low, high = _boxes(ink > 0)
    step = (high - low).max(axis=1) / MNIST_SPAN
    return torch.from_numpy(_to_bytes(resampled(ink, _mass_middle(ink, low, high, step), step)))


# Framing of batches: ink is [N, H, W]; places are [N, 2], (y, x), where pixel i covers i to i + 1;
# a step [N] is the number of source pixels per framed pixel.


def _boxes(inked: NDArray[np.bool_]) -> tuple[Points, Points]:
    """The upper left and lower right corners of the box around what is inked."""
    _, height, width = inked.shape
    rows, columns = np.any(inked, axis=2), np.any(inked, axis=1)
    low = np.stack([rows.argmax(axis=1), columns.argmax(axis=1)], axis=1)
    last = np.stack([rows[:, ::-1].argmax(axis=1), columns[:, ::-1].argmax(axis=1)], axis=1)
    return low.astype(np.float64), np.array([height, width], dtype=np.float64) - last


def _mass(ink: NDArray) -> Points:
    """The ink's centre of mass."""
    rows = ink.sum(axis=2, dtype=np.float64) @ (np.arange(ink.shape[1]) + 0.5)
    columns = ink.sum(axis=1, dtype=np.float64) @ (np.arange(ink.shape[2]) + 0.5)
    return np.stack([rows, columns], axis=1) / ink.sum(axis=(1, 2), dtype=np.float64)[:, None]


def _mass_middle(ink: NDArray, low: Points, high: Points, step: Singles) -> Points:
    """The place in the source that goes to MIDDLE: the centre of mass, or the nearest place
    that keeps the whole box inside the frame."""
    step = step[:, None]
    return np.clip(_mass(ink), high - (SIDE - MIDDLE) * step, low + MIDDLE * step)


def resampled(ink: NDArray, middle: Points, step: Singles) -> Floats:
    """The 28x28 around ``middle``, antialiased: float32 [N, 28, 28].

    At a step of 1 and a middle that lies on a pixel's middle this copies pixels, bit for bit.
    """
    rows = _weights(middle[:, 0], step, ink.shape[1])
    columns = _weights(middle[:, 1], step, ink.shape[2])
    return rows @ ink.astype(np.float32) @ columns.transpose(0, 2, 1)


def _weights(middle: Singles, step: Singles, size: int) -> Floats:
    """What each of ``size`` source pixels adds to each framed pixel: float32 [N, 28, size].

    Catmull and Rom's cubic (Keys 1981, a = -0.5), widened by the step where it shrinks. Source
    pixels beyond the edge are paper.
    """
    step = step[:, None, None]
    places = middle[:, None, None] + (np.arange(SIDE)[:, None] + 0.5 - MIDDLE) * step
    widening = np.maximum(step, 1)
    x = np.abs((np.arange(size) + 0.5 - places) / widening).astype(np.float32)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return (np.where(x < 1, near, np.where(x < 2, far, 0)) / widening).astype(np.float32)


def _to_bytes(ink: Floats) -> Bytes:
    """Ink to uint8, the darkest pixel of each image 255 as in nearly all of MNIST."""
    ink = np.clip(ink, 0, None)
    return np.rint(ink * (255 / ink.max(axis=(1, 2), keepdims=True))).astype(np.uint8)


def _each(images: Tensor, reframe: Callable[[Bytes], Floats]) -> Tensor:
    """``reframe`` applied to all images that are not blank, some thousands at a time."""
    if images.dtype != torch.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DigitSetError(
            f"The images to frame are {images.dtype} {list(images.shape)}, "
            f"but uint8 [N, {SIDE}, {SIDE}] is expected; read them as a digit set."
        )
    framed = torch.zeros_like(images, device="cpu")
    inked = (images > FAINT).flatten(1).any(dim=1).nonzero()[:, 0].cpu()
    for indices in inked.split(2048):
        ink = reframe(images[indices].cpu().numpy())
        framed[indices] = torch.from_numpy(np.rint(np.clip(ink, 0, 255)).astype(np.uint8))
    return framed


def _reframe_mnist(images: Bytes) -> Floats:
    low, high, ink = _without_faint_edges(images)
    step = (high - low).max(axis=1) / MNIST_SPAN
    middle = _mass_middle(ink, low, high, step)
    # MIDDLE is the middle of a pixel, so whole pixels are moved where the step is 1.
    moved = np.rint((middle - low) / step[:, None] - 0.5) + 0.5
    return resampled(ink, low + moved * step[:, None], step)


def _reframe_emnist(images: Bytes) -> Floats:
    low, high, ink = _without_faint_edges(images)
    step = (high - low).max(axis=1) / (EMNIST_SPAN - 2 * EMNIST_BLUR_REACH)
    # MIDDLE is half a pixel beyond the frame's middle.
    middle = (low + high) / 2 + step[:, None] / 2
    # Three pixels with the variance of the Gaussian, which is too narrow to be sampled.
    side = EMNIST_BLUR**2 / 2
    blur = (1 - 2 * side) * np.eye(SIDE) + side * (np.eye(SIDE, k=1) + np.eye(SIDE, k=-1))
    return (blur @ resampled(ink, middle, step) @ blur).astype(np.float32)


def _without_faint_edges(images: Bytes) -> tuple[Points, Points, Bytes]:
    """The boxes of what is more than faint, and the images with nothing outside of them."""
    low, high = _boxes(images > FAINT)
    place = np.arange(SIDE)
    rows, columns = (
        (place >= low[:, axis, None]) & (place < high[:, axis, None]) for axis in (0, 1)
    )
    return low, high, images * (rows[:, :, None] & columns[:, None, :])


# Strokes


def _polylines(strokes: Sequence[Sequence[Sequence[float]]]) -> list[Points]:
    """The strokes as float64 [K, 2], checked."""
    if not isinstance(strokes, Sequence) or isinstance(strokes, (str, bytes)):
        raise SketchError(
            "A drawing is a list of strokes, but something else came; reload the page."
        )
    if len(strokes) > MAX_STROKES:
        raise SketchError(
            f"The drawing has {len(strokes):,} strokes, but at most {MAX_STROKES:,} are read; "
            "clear the pad and draw again."
        )
    lines = []
    count = 0
    for stroke in strokes:
        if isinstance(stroke, Sequence):
            count += len(stroke)
        if count > MAX_POINTS:
            raise SketchError(
                f"The drawing has more than {MAX_POINTS:,} points; clear the pad and draw again."
            )
        try:
            line = np.asarray(stroke)
        except (ValueError, TypeError, OverflowError) as error:
            raise _unusable_stroke() from error
        if line.dtype.kind not in "iuf" or line.ndim != 2 or line.shape[1] != 2 or not len(line):
            raise _unusable_stroke()
        # Not a number is neither inside nor outside.
        if not ((line >= 0) & (line <= 1)).all():
            raise SketchError("A stroke leaves the pad, whose sides go from 0 to 1; draw again.")
        lines.append(line.astype(np.float64))
    return lines


def _unusable_stroke() -> SketchError:
    return SketchError("A stroke is not a list of points (x, y); reload the page and draw again.")


def _discs(lines: list[Points]) -> Points:
    """Middles of the discs whose union is the strokes, in framed pixels: float64 [K, 2]."""
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


def _draw(discs: Points, pen: float) -> Floats:
    """How much of each pixel the discs cover, 0 to 1: float32 [28, 28].

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
