"""Non-digits for training the OOD detector: letters, signs, scribbles, shapes, pairs of digits.

All are generated or composed from training digits. Letters are written by the simulated writers of
``digits.synthetic``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.detector.forms import CAPITALS, SIGNS, SMALL_LETTERS, Forms
from benchmarks.detector.handwriting import scrawl, write
from digitcnn.digits.digit_set import SIDE, DigitSet
from digitcnn.digits.framing import frame_ink
from digitcnn.digits.synthetic import POPULATIONS, Population, Spread

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Writers with more varied slant, width and pen than those of ``synthetic``, but with weaker bends:
# a letter that is bent as far becomes another one.
WRITERS: Population = replace(
    POPULATIONS["synthetic"],
    slant=Spread(3, 12, -25, 35),
    width=Spread(0.95, 0.22, 0.5, 1.7),
    pen=Spread(1.2, 0.5, 0.35, 2.7),
    habit=0.03,
    wobble=0.022,
    looseness=1.8,
    blur=1.2,
)


# Images drawn at a time; bounds the work area to 25 MB.
CHUNK = 1_000


def draw(digits: DigitSet, count: int, random: np.random.Generator) -> torch.Tensor:
    """Return non-digits in MNIST framing, kind after kind: uint8 [count, 28, 28].

    digits: the source of pairs and of turned digits.
    """
    shares = np.array([share for share, _ in KINDS.values()])
    counts = np.diff(np.rint(np.cumsum(shares) / shares.sum() * count), prepend=0).astype(int)
    drawn = [
        make(digits, part, random)
        for each, (_, make) in zip(counts, KINDS.values(), strict=True)
        for part in _parts(int(each), math.ceil(each / CHUNK))
    ]
    return torch.from_numpy(np.concatenate(drawn))


def _with_serifs(strokes: str) -> str:
    """Add a serif, a short bar, across both ends of each stroke."""
    bars = []
    for stroke in strokes.split("/"):
        points = stroke.split()
        for point in (points[0], points[-1]):
            x, y = (float(number) for number in point.rstrip("!").split(","))
            bars.append(f"{x - 11:g},{y:g} {x + 11:g},{y:g}")
    return " / ".join([strokes, *bars])


# Letters whose strokes end where printed letters have a serif.
PRINTED_CAPITALS: Forms = {
    letter: [_with_serifs(form) for form in CAPITALS[letter]] for letter in "AFHJKLMNPRTUVWXY"
}


def _written(forms: Forms, count: int, random: np.random.Generator) -> Bytes:
    """Return letters or signs in handwriting, all equally frequent, in a random form each."""
    weighted = [(form, 1 / len(variants)) for variants in forms.values() for form in variants]
    weights = np.array([weight for _, weight in weighted])
    counts = random.multinomial(count, weights / weights.sum())
    return np.concatenate(
        [
            write(form, WRITERS, each, random)
            for (form, _), each in zip(weighted, counts, strict=True)
            if each
        ]
    )


# Line drawings: how many strokes they have, and how many points each stroke.
SCRIBBLES = ((1, 6), (1, 9), (1, 13), (1, 18), (1, 30))
TANGLES = ((2, 5), (2, 8), (2, 14), (3, 5), (3, 8), (3, 14))
CURLS = ((1, 20), (1, 32), (2, 16), (2, 24), (3, 16))
# Two scratches could be a 1 or a 7.
SCRATCHES = ((3, 2), (4, 2), (6, 2))

# Closed lines, which only a 0 and an 8 among the digits are.
OUTLINES = ((1, 30), (1, 45))
# A heart: angles from the top, and the distance from its centre there.
HEART = ((0, 0.5, 1.1, 1.7, 2.4, np.pi), (0.45, 0.9, 1, 0.85, 0.75, 1.1))

# Returns points [drawings, strokes, points, 2].
Lines = Callable[[tuple[int, int, int], np.random.Generator], Doubles]


def _drawn(
    kinds: Sequence[tuple[int, int]], lines_of: Lines, count: int, random: np.random.Generator
) -> Bytes:
    """Return lines drawn with the pens of WRITERS, equally many of each kind."""
    drawn = []
    for part, (strokes, points) in zip(_parts(count, len(kinds)), kinds, strict=True):
        lines = lines_of((part, strokes, points), random).reshape(part, strokes * points, 2)
        drawn.append(scrawl(lines.astype(np.float32), strokes, WRITERS, random))
    return np.concatenate(drawn)


def _planless(shape: tuple[int, int, int], random: np.random.Generator) -> Doubles:
    """Return random lines: independent points, random walks, or walks with random turns."""
    lines = (*shape[:-1], 1)
    anywhere = random.random((*shape, 2))
    wandering = random.normal(0, 1, (*shape, 2)).cumsum(-2)
    bend = random.normal(0, 0.5, lines) + random.normal(0, 0.8, shape)
    angle = bend.cumsum(-1) + random.uniform(0, 2 * np.pi, lines)
    turning = np.stack([np.cos(angle), np.sin(angle)], axis=-1).cumsum(-2)
    return np.choose(random.integers(3, size=(*lines, 1)), [anywhere, wandering, turning])


def _tangled(shape: tuple[int, int, int], random: np.random.Generator) -> Doubles:
    """Return several random lines on top of each other."""
    each, one = (*shape[:2], 1, 1), (*shape[:2], 1, 2)
    lines = _planless(shape, random)
    lines -= lines.mean(2, keepdims=True)
    lines *= random.uniform(0.5, 1, each) / abs(lines).max((2, 3), keepdims=True)
    return lines + random.normal(0, 0.4, one)


def _curled(shape: tuple[int, int, int], random: np.random.Generator) -> Doubles:
    """Return loops, coils and ribbons, each the sum of a few random waves."""
    each, drawing = (*shape[:2], 1, 2), (shape[0], 1, 1, 1)
    along = np.linspace(0, 1, shape[2])[:, None]
    lines = random.uniform(-1, 1, each) * random.uniform(0, 3, drawing) * along
    for frequency in (1, 2, 3, 4, 5):
        phase = random.uniform(0, 2 * np.pi, each)
        height = random.normal(0, 1, each) / frequency ** random.uniform(0.2, 1.2, drawing)
        lines = lines + height * np.sin(np.pi * frequency * along + phase)
    return lines + random.normal(0, 0.8, each)


def _scratched(shape: tuple[int, int, int], random: np.random.Generator) -> Doubles:
    """Return short straight lines at random places."""
    start = random.random((*shape[:2], 1, 2))
    return np.concatenate([start, start + random.normal(0, 0.5, start.shape)], axis=2)


def _outlined(shape: tuple[int, int, int], random: np.random.Generator) -> Doubles:
    """Return closed outlines: hearts, and polygons, stars and flowers of three to seven corners.

    An outline is given by its distance from the centre in every direction, like ``_shapes``.
    """
    each, both = (*shape[:2], 1), (*shape[:2], 1, 2)
    heart = random.random(each) < 0.5
    angle = np.broadcast_to(np.linspace(0, 2 * np.pi, shape[2]), shape)
    corners = random.integers(3, 8, each)
    half = np.pi / corners
    polygon = np.cos(half) / np.cos(angle % (2 * half) - half)
    # The distance between two corners, as a share of the distance at a corner: with straight
    # sides it is cos(half), nearer the centre it makes a star. Inverted, corners become notches.
    depth = random.uniform(0.35, 0.75, each)
    edge = polygon ** (random.choice([-1, 1], each) * np.log(depth) / np.log(np.cos(half)))
    # From the notch at the top to the tip at the bottom, down either side.
    side = np.interp(np.minimum(angle, 2 * np.pi - angle), *HEART)
    edge = np.where(heart, side ** random.uniform(0.6, 1.6, each), edge)
    turn = np.where(heart, random.normal(0, 0.15, each), random.uniform(0, 2 * np.pi, each))
    lines = np.stack([np.sin(angle + turn), -np.cos(angle + turn)], axis=-1) * edge[..., None]
    lines *= random.uniform(0.75, 1.25, both)
    return lines + random.normal(0, 0.02, lines.shape)


def _shapes(count: int, random: np.random.Generator) -> Bytes:
    """Return filled shapes in any orientation: polygons, and blobs with a wavy edge.

    The edge is given by its distance from the centre in every direction. No shape is narrower than
    half its length: it could be a 1.
    """

    def each(draw: Callable[..., Doubles], *arguments: float) -> Floats:
        return draw(*arguments, (count, 1, 1)).astype(np.float32)

    places = np.arange(SIDE, dtype=np.float32) + 0.5 - SIDE / 2
    turn = each(random.uniform, 0, 2 * np.pi)
    stretch = each(random.uniform, 0.7, 1.4)
    across = (places * np.cos(turn) + places[:, None] * np.sin(turn)) * stretch
    down = (places[:, None] * np.cos(turn) - places * np.sin(turn)) / stretch
    angle, distance = np.arctan2(down, across), np.hypot(across, down)
    size = each(random.uniform, 2.5, 9.0)
    wave = np.ones_like(angle)
    for frequency in (2, 3, 4, 5):
        height = each(random.normal, 0, 0.25) / np.sqrt(np.float32(frequency))
        wave += height * np.cos(frequency * angle + each(random.uniform, 0, 2 * np.pi))
    corners = random.integers(3, 7, (count, 1, 1))
    half = np.pi / corners
    polygon = np.cos(half) / np.cos(angle % (2 * half) - half)
    edge = size * np.where(random.random((count, 1, 1)) < 0.5, polygon, wave)
    return _framed((edge - distance + 0.5).clip(0, 1))


def _dots(count: int, random: np.random.Generator) -> Bytes:
    """Return one to six round dots, like taps of the pen."""
    places = np.arange(SIDE, dtype=np.float32) + 0.5
    number = random.integers(1, 7, count)
    radius = random.uniform(1, 3, (count, 1, 1)).astype(np.float32)
    ink = np.zeros((count, SIDE, SIDE), np.float32)
    for dot in range(6):
        x, y = random.uniform(4, SIDE - 4, (2, count, 1, 1)).astype(np.float32)
        distance = np.hypot(places - x, places[:, None] - y)
        ink = np.where(
            (dot < number)[:, None, None],
            np.maximum(ink, (radius - distance + 0.5).clip(0, 1)),
            ink,
        )
    # Not framed: a tap of the pen is not enlarged to fill the frame either.
    return np.rint(ink * 255).astype(np.uint8)


def _pairs(digits: DigitSet, count: int, random: np.random.Generator) -> Bytes:
    """Return two digits side by side, touching or slightly apart, slightly off one line."""
    left, right = (
        digits.images[torch.from_numpy(random.integers(len(digits), size=count))].numpy()
        for _ in range(2)
    )
    columns = np.arange(2 * SIDE)
    end = SIDE - random.integers(-2, 4, count)
    start = SIDE + random.integers(-2, 4, count)
    ink = np.maximum(
        _moved(left, columns - (end - _last_column(left))[:, None]),
        _moved(right, columns - (start - _first_column(right))[:, None]),
    )
    slope = random.integers(-3, 4, count)
    rows = np.arange(SIDE)[None, :, None] + np.where(columns < SIDE, 0, slope[:, None])[:, None]
    ink = np.take_along_axis(ink, rows.clip(0, SIDE - 1), axis=1)
    return _framed(ink / 255)


def _moved(images: Bytes, columns: npt.NDArray[np.int64]) -> Bytes:
    """Return columns [N, C] of images [N, 28, 28], with paper outside: [N, 28, C]."""
    taken = np.take_along_axis(images, columns.clip(0, SIDE - 1)[:, None], axis=2)
    return taken * ((columns >= 0) & (columns < SIDE))[:, None]


def _first_column(images: Bytes) -> npt.NDArray[np.int64]:
    columns: npt.NDArray[np.int64] = (images > 32).any(1).argmax(1)
    return columns


def _last_column(images: Bytes) -> npt.NDArray[np.int64]:
    return SIDE - 1 - _first_column(images[:, :, ::-1])


# Turns, each with the digits that it makes non-digits. A mirrored 2 is a 5 and a 6 upside down
# a 9, but a 2 on its side is not a digit.
_TURNS: Sequence[tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = (
    (lambda images: images.rot90(1, (1, 2)), (2, 3, 4, 5, 6, 7, 9)),
    (lambda images: images.rot90(-1, (1, 2)), (2, 3, 4, 5, 6, 7, 9)),
    (lambda images: images.flip(2), (3, 4, 6, 7, 9)),
    (lambda images: images.rot90(2, (1, 2)), (3, 4, 7)),
)


def _turned(digits: DigitSet, count: int, random: np.random.Generator) -> Bytes:
    """Return digits turned or mirrored into non-digits; empty if the set has none that work."""
    drawn = [np.zeros((0, SIDE, SIDE), np.uint8)]
    for part, (turn, usable) in zip(_parts(count, len(_TURNS)), _TURNS, strict=True):
        places = np.flatnonzero(np.isin(digits.labels.numpy(), usable))
        if len(places):
            chosen = torch.from_numpy(random.choice(places, part))
            drawn.append(_framed(turn(digits.images[chosen]).numpy() / 255))
    return np.concatenate(drawn)


def _parts(count: int, parts: int) -> list[int]:
    """Divide ``count`` into nearly equal parts."""
    return [count * (part + 1) // parts - count * part // parts for part in range(parts)]


def _framed(ink: npt.NDArray[Any]) -> Bytes:
    """Bring ink [N, H, W], 0 to 1, to MNIST framing: uint8 [N, 28, 28]; blanks stay blank."""
    framed = np.zeros((len(ink), SIDE, SIDE), np.uint8)
    inked = np.flatnonzero(ink.any((1, 2)))
    framed[inked] = frame_ink(ink[inked].astype(np.float32)).numpy()
    return framed


# Kinds and their relative frequency. Thick or blurred digits come close to shapes and dots, so the
# border between them needs many of these.
KINDS: Mapping[str, tuple[float, Callable[[DigitSet, int, np.random.Generator], Bytes]]] = {
    "capitals": (0.40, lambda _, count, random: _written(CAPITALS, count, random)),
    "printed capitals": (0.20, lambda _, count, random: _written(PRINTED_CAPITALS, count, random)),
    "small letters": (0.03, lambda _, count, random: _written(SMALL_LETTERS, count, random)),
    "signs": (0.13, lambda _, count, random: _written(SIGNS, count, random)),
    "scribbles": (0.12, lambda _, count, random: _drawn(SCRIBBLES, _planless, count, random)),
    "tangles": (0.20, lambda _, count, random: _drawn(TANGLES, _tangled, count, random)),
    "curls": (0.16, lambda _, count, random: _drawn(CURLS, _curled, count, random)),
    "scratches": (0.04, lambda _, count, random: _drawn(SCRATCHES, _scratched, count, random)),
    "outlines": (0.40, lambda _, count, random: _drawn(OUTLINES, _outlined, count, random)),
    "shapes": (0.50, lambda _, count, random: _shapes(count, random)),
    "dots": (0.15, lambda _, count, random: _dots(count, random)),
    "pairs": (0.10, _pairs),
    "turned": (0.10, _turned),
}
