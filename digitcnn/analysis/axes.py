"""Distortions and corruptions of digit images, each along an axis of strengths.

images: [N, 28, 28] from 0 to 255, any dtype. Each function returns uint8 [N, 28, 28]; the neutral
strength returns the images unchanged. torchvision does what it can; scaling and stroke width are
ours, because its affine transform does not antialias, its resize takes whole pixels only, and it
has no morphology. Random corruptions are seeded: the same images always get the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits import framing
from digitcnn.digits.augment import thicken
from digitcnn.digits.digit_set import SIDE


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate clockwise, bilinear, about the point where framing puts the centre of mass."""
    vision = _vision()
    bilinear = vision.InterpolationMode.BILINEAR
    centre = [framing.MIDDLE, framing.MIDDLE]
    return _to_bytes(vision.rotate(images.float(), -degrees, interpolation=bilinear, center=centre))


def shift(images: Tensor, pixels: float) -> Tensor:
    """Move to the right by whole pixels; what leaves the image is lost."""
    moved = _vision().affine(
        images.float(), angle=0.0, translate=[pixels, 0.0], scale=1.0, shear=[0.0, 0.0]
    )
    return _to_bytes(moved)


def scale(images: Tensor, factor: float) -> Tensor:
    """Scale with the stroke width, antialiased, about the centre of mass."""
    n = len(images)
    middle = np.full((n, 2), framing.MIDDLE)
    resampled = framing.resampled(images.numpy(), middle, np.full(n, 1 / factor))
    return _to_bytes(torch.from_numpy(resampled))


def change_stroke(images: Tensor, pixels: float) -> Tensor:
    """Widen every stroke by this many pixels, half on each side; below 0, make it thinner.

    A stroke that loses its whole width disappears.
    """
    ink = images.unsqueeze(1).float()
    # Thinning the ink is thickening the paper.
    ink = 255 - ink if pixels < 0 else ink
    side = abs(pixels) / 2
    for step in range(math.ceil(side)):
        ink = thicken(ink, torch.full((len(ink), 1, 1, 1), min(side - step, 1.0)))
    return _to_bytes((255 - ink if pixels < 0 else ink).squeeze(1))


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of this deviation in pixels, with paper around the image."""
    if sigma == 0:
        return _to_bytes(images.float())
    vision = _vision()
    # torchvision reflects an image at its border, so paper is put around it first.
    edge = math.ceil(4 * sigma)
    padded = vision.pad(images.unsqueeze(1).float(), [edge])
    blurred = vision.gaussian_blur(padded, [2 * edge + 1, 2 * edge + 1], [sigma, sigma])
    return _to_bytes(vision.center_crop(blurred, [SIDE, SIDE]).squeeze(1))


def add_noise(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise of this deviation, in shares of full ink."""
    noise = torch.randn(images.shape, generator=_chance())
    return _to_bytes(images.float() + 255 * deviation * noise)


def reduce_contrast(images: Tensor, factor: float) -> Tensor:
    """Bring ink and paper nearer to the grey between them: multiply their distance from it."""
    return _to_bytes((images.float() - 127.5) * factor + 127.5)


def add_fog(images: Tensor, density: float) -> Tensor:
    """Add clouds, different for each image, with up to this share of full ink where densest."""
    clouds = torch.zeros(len(images), 1, SIDE, SIDE)
    for side in (3, 6, 12):  # half as strong where half as large
        puffs = torch.rand(len(images), 1, side, side, generator=_chance())
        clouds += (3 / side) * functional.interpolate(
            puffs, size=(SIDE, SIDE), mode="bicubic", align_corners=True
        )
    clouds = (clouds / clouds.amax((2, 3), keepdim=True)).clamp(min=0)
    return _to_bytes(images.float() + 255 * density * clouds.squeeze(1))


def add_stripes(images: Tensor, darkness: float) -> Tensor:
    """Draw upright stripes, 2 pixels wide and 7 apart, as dark as this share of full ink."""
    striped = torch.arange(SIDE) % 7 >= 5
    return _to_bytes(torch.maximum(images.float(), 255 * darkness * striped))


def occlude(images: Tensor, pixels: float) -> Tensor:
    """Cover a square with sides of this many pixels with paper, anywhere in the middle 20x20."""
    places = torch.arange(SIDE)
    corner = 4 + torch.rand(2, len(images), 1, generator=_chance()) * (20 - pixels)
    y, x = ((places >= low) & (places < low + pixels) for low in corner.round())
    return _to_bytes(images.float() * ~(y[:, :, None] & x[:, None, :]))


def _chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _vision() -> Any:
    """Import torchvision on first use, since the import takes a second."""
    from torchvision.transforms.v2 import functional

    return functional


def _to_bytes(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Axis:
    """One kind of distortion and the strengths that are tried.

    name: one word or two, for people. unit: of a strength, written behind the number. neutral: the
    strength that changes nothing; one of ``values``, which ascend. marked: the values that a table
    shows. apply: one of the functions above.
    """

    name: str
    unit: str
    neutral: float
    values: tuple[float, ...]
    marked: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor] = field(repr=False)

    def text(self, strength: float) -> str:
        """Return a strength with its unit, signed on axes with two sides: ``+30°``, ``0.5 ×``."""
        signed = self.neutral == 0 and self.values[0] < 0 and strength != 0
        return f"{strength:+g}{self.unit}" if signed else f"{strength:g}{self.unit}"


def _steps(first: float, last: float, count: int) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in np.linspace(first, last, count))


# The distortions of a sketch that the pad offers.
SKETCH_AXES = (
    Axis("rotation", "°", 0, _steps(-90, 90, 19), (-60, -30, 30, 60), rotate),
    Axis("shift", " px", 0, _steps(-8, 8, 17), (-6, -3, 3, 6), shift),
    Axis("size", " ×", 1, _steps(0.3, 2.0, 18), (0.4, 0.7, 1.3, 1.6), scale),
    Axis("stroke width", " px", 0, _steps(-1.5, 5, 14), (-1.5, -1, 2, 4), change_stroke),
    Axis("blur", " px", 0, _steps(0, 3, 13), (0.5, 1, 2, 3), blur),
)
AXES = (
    *SKETCH_AXES,
    Axis("noise", "", 0, _steps(0, 0.8, 9), (0.2, 0.4, 0.6), add_noise),
    Axis("contrast", " ×", 1, _steps(0.1, 1, 10), (0.2, 0.4, 0.7), reduce_contrast),
    Axis("fog", "", 0, _steps(0, 1.2, 9), (0.3, 0.6, 0.9), add_fog),
    Axis("stripes", "", 0, _steps(0, 1, 6), (0.4, 0.6, 1), add_stripes),
    Axis("occlusion", " px", 0, _steps(0, 14, 8), (6, 10, 14), occlude),
)
