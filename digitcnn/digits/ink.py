"""Find the ink of a digit or a number in a picture: a photograph, a scan, a screenshot, a drawing.

    light      the paper's brightness is estimated by a closing, and divided out
    threshold  the one that shows the most conspicuous stroke: long, dark, near the middle
    lines      straight lines from edge to edge, and boxes, are removed where no stroke crosses
    pieces     what is not as large as the main stroke, near it, or drawn with a pen, is dropped

Everything works on a copy with about a million pixels. Ink may be dark on light or light on dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitcnn.digits.framing import Floats
from digitcnn.digits.image_files import LEAST_CONTRAST
from digitcnn.digits.lines import without_lines

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]

# A picture is averaged over whole blocks until its longest side is under twice this.
SIDE = 600
# Below this the picture is a digit already cropped, often to 28x28.
SMALL_SIDE = 64
# A tightly cropped digit spans this share of both sides, its pen is at least this share of
# its span, it touches at most this share of the edge and has at most this share of the area.
FILLED, PEN_SHARE, MOST_CONTACT, MOST_INKED = 0.85, 0.045, 0.45, 0.55
# Of the shorter side: strokes are thinner than this, lit and shaded areas wider.
LIGHT_WINDOW = 0.3
# Shares of the paper's brightness at which ink is searched for.
THRESHOLDS = (0.5, 0.33, 0.22, 0.15, 0.1, 0.065)
# A piece is part of the ink from this share of the main stroke's darkness.
LEAST_SHARE = 0.35
# Light ink on a dark ground is rarer than paper on a dark table, or than a beam of light.
LIGHT_SHARE = 0.15
# As many pieces are examined closely at each threshold.
TRIED = 4
# The main stroke spans at least this share of the picture.
LEAST_SPAN = 0.022
# A pen's width is at most this share of what is drawn with it.
THICKEST = 0.5
# Pieces this large, in spans of the main stroke, are strokes of their own; smaller ones count as
# parts of a stroke, as far as NEAR from it. Smaller than SPECK they are dirt.
OWN_SPAN, NEAR, SPECK = 0.4, 0.3, 0.04


@dataclass(frozen=True)
class Ink:
    """The ink of a picture, in pixels of the reduced picture.

    shares: how much ink is on each pixel, 0 to 1. pieces: the connected pieces, numbered from 1;
    0 elsewhere. step: how many of the picture's pixels one pixel covers, across and down.
    """

    shares: Floats
    pieces: Labels
    step: tuple[float, float]


def find_ink(grey: Floats, step: tuple[float, float] = (1.0, 1.0)) -> Ink | None:
    """Return the ink in a picture, [H, W] from 0 to 255; None when it is blank.

    step: how many pixels of the original one of these covers, across and down.
    """
    if max(grey.shape) <= SMALL_SIDE:
        return _all_ink(grey, step)
    page = reduced(grey, SIDE)
    across, down = (grey.shape[axis] / page.shape[axis] for axis in (1, 0))
    step = (step[0] * across, step[1] * down)
    if _fills(page):
        return _all_ink(page, step)
    for at_edge in (False, True):
        search = _search(page, at_edge)
        if search is not None:
            shares, labels = search.ink()
            # Traced to its end, a stroke may turn out to lie on the edge: then search again.
            if shares.any():
                return Ink(shares, labels, step)
    return None


def _search(page: Floats, at_edge: bool) -> _Search | None:
    """Return the better of the searches for dark and for light ink; None if both found nothing."""
    contact = math.inf if at_edge else 1.6
    dark, light = _Search(page, contact), _Search(255 - page, contact if at_edge else 0)
    better = dark if dark.score >= LIGHT_SHARE * light.score else light
    return better if better.score > 0 else None


def reduced(grey: Floats, side: int) -> Floats:
    """Average [H, W] over whole blocks until its longest side is under twice ``side``."""
    factor = max(grey.shape) // side
    return np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey


def _fills(page: Floats) -> bool:
    """Whether one stroke fills the picture: a tightly cropped digit.

    Frames and tables are seen along most of the edge; lines of paper are thinner than such a pen.
    """
    away, peak = _from_ground(page)
    if peak < LEAST_CONTRAST:
        return False
    pieces = _pieces(away > peak / 2, np.clip(away / peak, 0, 1).astype(np.float32))
    if len(pieces.areas) == 0:
        return False
    main = int(pieces.areas.argmax())
    sides = pieces.boxes[main, 2:] - pieces.boxes[main, :2]
    pen = pieces.pens[main] / pieces.spans[main]
    edge = 2 * sum(page.shape)
    return bool(
        (sides >= FILLED * np.array(page.shape)).all()
        and PEN_SHARE <= pen <= THICKEST
        # Paper within a frame fills more.
        and pieces.areas[main] <= MOST_INKED * page.size
        and pieces.contacts[main] <= MOST_CONTACT * edge
    )


def _border(values: NDArray[Any]) -> NDArray[Any]:
    """Return the outermost pixels."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _from_ground(grey: Floats) -> tuple[Floats, float]:
    """Return how far each pixel is from what the border shows, and the largest of these, the ink's.

    Ink is above 0, whether it is darker or lighter.
    """
    away: Floats = float(np.median(_border(grey))) - grey
    if -away.min() > away.max():
        away = -away
    return away, float(away.max())


def _all_ink(grey: Floats, step: tuple[float, float]) -> Ink | None:
    """Return whatever differs from what the border shows."""
    from scipy import ndimage

    ink, peak = _from_ground(grey)
    if peak < LEAST_CONTRAST:
        return None
    grain = 1.4826 * float(np.median(np.abs(_border(ink)))) / peak
    floor = min(max(0.1, 4 * grain), 0.5)
    shares = np.clip((ink / peak - floor) / (1 - floor), 0, 1).astype(np.float32)
    return Ink(shares, ndimage.label(shares > 0, np.ones((3, 3)))[0], step)


@dataclass(frozen=True)
class _Pieces:
    """Connected pieces of a mask, numbered from 1 in ``labels``; arrays have one entry each.

    boxes: top, left, bottom, right. spans: the longer side of the box. pens: the width of the
    widest stroke. contacts: pixels on the picture's edge. across: whether it reaches from one edge
    to the opposite one. depths: how dark the core is.
    """

    labels: Labels
    boxes: NDArray[np.int64]
    spans: NDArray[np.int64]
    areas: NDArray[np.int64]
    pens: Floats
    contacts: NDArray[np.int64]
    across: Mask
    depths: Floats

    def drawn(self, contact: float) -> Mask:
        """Whether each piece looks drawn with a pen, and is not a table, a frame or a shadow.

        contact: how much of the edge it may touch, in widths of the pen; infinite for any.
        """
        slim = self.pens <= THICKEST * self.spans
        off = self.contacts <= contact * self.pens
        return slim & (off if math.isinf(contact) else off & ~self.across)


def _pieces(mask: Mask, depth: Floats) -> _Pieces:
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    slices = ndimage.find_objects(labels)
    boxes = np.array([[y.start, x.start, y.stop, x.stop] for y, x in slices]).reshape(-1, 4)
    # Everything beyond the picture counts as ink, so that a strip along the edge counts in full.
    inside = ndimage.distance_transform_cdt(np.pad(mask, 1, mode="edge"), "chessboard")[1:-1, 1:-1]
    at = labels[mask]
    depths, areas = depth[mask], np.bincount(at, minlength=count + 1)[1:]
    # The mean weighted by itself: the core counts, not the soft edge.
    sums = [np.bincount(at, depths**power, minlength=count + 1)[1:] for power in (1, 2)]
    pens = np.zeros(count + 1, dtype=np.float32)
    np.maximum.at(pens, at, inside[mask])
    return _Pieces(
        labels=labels,
        boxes=boxes,
        spans=(boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0),
        areas=areas,
        pens=2 * pens[1:] - 1,
        contacts=np.bincount(_border(labels), minlength=count + 1)[1:],
        across=((boxes[:, :2] == 0) & (boxes[:, 2:] == mask.shape)).any(axis=1),
        depths=(sums[1] / sums[0]).astype(np.float32),
    )


class _Search:
    """The search for dark ink on a page, [H, W] from 0 to 255.

    score: how conspicuous the main stroke is; 0 where there is none.
    """

    def __init__(self, page: Floats, contact: float) -> None:
        self._page, self._contact = page, contact
        window = round(LIGHT_WINDOW * min(page.shape))
        depth, floor = _depth(page, window)
        self.score, self._threshold, self._window = 0.0, 0.0, window
        for threshold in THRESHOLDS:
            if threshold < floor:
                break
            pieces = _pieces(without_lines(depth > threshold), depth)
            scores = self._scores(pieces)
            for best in np.argsort(-scores)[:TRIED].tolist():
                if scores[best] > self.score and self._stands_out(pieces, best):
                    self.score = float(scores[best])
                    self._threshold = max(LEAST_SHARE * float(pieces.depths[best]), floor)
                    self._window = min(window, max(15, 4 * int(pieces.pens[best])))

    def _stands_out(self, pieces: _Pieces, piece: int) -> bool:
        """Whether a piece has paper around it; a gap between strokes does not."""
        reach = max(int(pieces.spans[piece]), max(self._page.shape) // 12)
        top, left, bottom, right = pieces.boxes[piece].tolist()
        rows = slice(max(0, top - reach), bottom + reach)
        columns = slice(max(0, left - reach), right + reach)
        page, inked = self._page[rows, columns], pieces.labels[rows, columns] == piece + 1
        ink, ground = float(np.median(page[inked])), float(np.median(page[~inked]))
        return ink < (1 - float(pieces.depths[piece]) / 2) * ground

    def _scores(self, pieces: _Pieces) -> NDArray[np.float64]:
        height, width = self._page.shape
        spans = pieces.spans / max(height, width)
        middles = (pieces.boxes[:, :2] + pieces.boxes[:, 2:]) / 2 / (height, width) - 0.5
        distances = np.abs(middles).max(axis=1, initial=0)
        slimness = np.clip(1 - 0.9 * pieces.pens / (THICKEST * pieces.spans), 0.01, 1) ** 2
        scores = spans * pieces.depths * slimness * (1 - distances)
        sides = pieces.boxes[:, 2:] - pieces.boxes[:, :2]
        lines = (sides.min(axis=1, initial=max(height, width)) < 0.035 * pieces.spans) & (
            spans > 0.4
        )
        usable = ~lines & pieces.drawn(self._contact) & (spans >= LEAST_SPAN) & (pieces.spans >= 8)
        return np.where(usable, scores, 0)

    def ink(self) -> tuple[Floats, Labels]:
        """Return shares and pieces of the ink that was found."""
        from scipy import ndimage

        # A window hardly wider than the pen follows a band of shadow that a wider one fills.
        for window in (self._window, self._window // 2, self._window // 3):
            depth, _ = _depth(self._page, max(window, 5))
            pieces = _pieces(without_lines(depth > self._threshold), depth)
            strokes = self._strokes(pieces)
            if strokes.any():
                break
        chosen = np.append(0, np.where(strokes, np.cumsum(strokes), 0)).astype(np.int32)
        labels = chosen[pieces.labels]
        reach = ndimage.maximum_filter(labels, 5)
        labels = np.where(depth > self._threshold / 2, reach, 0)
        peak = float(np.median(pieces.depths[strokes])) if strokes.any() else 1.0
        shares = np.clip((depth / peak - 0.2) / 0.6, 0, 1) * (labels > 0)
        return shares.astype(np.float32), np.where(shares > 0, labels, 0)

    def _strokes(self, pieces: _Pieces) -> Mask:
        """Return which pieces belong to the digit or number."""
        scores = self._scores(pieces)
        if not scores.any():
            return scores > 0
        main = int(scores.argmax())
        span, depth = pieces.spans[main], pieces.depths[main]
        dark = pieces.depths >= 0.55 * depth
        pens = pieces.pens / pieces.pens[main]
        # A thick piece that reaches in from the edge is a thumb.
        alike = dark & (pens >= 0.4) & (pens <= np.where(pieces.contacts > 0, 1.5, 2.5))
        own = (scores > 0) & alike & (pieces.spans >= OWN_SPAN * span)
        parts = dark & (pieces.spans >= max(3, SPECK * span)) & (pieces.contacts == 0)
        near = _gaps(pieces.boxes, pieces.boxes[own]).min(axis=1) <= NEAR * span
        strokes: Mask = own | (parts & near)
        return strokes


def _gaps(boxes: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the gap between every two boxes: [N, M]."""
    apart = np.maximum(
        boxes[:, None, :2] - others[None, :, 2:], others[None, :, :2] - boxes[:, None, 2:]
    )
    gaps: NDArray[np.float64] = np.hypot(*np.moveaxis(np.maximum(apart, 0), 2, 0))
    return gaps


def _depth(page: Floats, window: int) -> tuple[Floats, float]:
    """Return how much darker each pixel is than the paper around it, 0 to 1, and the noise's reach.

    The paper's brightness is a closing: brightest, then darkest within a window wider than a pen.
    Edges of larger areas, such as shadows and tables, stay where they are.
    """
    from scipy import ndimage

    # Never brighter than the page: the dark side of a table's edge is not ink.
    calm = np.minimum(page, ndimage.uniform_filter(page, 3))
    paper = ndimage.grey_closing(calm, (window, window))
    depth = np.clip(1 - page / np.maximum(paper, 8), 0, 1)
    # A page with hardly any contrast, or darkness without light, has no ink.
    depth *= np.clip((paper - page) / LEAST_CONTRAST, 0, 1)
    usual = float(np.median(depth))
    grain = 1.4826 * float(np.median(np.abs(depth - usual)))
    return depth, min(max(THRESHOLDS[-1], usual + 4 * grain), 0.5)
