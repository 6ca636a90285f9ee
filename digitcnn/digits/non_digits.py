"""Drawings that are no digits: letters, signs, scribbles, shapes, two digits at once.

What "this is no digit" learns from, beside the digits. Everything is drawn by the program or made
of the training digits, and nothing is read from a file. Letters are written with the pens and
hands of ``synthetic``; B D I O S Z, and small letters that double as digits, are left out, since
no network could tell them from digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from digitcnn.digits.digit_set import SIDE, DigitSet
from digitcnn.digits.sketch import frame_ink
from digitcnn.digits.synthetic import POPULATIONS, Population, Spread, scrawl, write

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Strokes as in ``synthetic.Form``: percent of the height, ``!`` a corner, ``/`` lifts the pen.
CAPITALS: Mapping[str, Sequence[str]] = {
    "A": (
        "50,2! 30,50 10,100 / 50,2! 70,50 90,100 / 24,64 50,63 78,64",
        "12,100 34,46 50,2! 68,48 88,100 / 26,60 74,62",
        "10,98 16,50 34,10 54,2 76,14 84,50 90,98 / 14,58 50,56 86,58",
        "8,100 48,0! 90,100 / 20,70 82,66",
    ),
    "C": (
        "84,22 60,4 30,10 10,44 22,82 52,98 86,84",
        "78,10 46,4 16,28 12,64 36,94 80,92",
        "86,30 66,6 34,6 12,40 18,78 46,98 70,92 88,72",
        "70,4 40,20 30,50 42,82 72,96",
    ),
    "E": (
        "84,4 50,4 18,4! 18,50 18,96! 50,96 86,96 / 18,50 46,50 72,50",
        "20,2 18,50 20,98! 84,98 / 20,4 84,4 / 20,48 70,48",
        "80,12 48,2 22,18 30,42 54,48! 20,58 14,84 44,98 84,90",
        "16,2 16,98 / 16,4 80,2 / 16,50 70,48 / 16,96 84,98",
    ),
    "F": (
        "84,4 50,4 18,4! 18,50 18,100 / 18,50 46,50 72,50",
        "22,2 20,50 22,100 / 22,4 50,6 88,2 / 22,48 74,46",
        "18,4 86,4 / 34,4 32,54 22,100 / 30,46 74,46",
    ),
    "G": (
        "84,20 58,2 24,14 10,50 24,88 56,98 84,84 86,58! 56,58",
        "80,12 44,4 14,32 14,70 42,98 76,86 80,60! 50,60 / 80,60 82,100",
        "82,24 56,4 22,16 10,52 28,92 62,94 80,72 82,56! 48,56 96,56",
    ),
    "H": (
        "16,2 16,50 16,100 / 84,2 84,50 84,100 / 16,50 50,50 84,50",
        "20,0 16,50 14,98 / 80,2 82,50 86,100 / 14,54 84,46",
        "24,4 20,98 / 78,0 74,98 / 20,44 78,52",
    ),
    "J": (
        "30,4 60,4 90,4 / 66,4 66,50 62,86 40,98 16,86 10,66",
        "70,2 70,50 64,88 40,98 14,86 8,64",
        "40,4 92,4 / 68,4 68,60 56,92 30,98 10,80",
    ),
    "K": (
        "18,2 18,50 18,100 / 82,4 50,32 20,56! 52,76 86,100",
        "20,0 18,98 / 80,2 22,54 / 36,44 84,98",
        "24,2 20,100 / 86,8 24,58! 80,98",
    ),
    "L": (
        "20,2 18,50 18,96! 50,96 84,96",
        "26,0 20,50 16,94 50,98 86,92",
        "24,2 24,98! 72,98",
        "30,2 22,60 14,90 24,98 56,94 90,98",
        "22,0 20,96! 60,94 82,90 82,98",
    ),
    "M": (
        "10,100 12,50 16,2! 50,66 84,2! 88,50 90,100",
        "10,98 24,4! 50,60! 76,4! 92,98",
        "8,100 10,30 22,6 40,14 48,60! 54,20 70,4 88,20 92,100",
        "12,100 12,2! 50,50! 88,2! 88,100",
    ),
    "N": (
        "16,100 16,50 16,2! 50,50 84,98! 84,50 84,0",
        "14,98 18,4! 82,96! 86,2",
        "16,100 18,6! 40,50 78,98! 80,50 86,0",
        "18,2 18,98 / 18,2 82,98 / 82,0 82,98",
    ),
    "P": (
        "20,2 20,50 18,100 / 20,6 50,2 82,16 76,44 46,54 20,54",
        "22,100 24,50 24,6 54,0 84,18 72,46 24,52",
        "26,4 22,100 / 16,12 46,0 82,10 84,38 54,54 24,52",
    ),
    "Q": (
        "50,2 20,16 8,52 24,88 54,96 82,78 90,44 76,12 46,2 / 58,66 78,84 98,102",
        "70,10 40,4 12,34 16,78 50,94 84,72 84,28 64,6 / 54,62 92,104",
        "46,2 14,24 12,66 40,92 76,80 88,40 66,8 42,4 / 40,76 60,74 80,90 100,96",
        "52,2 18,16 6,52 22,88 54,98 84,82 92,46 76,12 48,2 / 64,70 84,112",
    ),
    "R": (
        "20,100 20,50 20,4! 54,0 82,18 68,44 22,52! 54,74 86,100",
        "22,2 20,100 / 22,6 56,2 80,20 62,46 22,50 / 44,50 84,98",
        "18,98 22,8 50,2 78,12 74,40 28,52! 60,70 88,98",
    ),
    "T": (
        "8,6 50,6 92,6 / 50,6 50,50 50,100",
        "12,10 50,4 92,4 / 54,6 50,50 46,98",
        "10,4 90,8 / 48,6 50,100",
        "16,16 20,5! 50,6 84,4! 86,14 / 50,6 50,98",
    ),
    "U": (
        "14,2 14,50 22,88 50,98 78,88 86,50 86,2",
        "18,2 16,60 34,96 66,94 82,60 84,2! 84,100",
        "12,0 18,60 40,98 72,84 86,40 90,2",
        "20,2 18,74 34,98 62,96 78,74 80,2",
    ),
    "V": (
        "12,2 32,50 50,98! 68,50 88,2",
        "8,4 46,98! 92,0",
        "10,2 30,56 44,96 58,92 74,50 92,2",
        "16,0 50,100! 82,4",
    ),
    "W": (
        "4,2 16,50 28,98! 50,30! 72,98! 84,50 96,2",
        "2,6 26,96! 48,44! 74,98! 98,2",
        "4,4 12,60 26,96 42,80 50,30! 58,80 74,96 90,60 96,2",
        "6,2 20,80 32,96 46,70 50,20 54,70 68,96 82,76 94,2",
    ),
    "X": (
        "14,2 50,50 86,100 / 86,2 50,50 14,100",
        "10,6 90,94 / 84,0 16,100",
        "12,8 30,4 46,40 62,90 90,94 / 88,4 14,98",
    ),
    "Y": (
        "14,2 32,28 50,52! 50,76 50,100 / 86,2 68,28 50,52",
        "10,4 46,48 / 90,0 50,46 30,100",
        "14,2 48,54 / 84,2 48,54! 46,100",
        "12,2 20,34 44,46 66,34 78,2! 66,52 52,100",
        "16,0 50,44! 86,4 / 50,44 50,98",
        "10,4 30,44 52,56! 84,0 / 52,56 52,100",
    ),
}

SMALL_LETTERS: Mapping[str, Sequence[str]] = {
    "a": (
        "76,40 44,28 16,52 22,88 52,92 74,64 78,36! 78,70 92,98",
        "70,14 40,4 20,40 28,90 60,88 76,30 78,8! 76,80 96,98",
    ),
    "e": (
        "14,56 50,54 84,44 72,12 38,8 12,48 26,90 60,98 90,82",
        "10,60 60,54 80,30 56,4 24,20 14,60 40,98 84,84",
    ),
    "f": ("78,12 58,2 44,24 42,60 42,100 / 16,44 46,44 76,42",),
    "h": ("22,2 22,50 22,100 / 22,66 46,46 70,54 76,78 76,100",),
    "k": ("26,2 24,100 / 70,38 26,68! 74,100",),
    "m": ("6,8 8,98 / 8,36 28,8 44,30 46,98 / 46,36 68,8 86,30 90,98",),
    "n": (
        "18,6 18,98 / 18,40 48,8 78,26 84,98",
        "14,10 20,98! 26,40 54,10 78,30 80,80 96,96",
    ),
    "r": ("26,6 26,98 / 26,44 50,12 82,12",),
    "t": (
        "48,2 46,50 50,90 78,96 / 18,34 80,32",
        "50,2 50,98 / 22,30 78,30",
    ),
    "u": ("14,6 16,70 40,96 74,74 80,6! 82,70 96,98",),
}

SIGNS: Mapping[str, Sequence[str]] = {
    "heart": (
        "50,98 10,50 6,22 26,2 46,14 50,30! 56,12 76,2 94,22 88,52 50,98",
        "50,96 16,60 4,28 22,6 44,14 50,34! 58,14 78,4 96,24 84,60 50,98!",
    ),
    "star": (
        "50,0! 80,98! 2,38! 98,38! 20,98! 50,0",
        "50,2! 62,38! 98,38! 70,60! 80,98! 50,74! 20,98! 30,60! 2,38! 38,38! 50,2",
    ),
    "triangle": (
        "50,4! 94,94! 6,94! 50,4",
        "6,8! 94,8! 50,94! 6,8",
    ),
    "box": (
        "8,8! 92,8! 92,92! 8,92! 8,8",
        "4,24! 96,24! 96,80! 4,80! 4,24",
        "8,8! 92,8! 92,92! 8,92! 8,8 / 8,8 92,92 / 92,8 8,92",
    ),
    "diamond": ("50,0! 92,50! 50,100! 8,50! 50,0",),
    "plus": (
        "50,4 50,96 / 4,50 96,50",
        "48,10 52,90 / 14,52 86,48",
    ),
    "hash": ("34,4 28,96 / 72,4 66,96 / 6,34 96,34 / 4,66 94,66",),
    "star6": ("50,2 50,98 / 8,26 92,74 / 92,26 8,74",),
    "equals": (
        "8,34 92,34 / 8,66 92,66",
        "8,20 92,22 / 8,50 92,50 / 8,80 92,78",
    ),
    "bars": (
        "20,2 20,98 / 50,2 50,98 / 80,2 80,98",
        "30,2 30,98 / 70,2 70,98",
    ),
    "dash": (
        "4,50 50,52 96,48",
        "2,54 30,40 60,60 98,44",
    ),
    "question": ("18,26 34,4 68,6 80,28 56,50 50,72 / 50,92 51,96",),
    "exclamation": ("50,2 50,70 / 50,92 50,96",),
    "arrow": (
        "4,50 96,50 / 66,20 96,50! 66,80",
        "50,98 50,2 / 20,34 50,2! 80,34",
        "8,92 92,8 / 50,8 92,8! 92,50",
    ),
    "tick": (
        "6,56 34,94! 94,6",
        "14,50 40,80! 86,10",
    ),
    "wave": (
        "2,50 16,20 34,50 50,80 66,50 84,20 98,50",
        "2,60 14,30 28,60 40,80 52,50 64,24 78,54 98,70",
    ),
    "zigzag": (
        "2,20! 22,80! 42,20! 62,80! 82,20! 98,80",
        "10,2! 90,26! 10,50! 90,74! 10,98",
        "4,10! 30,90! 50,10! 70,90! 96,10",
    ),
    "spiral": (
        "52,52 60,42 48,34 34,50 46,70 72,62 74,30 48,14 16,34 20,78 56,94 92,74 94,30",
        "50,50 42,60 56,66 68,48 52,30 28,44 32,76 62,84 88,54 70,14 30,12 6,44 16,88",
    ),
    "smiley": (
        "50,2 14,18 4,54 22,90 56,98 88,80 96,42 78,12 46,2 / 34,34 34,42 / 66,34 66,42 / "
        "28,62 50,78 72,60",
    ),
    "ringed": (
        "50,2 14,18 4,54 22,90 56,98 88,80 96,42 78,12 46,2 / 48,48 52,52",
        "50,2 14,18 4,54 22,90 56,98 88,80 96,42 78,12 46,2 / 50,6 50,94",
        "50,2 14,18 4,54 22,90 56,98 88,80 96,42 78,12 46,2 / 6,50 94,50 / 50,6 50,94",
    ),
    "infinity": (
        "50,50 26,22 4,50 26,78 50,50 74,22 96,50 74,78 48,48",
        "52,50 30,30 6,46 20,74 48,56 78,30 96,54 78,72 50,48",
    ),
    "and": ("90,98 40,40 30,18 48,4 62,20 30,56 18,80 44,98 84,58",),
    "at": ("66,40 46,34 36,54 50,68 64,54 68,36! 70,64 90,60 92,30 60,4 20,20 6,60 30,94 76,94",),
    "percent": ("88,4 12,96 / 24,8 10,22 24,36 38,22 24,8 / 76,64 62,78 76,92 90,78 76,64",),
    "house": ("10,100! 10,46! 50,4! 90,46! 90,100! 10,100 / 8,46 92,46",),
    "pi": ("6,16 94,12 / 32,14 26,96 / 68,14 70,84 88,96",),
    "omega": ("4,96 32,96! 12,60 18,20 50,4 82,20 88,60 68,96! 96,96",),
    "lambda": ("20,2 50,40 86,98 / 46,36 10,98",),
    "delta": ("14,50 50,4 88,52 / 10,54 92,54 / 50,8 50,98",),
    "fish": ("96,20 60,76 28,80 4,50 28,20 60,24 96,80! 90,50 96,20",),
    "flash": ("64,2! 24,54! 56,50! 34,100",),
    "angles": (
        "70,4! 20,50! 70,96",
        "30,4! 80,50! 30,96",
        "40,4! 4,50! 40,96 / 60,4! 96,50! 60,96",
    ),
    "bracket": (
        "66,2! 34,2! 34,98! 66,98",
        "34,2! 66,2! 66,98! 34,98",
        "60,2 44,20 44,40 30,50! 44,60 44,80 60,98",
    ),
    "hook": (
        "20,30 20,10 50,2 80,20 80,98",
        "10,4 10,60 90,60 / 90,4 90,98! 90,60",
        "20,2 20,98 / 20,50 80,50",
    ),
}

# Hands that slant, squeeze and press in any way. Their digits bend less than those of
# ``synthetic``: a letter that bends as far becomes another one.
HANDS: Population = replace(
    POPULATIONS["synthetic"],
    slant=Spread(3, 12, -25, 35),
    width=Spread(0.95, 0.22, 0.5, 1.7),
    pen=Spread(1.35, 0.45, 0.6, 2.7),
    habit=0.03,
    wobble=0.022,
    looseness=1.8,
    blur=1.2,
)


# Bounds the work area: 25 MB.
DRAWN_AT_ONCE = 1_000


def draw(digits: DigitSet, count: int, random: np.random.Generator) -> torch.Tensor:
    """Non-digits in MNIST framing, of every kind, one kind after the other: uint8 [count, 28, 28].

    digits: what pairs and turned digits are made of.
    """
    shares = np.array([share for share, _ in KINDS.values()])
    counts = np.diff(np.rint(np.cumsum(shares) / shares.sum() * count), prepend=0).astype(int)
    drawn = [
        make(digits, part, random)
        for each, (_, make) in zip(counts, KINDS.values(), strict=True)
        for part in _parts(int(each), math.ceil(each / DRAWN_AT_ONCE))
    ]
    return torch.from_numpy(np.concatenate(drawn))


def _with_feet(way: str) -> str:
    """A form with a short bar across both ends of its strokes, as letters in print have."""
    bars = []
    for stroke in way.split("/"):
        points = stroke.split()
        for point in (points[0], points[-1]):
            x, y = (float(number) for number in point.rstrip("!").split(","))
            bars.append(f"{x - 11:g},{y:g} {x + 11:g},{y:g}")
    return " / ".join([way, *bars])


# Those whose strokes end where print sets a bar.
PRINTED_CAPITALS: Mapping[str, Sequence[str]] = {
    letter: [_with_feet(way) for way in CAPITALS[letter]] for letter in "AFHJKLMNPRTUVWXY"
}


def _written(forms: Mapping[str, Sequence[str]], count: int, random: np.random.Generator) -> Bytes:
    """Each letter or sign as often as the others, each time in one of its forms."""
    ways = [(way, 1 / len(several)) for several in forms.values() for way in several]
    weights = np.array([weight for _, weight in ways])
    counts = random.multinomial(count, weights / weights.sum())
    return np.concatenate(
        [
            write(way, HANDS, each, random)
            for (way, _), each in zip(ways, counts, strict=True)
            if each
        ]
    )


def _scribbles(count: int, random: np.random.Generator) -> Bytes:
    """Long lines without a plan: points anywhere, wandering, or turning as they go."""
    drawn = []
    for part, points in zip(_parts(count, 5), (6, 9, 13, 18, 30), strict=True):
        lines = _planless((part, points), random)
        drawn.append(scrawl(lines.astype(np.float32), 1, HANDS, random))
    return np.concatenate(drawn)


def _planless(shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Lines as ``_scribbles`` says: points [*shape, 2]; the last of shape is a line's points."""
    lines = (*shape[:-1], 1)
    anywhere = random.random((*shape, 2))
    wandering = random.normal(0, 1, (*shape, 2)).cumsum(-2)
    bend = random.normal(0, 0.5, lines) + random.normal(0, 0.8, shape)
    angle = bend.cumsum(-1) + random.uniform(0, 2 * np.pi, lines)
    turning = np.stack([np.cos(angle), np.sin(angle)], axis=-1).cumsum(-2)
    return np.choose(random.integers(3, size=(*lines, 1)), [anywhere, wandering, turning])


def _tangles(count: int, random: np.random.Generator) -> Bytes:
    """Two or three such lines over each other."""
    drawn = []
    kinds = ((2, 5), (2, 8), (2, 14), (3, 5), (3, 8), (3, 14))
    for part, (strokes, points) in zip(_parts(count, len(kinds)), kinds, strict=True):
        lines = _planless((part, strokes, points), random)
        lines -= lines.mean(2, keepdims=True)
        lines *= random.uniform(0.5, 1, (part, strokes, 1, 1)) / abs(lines).max(
            (2, 3), keepdims=True
        )
        lines += random.normal(0, 0.4, (part, strokes, 1, 2))
        joined = lines.reshape(part, strokes * points, 2).astype(np.float32)
        drawn.append(scrawl(joined, strokes, HANDS, random))
    return np.concatenate(drawn)


def _curls(count: int, random: np.random.Generator) -> Bytes:
    """Loops, coils and ribbons: one to three lines, each the sum of a few random waves."""
    drawn = []
    kinds = ((1, 20), (1, 32), (2, 16), (2, 24), (3, 16))
    for part, (strokes, points) in zip(_parts(count, len(kinds)), kinds, strict=True):
        along = np.linspace(0, 1, points)[:, None]
        each = (part, strokes, 1, 2)
        lines = random.uniform(-1, 1, each) * random.uniform(0, 3, (part, 1, 1, 1)) * along
        for frequency in (1, 2, 3, 4, 5):
            phase = random.uniform(0, 2 * np.pi, each)
            height = random.normal(0, 1, each) / frequency ** random.uniform(
                0.2, 1.2, (part, 1, 1, 1)
            )
            lines = lines + height * np.sin(np.pi * frequency * along + phase)
        lines += random.normal(0, 0.8, each)
        joined = lines.reshape(part, strokes * points, 2).astype(np.float32)
        drawn.append(scrawl(joined, strokes, HANDS, random))
    return np.concatenate(drawn)


def _scratches(count: int, random: np.random.Generator) -> Bytes:
    """Three to six short strokes in no order: two could be a 1 or a 7."""
    drawn = []
    for part, strokes in zip(_parts(count, 3), (3, 4, 6), strict=True):
        start = random.random((part, strokes, 1, 2))
        stop = start + random.normal(0, 0.5, start.shape)
        lines = np.concatenate([start, stop], axis=2).reshape(part, 2 * strokes, 2)
        drawn.append(scrawl(lines.astype(np.float32), strokes, HANDS, random))
    return np.concatenate(drawn)


def _shapes(count: int, random: np.random.Generator) -> Bytes:
    """Filled shapes in any orientation: polygons, and blobs with a wavy edge.

    The edge is given as its distance from the middle in every direction. A tall narrow one could
    be a 1, so none is narrower than half its length.
    """

    def each(draw: Callable[..., npt.NDArray[np.float64]], *arguments: float) -> Floats:
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
    """One to six round dots, as taps of the pen leave them."""
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
    # Not framed: a tap of the pen is not blown up to fill the frame either.
    return np.rint(ink * 255).astype(np.uint8)


def _pairs(digits: DigitSet, count: int, random: np.random.Generator) -> Bytes:
    """Two digits side by side, touching or a little apart, not quite on one line."""
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
    """The columns [N, C] of images [N, 28, 28]; paper where there is none: [N, 28, C]."""
    taken = np.take_along_axis(images, columns.clip(0, SIDE - 1)[:, None], axis=2)
    return taken * ((columns >= 0) & (columns < SIDE))[:, None]


def _first_column(images: Bytes) -> npt.NDArray[np.int64]:
    return (images > 32).any(1).argmax(1)


def _last_column(images: Bytes) -> npt.NDArray[np.int64]:
    return SIDE - 1 - _first_column(images[:, :, ::-1])


# Digits that are none once they lie on a side, stand on their head or in a mirror. A mirrored 2
# is a 5, a 2 on its side can be an N but no digit, a 6 on its head is a 9.
_TURNS: Sequence[tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = (
    (lambda images: images.rot90(1, (1, 2)), (2, 3, 4, 5, 6, 7, 9)),
    (lambda images: images.rot90(-1, (1, 2)), (2, 3, 4, 5, 6, 7, 9)),
    (lambda images: images.flip(2), (3, 4, 6, 7, 9)),
    (lambda images: images.rot90(2, (1, 2)), (3, 4, 7)),
)


def _turned(digits: DigitSet, count: int, random: np.random.Generator) -> Bytes:
    """Digits turned or mirrored so that they are digits no more; none where there are no such."""
    drawn = [np.zeros((0, SIDE, SIDE), np.uint8)]
    for part, (turn, usable) in zip(_parts(count, len(_TURNS)), _TURNS, strict=True):
        places = np.flatnonzero(np.isin(digits.labels.numpy(), usable))
        if len(places):
            chosen = torch.from_numpy(random.choice(places, part))
            drawn.append(_framed(turn(digits.images[chosen]).numpy() / 255))
    return np.concatenate(drawn)


def _parts(count: int, parts: int) -> list[int]:
    """``count`` divided into nearly equal parts."""
    return [count * (part + 1) // parts - count * part // parts for part in range(parts)]


def _framed(ink: npt.NDArray[Any]) -> Bytes:
    """Ink [N, H, W], 0 to 1, in MNIST framing: uint8 [N, 28, 28]; blanks stay blank."""
    framed = np.zeros((len(ink), SIDE, SIDE), np.uint8)
    inked = np.flatnonzero(ink.any((1, 2)))
    framed[inked] = frame_ink(ink[inked].astype(np.float32)).numpy()
    return framed


# Kinds and how many of each, relative to one another. Shapes and dots are what thick or blurred
# digits come close to, so that the border between them needs many.
KINDS: Mapping[str, tuple[float, Callable[[DigitSet, int, np.random.Generator], Bytes]]] = {
    "capitals": (0.40, lambda _, count, random: _written(CAPITALS, count, random)),
    "printed capitals": (0.20, lambda _, count, random: _written(PRINTED_CAPITALS, count, random)),
    "small letters": (0.03, lambda _, count, random: _written(SMALL_LETTERS, count, random)),
    "signs": (0.13, lambda _, count, random: _written(SIGNS, count, random)),
    "scribbles": (0.12, lambda _, count, random: _scribbles(count, random)),
    "tangles": (0.20, lambda _, count, random: _tangles(count, random)),
    "curls": (0.16, lambda _, count, random: _curls(count, random)),
    "scratches": (0.04, lambda _, count, random: _scratches(count, random)),
    "shapes": (0.50, lambda _, count, random: _shapes(count, random)),
    "dots": (0.15, lambda _, count, random: _dots(count, random)),
    "pairs": (0.10, _pairs),
    "turned": (0.10, _turned),
}
