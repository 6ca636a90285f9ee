"""Distort examples as other writers, pens, scanners and cameras would."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.augment import affine_maps, thicken, warp
from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.digits.sketch import from_images

# A narrow digit that is cropped to its box is widened by at most this factor: a 1 stays a 1.
BOX_STRETCH = 1.6


@dataclass(frozen=True)
class Distortion:
    """Strength of the distortions, which exceed the augmentation that networks are trained with.

    rotation (degrees), shear, scale, shift (share of the 28 pixels): deviations of normal draws.
    elastic: deviation of a smooth random displacement, in pixels. thin, thick, boxed, coarse:
    shares of the images whose strokes are thinned or thickened, that are cropped to the box around
    their ink, and that are reduced to 13 to 22 pixels and enlarged again, as small or blurred
    images are.
    contrast: standard deviation of the logarithm of the gamma of the greys.
    framed: share of the images that are brought to sketch framing at the end.
    """

    rotation: float = 10.0
    shear: float = 0.18
    scale: float = 0.1
    shift: float = 0.03
    elastic: float = 1.0
    thin: float = 0.25
    thick: float = 0.8
    boxed: float = 0.85
    coarse: float = 0.75
    contrast: float = 0.25
    framed: float = 0.5


# Thick, cropped and coarse images are ambiguous. As they come from scans and photographs, which
# mostly show digits, more of the digits than of the non-digits are distorted like this.
OF_DIGITS = Distortion()
OF_NON_DIGITS = replace(OF_DIGITS, thick=0.55, boxed=0.5, coarse=0.45)


def distorted(images: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Return distorted copies of digits and, where the target is 10, of non-digits."""
    copies = torch.empty(images.shape)
    is_digit = targets < CLASSES
    for chosen, amounts in ((is_digit, OF_DIGITS), (~is_digit, OF_NON_DIGITS)):
        if bool(chosen.any()):  # the last few may be of one kind
            copies[chosen] = distort(images[chosen], amounts, generator)
    return copies


def distort(images: Tensor, amounts: Distortion, generator: torch.Generator) -> Tensor:
    """Return distorted copies of images in random order: uint8 [N, 28, 28] -> float32, 0 to 255.

    Every image is rotated, sheared and displaced elastically (Simard et al. 2003), and its contrast
    is stretched and varied; some are thinned, thickened, cropped, coarsened or brought to sketch
    framing. torchvision's transforms are not used because they draw one value for a whole batch.
    """
    count = len(images)
    draw = torch.randn(count, 5, generator=generator)
    angle = draw[:, 0] * math.radians(amounts.rotation)
    shear = draw[:, 1] * amounts.shear
    zoom = torch.exp(draw[:, 2] * amounts.scale)
    affine = affine_maps(angle, shear, zoom, amounts.shift * draw[:, 3:])
    pixels = images.unsqueeze(1).float()
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    coarse = torch.randn(count, 2, 4, 4, generator=generator) * (2 * amounts.elastic / SIDE)
    elastic = functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    pixels = functional.grid_sample(pixels, grid + elastic.permute(0, 2, 3, 1), align_corners=False)
    pick = torch.rand(5, count, generator=generator)
    shares = (amounts.thin, amounts.thick, amounts.boxed, amounts.coarse, amounts.framed)
    thin, thick, cut, reduced, framed = (
        (drawn < share).nonzero()[:, 0] for drawn, share in zip(pick, shares, strict=True)
    )
    # Thinned and thickened in turn, an image loses its fine gaps.
    lean = 0.7 * torch.rand(len(thin), 1, 1, 1, generator=generator)
    pixels[thin] = 255 - thicken(255 - pixels[thin], lean)
    amount = 2 * torch.rand(len(thick), 1, 1, 1, generator=generator)
    once = thicken(pixels[thick], amount.clamp(max=1))
    pixels[thick] = thicken(once, (amount - 1).clamp(min=0))
    if len(cut):
        pixels[cut] = _boxed(pixels[cut], generator)
    for part, side in zip(reduced.tensor_split(5), (13, 15, 17, 19, 22), strict=True):
        if len(part):
            small = functional.interpolate(
                pixels[part],
                size=(side, side),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
            pixels[part] = functional.interpolate(
                small, size=(SIDE, SIDE), mode="bicubic", align_corners=False
            )
    pixels = pixels.clamp_(0, 255).squeeze(1)
    ink = pixels / pixels.amax((1, 2), keepdim=True).clamp(min=1)
    power = torch.exp(amounts.contrast * torch.randn(count, 1, 1, generator=generator))
    pixels = 255 * ink**power
    pixels[framed] = from_images(pixels[framed].round().byte()).float()
    return pixels


def _boxed(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return images [N, 1, 28, 28], 0 to 255, cropped to the box around their ink, as scans are.

    The box is stretched towards a square and centred, its longer side 19 to 21 pixels. Faint ink
    at the edge is cropped with the paper, so that strokes end bluntly there.
    """
    count = len(pixels)
    draw = torch.rand(3, count, generator=generator)
    ink = pixels[:, 0] > (13 + 89 * draw[0])[:, None, None]
    place = torch.arange(SIDE)
    edges = []
    for axis in (1, 2):
        inked = ink.any(axis)
        low = inked.float().argmax(1)
        # A blank image keeps its whole frame.
        edges.append((low, SIDE - inked.flip(1).float().argmax(1)))
    inside = [(place >= low[:, None]) & (place < high[:, None]) for low, high in edges]
    pixels = pixels * inside[0][:, None, None, :] * inside[1][:, None, :, None]
    low, high = (torch.stack(ends, 1).float() for ends in zip(*edges, strict=True))
    size = high - low
    aspect = size.amax(1, keepdim=True) / size
    stretch = (aspect ** (draw[1] / 2)[:, None]).clamp(max=BOX_STRETCH)
    step = aspect * size / ((19 + 2 * draw[2])[:, None] * stretch)
    middle = (low + high) / SIDE - 1
    matrices = torch.cat([torch.diag_embed(step), middle[:, :, None]], 2)
    return warp(pixels, matrices)
