"""Distort images as cameras, paper and pens do: noise, haze, blur, crossing lines and more.

Each *kind* of distortion draws a strength for every image. None copies a corruption of MNIST-C
(Mu and Gilmer 2019, arXiv 1906.02337), on which robustness is measured; docs/results.md lists
which corruption resembles which kind.

A kind takes images, float32 [N, 1, H, W] from 0 (paper) to 1 (ink), and a generator on the same
device. It returns a distorted copy, which may exceed that range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.image_ops import affine_grid, dilate

# Images that get the same kind of distortion: few enough for variety within a batch, enough that
# the overhead of small operations does not dominate.
_GROUP = 9

# Number of points on the path of a motion blur.
_PATH = 9

# Every third image gets a second kind of distortion.
_SECOND = 3


def distort(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return distorted copies of ``pixels``, float32 [N, 1, H, W] from 0 (paper) to 1 (ink).

    generator: on the device of ``pixels``. Shuffle the images first: neighbours get the same kind.
    """
    order = torch.rand(2, len(KINDS), device=pixels.device, generator=generator).argsort(1).tolist()
    pixels = _in_groups(pixels, order[0], generator)
    pixels[::_SECOND] = _in_groups(pixels[::_SECOND], order[1], generator)
    return pixels


Kind = Callable[[Tensor, torch.Generator], Tensor]


def _in_groups(pixels: Tensor, kinds: Sequence[int], generator: torch.Generator) -> Tensor:
    """Distort equal parts of ``pixels`` by the first of ``kinds``, the places in KINDS."""
    count = max(1, len(pixels) // _GROUP)
    groups = zip(kinds[:count], pixels.tensor_split(min(count, len(kinds))), strict=True)
    return torch.cat([KINDS[kind](group, generator).clamp(0, 1) for kind, group in groups])


# Random values


def _uniform(like: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw a value between ``low`` and ``high`` for each image: [N, 1, 1, 1]."""
    draw = torch.rand(len(like), 1, 1, 1, device=like.device, generator=generator)
    return draw.mul_(high - low).add_(low)


def _chance(like: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw True for each image with probability ``share``: bool [N, 1, 1, 1]."""
    return _uniform(like, 0, 1, generator) < share


def _rand(like: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(len(like), *shape, device=like.device, generator=generator)


def _randn(like: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(len(like), *shape, device=like.device, generator=generator)


def _pick(generator: torch.Generator, low: int, high: int) -> int:
    """Draw one integer from ``low`` to ``high`` - 1 for the whole group."""
    return int(torch.randint(low, high, (), device=generator.device, generator=generator))


def _places(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return row [H, 1] and column [1, W] coordinates of the pixels, 0 at the image's centre."""
    height, width = like.shape[2:]
    rows = torch.arange(height, device=like.device) - (height - 1) / 2
    columns = torch.arange(width, device=like.device) - (width - 1) / 2
    return rows[:, None], columns[None]


def _field(like: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Interpolate random values on a grid of ``side`` by ``side`` points: [N, 1, H, W], 0 to 1."""
    coarse = _rand(like, generator, 1, side, side)
    mode = "bicubic" if side > 3 else "bilinear"
    return functional.interpolate(coarse, like.shape[2:], mode=mode, align_corners=True).clamp_(
        0, 1
    )


# Noise


def _grain(x: Tensor, g: torch.Generator) -> Tensor:
    """Add Gaussian noise."""
    return x + _uniform(x, 0.02, 0.45, g) * _randn(x, g, *x.shape[1:])


def _speckle(x: Tensor, g: torch.Generator) -> Tensor:
    """Add noise proportional to the ink, and a little on the paper."""
    noise = _randn(x, g, *x.shape[1:])
    return x * (1 + _uniform(x, 0.1, 1.2, g) * noise) + _uniform(x, 0, 0.15, g) * noise.abs()


def _wrong_pixels(x: Tensor, g: torch.Generator) -> Tensor:
    """Replace single pixels by random greys, or by black and white."""
    value = _rand(x, g, *x.shape[1:])
    value = torch.where(_chance(x, 0.5, g), value, (value > 0.5).float())
    return torch.where(_rand(x, g, *x.shape[1:]) < _uniform(x, 0.01, 0.3, g), value, x)


# Light and paper


def _haze(x: Tensor, g: torch.Generator) -> Tensor:
    """Blend in, overlay or add a smooth field, as uneven light does."""
    field, amount = _field(x, _pick(g, 2, 9), g), _uniform(x, 0.1, 0.8, g)
    way = _uniform(x, 0, 1, g)
    lit = torch.where(way < 0.35, x.lerp(field, amount), torch.maximum(x, amount * field))
    return torch.where(way < 0.7, lit, x + amount * field)


def _levels(x: Tensor, g: torch.Generator) -> Tensor:
    """Make the paper grey and the ink faint, with a random gamma curve."""
    low = _uniform(x, 0, 0.7, g)
    gamma = torch.exp(0.5 * _randn(x, g, 1, 1, 1))
    return low + _uniform(x, 0.25, 1, g) * (1 - low) * x**gamma


def _texture(x: Tensor, g: torch.Generator) -> Tensor:
    """Add the texture of paper or cloth, behind the ink or through it."""
    field = _field(x, _pick(g, 6, 15), g)
    field = field.lerp(_rand(x, g, *x.shape[1:]), _uniform(x, 0, 0.6, g))
    amount = _uniform(x, 0.2, 0.7, g)
    return torch.where(
        _chance(x, 0.5, g), torch.maximum(x, amount * field), x * (1 - amount * field)
    )


def _blotches(x: Tensor, g: torch.Generator) -> Tensor:
    """Add drops of ink, or erase such patches."""
    field = functional.interpolate(
        _randn(x, g, 1, 14, 14), x.shape[2:], mode="bicubic", align_corners=False
    )
    mask = ((field - _uniform(x, 0.8, 1.8, g)) * 3).clamp_(0, 1)
    ink = _uniform(x, 0.4, 1, g)
    return torch.where(_chance(x, 0.7, g), torch.maximum(x, mask * ink), x * (1 - mask))


def _inverted(x: Tensor, g: torch.Generator) -> Tensor:
    """Invert part of the image: one side, two sides or a band, mostly parallel to an edge."""
    angle = _uniform(x, 0, 2 * math.pi, g)
    square = (angle / (math.pi / 2)).round() * (math.pi / 2)
    angle = torch.where(_chance(x, 0.6, g), square, angle)
    rows, columns = _places(x)
    along = rows * angle.sin() + columns * angle.cos()
    side, other = along > _uniform(x, 1, 13, g), along < -_uniform(x, 1, 13, g)
    kind = _uniform(x, 0, 3, g)
    band = along.abs() < _uniform(x, 1, 5, g)
    mask = torch.where(kind < 1, side, torch.where(kind < 2, side | other, band))
    amount = torch.where(_chance(x, 0.6, g), 1.0, _uniform(x, 0.3, 1, g))
    return (x - mask * amount).abs()


# Occlusion


def _lines(x: Tensor, g: torch.Generator) -> Tensor:
    """Draw up to two lines of up to five bends, some dashed; a fifth of the groups erase ink."""
    rows, columns = _places(x)
    drawn = torch.zeros_like(x)
    for _ in range(2):
        bends = _pick(g, 0, 6)
        ends = _rand(x, g, 2, 2, 1, 1).mul_(34).sub_(17)
        steps = torch.linspace(0, 1, bends + 2, device=x.device)[:, None, None]
        # The bends lie on the line between the ends, displaced at random.
        course = ends[:, :1] + steps[None, :, None] * (ends[:, 1:] - ends[:, :1])
        course = course + 4 * _randn(x, g, bends + 2, 2, 1, 1) * _uniform(x, 0, 1, g)[..., None]
        start, end = course[:, :-1], course[:, 1:]
        way = end - start
        length = (way * way).sum(2).clamp_(min=1)
        apart = rows - start[:, :, 0], columns - start[:, :, 1]
        done = (apart[0] * way[:, :, 0] + apart[1] * way[:, :, 1]) / length
        at = done.clamp(0, 1)
        gaps = (apart[0] - at * way[:, :, 0]) ** 2 + (apart[1] - at * way[:, :, 1]) ** 2
        ink = (_uniform(x, 0.7, 2.1, g) - gaps.sqrt()).clamp_(0, 1)
        dash = _uniform(x, 2, 6, g)
        dashed = (torch.remainder(done * length.sqrt(), dash) < dash / 2) | _chance(x, 0.6, g)
        ink = (ink * dashed).amax(1, keepdim=True)
        drawn = torch.maximum(drawn, ink * _chance(x, 0.75, g) * _uniform(x, 0.4, 1, g))
    return torch.maximum(x, drawn) if _pick(g, 0, 5) else x * (1 - drawn)


def _patch(x: Tensor, g: torch.Generator) -> Tensor:
    """Cover part of the image with a grey rectangle."""
    rows, columns = _places(x)
    down = (rows - _uniform(x, -14, 14, g)).abs() < _uniform(x, 1, 6, g)
    across = (columns - _uniform(x, -14, 14, g)).abs() < _uniform(x, 1, 6, g)
    return torch.where(down & across, _uniform(x, 0, 1, g), x)


# The stroke


def _outline(x: Tensor, g: torch.Generator) -> Tensor:
    """Keep only the edge of the stroke: outside, inside or both, soft or hard."""
    wide, slim = dilate(x), -dilate(-x)
    way = _uniform(x, 0, 1, g)
    edge = torch.where(way < 0.67, torch.where(way < 0.33, wide - x, x - slim), wide - slim)
    hard = (edge > _uniform(x, 0.2, 0.6, g)).float()
    edge = torch.where(_chance(x, 0.5, g), edge, hard)
    return x.lerp(edge, torch.where(_chance(x, 0.6, g), 1.0, _uniform(x, 0.3, 1, g)))


def _thin(x: Tensor, g: torch.Generator) -> Tensor:
    """Thin the strokes, which breaks the thinnest."""
    slim = -dilate(-x)
    return x.lerp(slim, _uniform(x, 0.3, 1, g))


# Blur and resolution


def _smear(x: Tensor, g: torch.Generator) -> Tensor:
    """Blur along a short path, straight or curved, as a moving camera does."""
    turns = 0.15 * _randn(x, g, 1) + 0.1 * _randn(x, g, _PATH)
    angle = _rand(x, g, 1) * (2 * math.pi) + turns.cumsum(1)
    path = torch.stack((angle.sin(), angle.cos())) * (_rand(x, g, 1) * 1.4)
    path = path.cumsum(2)
    path = (path - path.mean(2, keepdim=True))[..., None, None]
    # A Gaussian at each point of the path is a product of one across and one down: [N, P, H, H].
    width = _uniform(x, 0.45, 1.25, g)
    down, across = (
        torch.exp(-0.5 * ((places.view(-1, 1) - places.view(1, -1) - offset) / width) ** 2)
        for places, offset in zip(_places(x), path, strict=True)
    )
    blurred = (down @ x @ across.transpose(2, 3)).mean(1, keepdim=True)
    blurred = blurred / (2 * math.pi * width**2)
    # A third of the images keep their darkest ink.
    peak = blurred.amax((2, 3), keepdim=True).clamp_(min=0.05)
    return torch.where(_chance(x, 0.35, g), blurred / peak, blurred)


def _coarse(x: Tensor, g: torch.Generator) -> Tensor:
    """Reduce the resolution, with square or smoothed pixels."""
    side = _pick(g, 8, 20)
    small = functional.interpolate(
        x, (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    if _pick(g, 0, 2):
        return functional.interpolate(small, x.shape[2:], mode="nearest")
    return functional.interpolate(small, x.shape[2:], mode="bicubic", align_corners=False)


def _frayed(x: Tensor, g: torch.Generator) -> Tensor:
    """Replace each pixel by one nearby, as rough paper and bleeding ink do."""
    height, width = x.shape[2:]
    offsets = _randn(x, g, height, width, 2) * (_uniform(x, 0.3, 1.8, g) * 2 / width)
    same = torch.eye(2, 3, device=x.device).expand(len(x), 2, 3)
    grid = affine_grid(same, height, width) + offsets
    mode = ("bilinear", "nearest")[_pick(g, 0, 2)]
    return functional.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False)


KINDS: tuple[Kind, ...] = (
    _grain,
    _speckle,
    _wrong_pixels,
    _haze,
    _levels,
    _texture,
    _blotches,
    _inverted,
    _lines,
    _patch,
    _outline,
    _thin,
    _smear,
    _coarse,
    _frayed,
)
