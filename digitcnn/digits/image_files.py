"""Open image files from outside, with bounds on their size, and convert them to grey."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from digitcnn.errors import SketchError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 25_000_000
# JPEG files can be decoded at a half, a quarter or an eighth, as long as this much is left.
DRAFT_SIDE = 1024

# An image whose ink differs from its ground by less than this, of 255, is blank.
LEAST_CONTRAST = 24

# EXIF's tag; values from 5 on exchange width and height.
_ORIENTATION = 0x0112

_DAMAGED = "The image is damaged or truncated; save or send it again."


def open_image(data: bytes) -> Image.Image:
    """Decode an image file's bytes, after checking its number of pixels.

    Reads PNG, JPEG, WebP, BMP and GIF (the first frame), up to 20 MiB and 25 million pixels.
    Raises SketchError for anything else.
    """
    if not data:
        raise SketchError("The image is empty; choose another image file.")
    if len(data) > MAX_BYTES:
        raise SketchError(f"The image is larger than {MAX_BYTES // 2**20} MiB; save a smaller one.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of "decompression bombs" above a size of its own; ours is lower.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        check_size(image)
        image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large("far too large") from error
    except UnidentifiedImageError as error:
        raise SketchError(
            "This image cannot be read; use a PNG, JPEG, WebP, BMP or GIF file."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        # Pillow's decoders raise any of these on a truncated or damaged file.
        raise SketchError(_DAMAGED) from error
    return image


def full_size(data: bytes) -> tuple[int, int]:
    """Return width and height that ``open_image`` may have reduced, turned as EXIF says."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def check_size(image: Image.Image) -> None:
    """Raise SketchError for an image without pixels or with too many."""
    width, height = image.size
    if width < 1 or height < 1:
        raise SketchError("The image has no pixels; choose another image file.")
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height} pixels")


def _too_large(size: str) -> SketchError:
    return SketchError(
        f"The image is {size}; the limit is {MAX_PIXELS // 1_000_000} million pixels, so save a "
        "smaller one."
    )


def grey_of(image: Image.Image) -> NDArray[np.float32]:
    """Return the luminance on white paper, 0 to 255, rotated as EXIF says: float32 [H, W].

    Raises SketchError when the image cannot be decoded.
    """
    try:
        return _luminance_on_white(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise SketchError(_DAMAGED) from error


def _luminance_on_white(image: Image.Image) -> NDArray[np.float32]:
    if image.mode.startswith("I"):
        # Pillow reads 16-bit greys as I;16 or, in older releases and some formats, as I.
        wide: NDArray[np.float32] = np.asarray(image, dtype=np.float32) / np.float32(257)
        return wide
    if image.mode == "F":
        grey = np.asarray(image, dtype=np.float32)
        return np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"), dtype=np.float32)
    # Pillow converts a palette with transparency only by way of RGBA.
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    flat = np.asarray(Image.alpha_composite(white, rgba).convert("L"), dtype=np.float32)
    alpha = np.asarray(rgba.getchannel("A"), dtype=np.float32)
    if np.ptp(flat) < LEAST_CONTRAST <= np.ptp(alpha):
        # White ink on a transparent ground would vanish on white paper.
        return 255 - alpha
    return flat
