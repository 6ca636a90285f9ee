"""Invent characters: a few strokes, each of lines, arcs, loops and hooks.

The idea is that of Omniglot's generative model (Lake, Salakhutdinov and Tenenbaum 2015), with a few
primitives of our own; no character of any alphabet is copied.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

STROKES = (1, 2, 3, 4, 5)
STROKE_SHARES = (0.18, 0.34, 0.27, 0.14, 0.07)


def character(random: np.random.Generator) -> list[Doubles]:
    """Return the strokes of an invented character: points [K, 2], (x, y), about 100 high."""
    strokes: list[Doubles] = []
    count = int(random.choice(STROKES, p=STROKE_SHARES))
    size = random.uniform(0.6, 1.1) / math.sqrt(max(1, count - 1))
    if random.random() < 0.15 and count > 1:
        return _repeated(count, random)
    for _ in range(count):
        stroke = _stroke(size, 1 if count > 2 else int(random.integers(1, 4)), random)
        strokes.append(stroke + _place(stroke, strokes, random))
    return strokes


def _repeated(count: int, random: np.random.Generator) -> list[Doubles]:
    """Return the same stroke several times, side by side or one below the other."""
    stroke = _stroke(random.uniform(0.4, 1), int(random.integers(1, 3)), random)
    step = np.array([random.uniform(18, 45), random.normal(0, 6)])
    if random.random() < 0.5:
        step = step[::-1]
    return [stroke + place * step for place in range(count)]


def _place(stroke: Doubles, others: list[Doubles], random: np.random.Generator) -> Doubles:
    """Return how far to move a stroke: to a random place, or until it touches another one."""
    kind = random.random()
    if not others or kind < 0.25:
        somewhere: Doubles = random.uniform(0, 80, 2) - stroke.mean(0)
        return somewhere
    other = others[int(random.integers(len(others)))]
    at = other[(0, len(other) - 1, int(random.integers(len(other))))[random.integers(3)]]
    if kind < 0.65:
        own = stroke[int(random.choice([0, len(stroke) - 1]))]
    else:  # crossing
        own = stroke[int(random.integers(len(stroke)))]
    moved: Doubles = at - own + random.normal(0, 2, 2)
    return moved


def _stroke(size: float, parts: int, random: np.random.Generator) -> Doubles:
    """Return a chain of primitives: points [K, 2]."""
    direction = math.pi / 4 * float(random.integers(8)) + random.normal(0, 0.15)
    points = [np.zeros((1, 2))]
    for _ in range(parts):
        line, direction = _primitive(direction, size, random)
        points.append(points[-1][-1] + line[1:])
        turn = float(random.choice([0, 0, 0.5, -0.5, 1, -1, 0.75]))
        direction += turn * math.pi + random.normal(0, 0.2)
    return np.concatenate(points)


def _primitive(direction: float, size: float, random: np.random.Generator) -> tuple[Doubles, float]:
    """Return a primitive's points [12, 2], starting at the origin, and its final direction."""
    kind = int(random.choice(6, p=(0.38, 0.3, 0.08, 0.08, 0.08, 0.08)))
    length = size * random.uniform(35, 100)
    along = np.linspace(0, 1, 12)
    if kind == 0:
        turns = np.zeros(11)
    elif kind == 1:  # an arc
        turns = np.full(11, random.choice([-1, 1]) * random.uniform(0.5, 1.5) * math.pi / 11)
        length *= 1.3
    elif kind == 2:  # a loop
        turns = np.full(11, random.choice([-1, 1]) * random.uniform(1.7, 2.4) * math.pi / 11)
        length *= 1.6
    elif kind == 3:  # a hook at the end
        turns = np.where(along[1:] > 0.65, random.choice([-1, 1]) * random.uniform(0.5, 1.2), 0)
    elif kind == 4:  # an S
        turns = np.sin(2 * math.pi * along[1:]) * random.choice([-1, 1]) * random.uniform(0.4, 0.9)
        length *= 1.3
    else:  # a zigzag
        turns = np.zeros(11)
        turns[3::3] = random.uniform(1.6, 2.6)
        turns[6::6] *= -1
        length *= 1.5
    angles = direction + np.cumsum(turns)
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * (length / 11)
    points: Doubles = np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
    return points, float(angles[-1])
