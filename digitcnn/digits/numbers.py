"""Split a picture or a drawing into the digits of a number, in one row from left to right.

Pieces that clearly belong together are joined first: strokes above each other, and small pieces
with the nearest stroke. A classifier then scores every group of neighbouring pieces as one digit,
and the grouping with the lowest total cost wins (over-segmentation with recognition: Fujisawa,
Nakano and Kurino 1992; LeCun et al. 1998, section VII). Digits that touch are not separated.

Boxes are float64 [N, 4]: left, top, right, bottom, in pixels or in sides of the pad.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from digitcnn.digits.framing import Doubles
from digitcnn.digits.ink import Ink
from digitcnn.digits.sketch import framed, from_strokes
from digitcnn.errors import SketchError

MOST_DIGITS = 12
# The most groups of pieces that may form one digit.
MOST_JOINED = 4
# Two pieces are above each other if they overlap by at least ABOVE of the narrower one's width. As
# shares of the tallest piece's height: a SMALL piece is part of another one, and two pieces with a
# gap above WIDEST_GAP are not one digit.
ABOVE, SMALL, WIDEST_GAP = 0.6, 0.33, 0.35
# Costs in nats: of each further digit; how much less, per height of the gap before it; of a digit
# that is wider than high; of starting a digit beside one of another height.
SPLIT_COST, GAP_GAIN, WIDE_COST, UNEVEN_GAIN = 2.0, 12.0, 4.0, 1.5
# Two neighbours of one row overlap in height by at least this share of the smaller one.
ROW_OVERLAP = 0.25

# Left, top, width and height.
Box = tuple[float, float, float, float]
# Returns how unlike a digit each image is, in nats: uint8 [N, 28, 28] -> float64 [N].
Costs = Callable[[Tensor], Doubles]


class NotOneRowError(SketchError):
    """The digits are in several rows, overlap, or are too many."""


@dataclass(frozen=True)
class Pieces:
    """The strokes of a drawing, or the connected pieces of a picture's ink.

    boxes: float64 [N, 4], as in the module's docstring. frame: draws the pieces with the given
    indices as one digit, uint8 [28, 28].
    """

    boxes: Doubles
    frame: Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True)
class Part:
    """One digit of a number.

    image: uint8 [28, 28]. box: around its ink, in the units of the pieces; None if unknown.
    """

    image: Tensor
    box: Box | None


def pieces_of_ink(ink: Ink) -> Pieces:
    """Return the connected pieces of a picture's ink, with boxes in the picture's pixels."""
    from scipy import ndimage

    slices = ndimage.find_objects(ink.pieces)
    numbers = [number for number, place in enumerate(slices, 1) if place is not None]
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in filter(None, slices)]

    def frame(chosen: Sequence[int]) -> Tensor:
        inked = np.isin(ink.pieces, [numbers[index] for index in chosen])
        return framed(ink.shares * inked)

    return Pieces(np.array(corners, dtype=np.float64).reshape(-1, 4) * (ink.step * 2), frame)


def pieces_of_strokes(strokes: Sequence[Sequence[Sequence[float]]], width: float) -> Pieces:
    """Return each stroke of a drawing as a piece, with boxes in sides of the pad.

    strokes, width: as ``from_strokes`` takes them. Raises SketchError for unusable strokes.
    """
    whole = from_strokes(strokes, width)
    ends = [(np.min(stroke, axis=0), np.max(stroke, axis=0)) for stroke in strokes]
    boxes = [np.concatenate([low - width / 2, high + width / 2]) for low, high in ends]

    def frame(chosen: Sequence[int]) -> Tensor:
        one_digit = len(chosen) == len(strokes)
        image = whole if one_digit else from_strokes([strokes[i] for i in chosen], width)
        assert image is not None  # no stroke is empty
        return image

    return Pieces(np.array(boxes, dtype=np.float64).reshape(-1, 4), frame)


def split(pieces: Pieces, costs_of: Costs) -> list[Part]:
    """Return the digits of a number from left to right; a single digit gives one part.

    Raises NotOneRowError for several rows, overlapping digits, or more than MOST_DIGITS.
    """
    groups = _surely_joined(pieces.boxes)
    if len(groups) > MOST_JOINED * MOST_DIGITS:
        raise _too_many(len(groups))
    if len(groups) > 1:
        boxes = np.array([_around(pieces.boxes[group]) for group in groups])
        heights = boxes[:, 3] - boxes[:, 1]
        _check_row(boxes[heights >= heights.max() / 2])
        groups = _best_joined(groups, pieces, costs_of)
    boxes = np.array([_around(pieces.boxes[group]) for group in groups])
    _check_row(boxes)
    if len(groups) > MOST_DIGITS:
        raise _too_many(len(groups))
    return [
        Part(pieces.frame(group), (box[0], box[1], box[2] - box[0], box[3] - box[1]))
        for group, box in zip(groups, boxes.tolist(), strict=True)
    ]


def _too_many(count: int) -> NotOneRowError:
    return NotOneRowError(
        f"This shows {count} separate pieces, not one row of at most {MOST_DIGITS} digits; choose "
        "a part of the picture."
    )


def _check_row(boxes: Doubles) -> None:
    """Raise NotOneRowError unless each box has its neighbour beside it."""
    heights = boxes[:, 3] - boxes[:, 1]
    for (_, top, _, bottom), (_, above, _, below) in itertools.pairwise(boxes):
        overlap = min(bottom, below) - max(top, above)
        if overlap < ROW_OVERLAP * min(bottom - top, below - above):
            raise NotOneRowError(
                "The digits are not in one row; choose a picture of a single row of digits."
            )
    if heights.max() > 3 * np.median(heights) and len(boxes) > 2:
        raise NotOneRowError(
            "The digits overlap or differ too much in height; choose a picture of one row of "
            "separate digits."
        )


def _around(boxes: Doubles) -> Doubles:
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _surely_joined(boxes: Doubles) -> list[list[int]]:
    """Group the pieces by geometry alone; return the groups' indices from left to right."""
    groups = [[index] for index in range(len(boxes))]
    while len(groups) > 1:
        pair = _next_pair(np.array([_around(boxes[group]) for group in groups]))
        if pair is None:
            break
        first, second = sorted(pair)
        groups[first] += groups.pop(second)
    return sorted(groups, key=lambda group: float(_around(boxes[group])[::2].sum()))


def _next_pair(boxes: Doubles) -> tuple[int, int] | None:
    """Return the indices of two boxes that clearly belong to one digit, or None."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    tallest = float(sizes.max())
    starts = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    overlaps = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - starts
    gaps = np.hypot(*np.moveaxis(np.maximum(-overlaps, 0), 2, 0))
    np.fill_diagonal(gaps, np.inf)
    # A small piece belongs to the nearest large one.
    small = sizes.max(axis=1) <= SMALL * tallest
    if small.any() and not small.all():
        piece = int(np.flatnonzero(small)[0])
        return piece, int(np.where(small, np.inf, gaps[piece]).argmin())
    narrower = np.minimum(sizes[:, None, 0], sizes[None, :, 0])
    above = (overlaps[..., 0] >= ABOVE * narrower) & (gaps <= 0.12 * tallest)
    # With more than two tall pieces, a tall one above another is in another row.
    tall = sizes[:, 1] >= 0.5 * tallest
    if tall.sum() > 2:
        above &= ~(tall[:, None] & tall[None] & (overlaps[..., 1] <= 0))
    np.fill_diagonal(above, False)
    if not above.any():
        return None
    first, second = np.argwhere(above)[0]
    return int(first), int(second)


def _best_joined(groups: list[list[int]], pieces: Pieces, costs_of: Costs) -> list[list[int]]:
    """Join neighbouring groups into digits by dynamic programming over the total cost."""
    boxes = np.array([_around(pieces.boxes[group]) for group in groups])
    height = float(np.percentile((boxes[:, 3] - boxes[:, 1]), 75))
    spans = [
        (start, end)
        for start in range(len(groups))
        for end in range(start + 1, min(start + MOST_JOINED, len(groups)) + 1)
        if _may_be_one(boxes[start:end], height)
    ]
    joined = {span: list(itertools.chain(*groups[slice(*span)])) for span in spans}
    images = torch.stack([pieces.frame(joined[span]) for span in spans])
    costs = dict(zip(spans, costs_of(images).tolist(), strict=True))
    best: list[tuple[float, list[tuple[int, int]]]] = [(0.0, [])]
    for end in range(1, len(groups) + 1):
        best.append(
            min(
                (
                    best[span[0]][0]
                    + cost
                    + _shape_cost(boxes[span[0] : end], height)
                    + _cut_cost(boxes, span[0], height),
                    [*best[span[0]][1], span],
                )
                for span, cost in costs.items()
                if span[1] == end
            )
        )
    return [joined[span] for span in best[-1][1]]


def _may_be_one(boxes: Doubles, height: float) -> bool:
    """Whether neighbouring groups are close enough to be one digit; a single group always is."""
    if len(boxes) == 1:
        return True
    gaps = boxes[1:, 0] - np.maximum.accumulate(boxes[:, 2])[:-1]
    left, top, right, bottom = _around(boxes)
    return bool((gaps <= WIDEST_GAP * height).all() and right - left <= 1.6 * (bottom - top))


def _shape_cost(boxes: Doubles, height: float) -> float:
    """Return the cost of a digit of several groups that is wide."""
    if len(boxes) == 1:
        return 0.0
    left, top, right, bottom = _around(boxes)
    return WIDE_COST * max(0.0, float(right - left) / max(float(bottom - top), height) - 0.85)


def _cut_cost(boxes: Doubles, start: int, height: float) -> float:
    """Return the cost of starting a new digit at group ``start``."""
    if start == 0:
        return 0.0
    before, after = boxes[start - 1], boxes[start]
    gap = float(after[0] - before[2]) / height
    heights = sorted((float(before[3] - before[1]), float(after[3] - after[1])))
    uneven = max(0.0, 0.7 - heights[0] / heights[1]) / 0.7
    return SPLIT_COST - GAP_GAIN * max(0.0, gap) + UNEVEN_GAIN * uneven
