"""Augment whole batches of digits, on the device that the batch is on.

torchvision's random transforms draw one change for a whole batch; here each image has its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.distortions import distort
from digitcnn.digits.image_ops import affine_grid, box_blur, dilate


@dataclass(frozen=True)
class Augmentation:
    """How far each image may be changed; every range is uniform and symmetric.

    rotation: degrees. shift: share of the 28 pixels, per axis. size, scale: of the digit, one for
    both axes: its size varies around ``size`` by ``scale``, as shares.
    shear: horizontal pixels per vertical pixel.
    thicken, blur: the shares of each batch whose strokes are thickened and blurred.
    distorted: the share of each batch with noise, haze, lines and the like (``distortions``);
    distorted_last: the same at the end of a training.
    far: the share that is rotated, shifted, shrunk and sheared by up to FAR.
    """

    rotation: float = 12.0
    shift: float = 0.08
    scale: float = 0.15
    shear: float = 0.2
    thicken: float = 1 / 3
    blur: float = 1 / 3
    distorted: float = 0.3
    distorted_last: float = 0.15
    far: float = 0.05
    size: float = 1.0


FAR = Augmentation(rotation=35.0, shift=0.15, size=0.9, scale=0.35, shear=0.6)


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return augmented copies of ``images``, each changed by its own random draw.

    images: uint8 [N, 28, 28]. Returns float32 [N, 28, 28] on the same scale, 0 to 255.
    generator: on the device of ``images``.
    """
    count = len(images)
    far, distorted = round(count * augmentation.far), round(count * augmentation.distorted)
    maps = _draw_maps(count - far, augmentation, generator), _draw_maps(far, FAR, generator)
    pixels = warp(images.unsqueeze(1).float(), torch.cat(maps).roll(-distorted, 0))
    pixels = _change_strokes(pixels, augmentation, generator)
    if distorted:
        # The last images, of which few are thickened or blurred; the far ones are before them.
        pixels[-distorted:] = 255 * distort((pixels[-distorted:] / 255).clamp_(0, 1), generator)
    return pixels.squeeze(1)


def warp(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Map images [N, 1, H, W] by output-to-input affine maps [N, 2, 3], bilinear, paper outside.

    In the maps' coordinates an image extends from -1 to 1.
    """
    grid = affine_grid(matrices, pixels.shape[2], pixels.shape[3])
    return functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)


def thicken(pixels: Tensor, amount: Tensor | float) -> Tensor:
    """Return images [N, 1, H, W] with strokes wider by up to a pixel on each side.

    amount: 0 to 1, for all or [N, 1, 1, 1]; how much of the dilation by 3x3 is mixed in.
    """
    return pixels.lerp(dilate(pixels), amount)


def affine_maps(angle: Tensor, shear: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Return output-to-input affine maps [N, 2, 3].

    angle: radians. shear: horizontal pixels per vertical pixel. zoom: input pixels per output
    pixel. All [N]. shift: [N, 2], (x, y) as shares of the image.
    """
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    # The maps' coordinates span 2 over the image.
    shift_x, shift_y = (2 * shift).unbind(1)
    rows = (cos, cos * shear - sin, shift_x, sin, sin * shear + cos, shift_y)
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _draw_maps(images: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    draw = torch.rand(images, 5, device=generator.device, generator=generator).mul_(2).sub_(1)
    return affine_maps(
        angle=draw[:, 0] * math.radians(augmentation.rotation),
        shear=augmentation.shear * draw[:, 4],
        zoom=1 / (augmentation.size + augmentation.scale * draw[:, 3]),
        shift=augmentation.shift * draw[:, 1:3],
    )


def _change_strokes(
    pixels: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """Thicken a share of the batch and blur another share; the two do not overlap.

    The batch is in random order already, so the shares are its first images. Each is a random
    mix of the image and its dilation, or its blur: strokes of every width in between.
    """
    thick = round(len(pixels) * augmentation.thicken)
    blurred = thick + round(len(pixels) * augmentation.blur)
    mix = torch.rand(len(pixels), 1, 1, 1, device=pixels.device, generator=generator)
    parts = pixels[:thick], pixels[thick:blurred], pixels[blurred:]
    smooth = box_blur(box_blur(parts[1]))
    return torch.cat(
        (thicken(parts[0], mix[:thick]), parts[1].lerp(smooth, mix[thick:blurred]), parts[2])
    )
