"""Smooth the stair-stepped edges of coarse images.

A black-and-white image of few pixels, enlarged or not, is a coarse scan of a smooth stroke. Its
blocks are found, and the smooth stroke that they sample is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.framing import Floats

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

# The number of blocks along the longer side of coarse ink.
FEWEST_BLOCKS, MOST_BLOCKS = 7, 24
# The smallest block, in pixels a side; smaller ones count as pixels.
LEAST_BLOCK = 1.5
# The least share of an outline on the lines between blocks.
ON_LINES = 0.98
# Black and white means at most this many greys per pixel of outline. Enlarging and compression add
# greys, so blocks larger than FEW_PIXELS may have proportionally more.
MOST_GREYS, FEW_PIXELS = 0.1, SIDE / FEWEST_BLOCKS
# The blur that removes the stairs, in blocks, and the side of a redrawn block, in pixels.
BLUR, FINE = 0.6, 4
# The width of the new outline's fade, as a share of the blurred range.
SOFT = 0.4
# Blocks of paper around the ink, as far as the blur reaches.
MARGIN = 2
# Positions to try for the first and last line, in pixels from the ink's edges: enlarging rounds.
_SHIFTS = np.linspace(-0.4, 0.4, 5)


def without_stairs(ink: Floats) -> Floats:
    """Return coarse ink with smooth edges; other ink is returned as it is.

    ink: [H, W], 0 to 1. Each block becomes FINE times FINE pixels.
    """
    inked = ink > 0.5
    rows, columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return ink
    box = inked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    blocks = _blocks(box)
    enlarged = max(1, max(box.shape) / max(blocks.shape) / FEW_PIXELS)
    if max(blocks.shape) > MOST_BLOCKS or not black_and_white(ink[None], enlarged)[0]:
        return ink
    return _redrawn(blocks)


def black_and_white(ink: Floats, enlarged: float = 1) -> Mask:
    """Return whether outlines have hardly any greys: bool [N]. ink: [N, H, W], 0 to 1.

    enlarged: the side of a block, in multiples of FEW_PIXELS.
    """
    outline = sum(changes.sum(axis=1) for changes in _changes(ink > 0.5))
    greys = np.count_nonzero((ink > 0.25) & (ink < 0.75), axis=(1, 2))
    has_few_greys: Mask = greys <= MOST_GREYS * enlarged * outline
    return has_few_greys


def _changes(inked: Mask) -> tuple[Counts, Counts]:
    """Count the pixels where ink begins or ends above each row, and left of each column."""
    padded = np.pad(inked, ((0, 0), (1, 1), (1, 1)))
    return (
        np.count_nonzero(padded[:, 1:] != padded[:, :-1], axis=2),
        np.count_nonzero(padded[:, :, 1:] != padded[:, :, :-1], axis=1),
    )


def _blocks(box: Mask) -> Mask:
    """Return one pixel per block of the ink, or the ink itself if it has no blocks."""
    changes = [counts[0] for counts in _changes(box[None])]
    outline = sum(int(counts.sum()) for counts in changes)
    longer = max(box.shape)
    for number in range(FEWEST_BLOCKS, min(MOST_BLOCKS, int(longer / LEAST_BLOCK)) + 1):
        numbers = [max(1, round(side * number / longer)) for side in box.shape]
        if any(
            abs(side - each * longer / number) > 1
            for side, each in zip(box.shape, numbers, strict=True)
        ):
            continue
        on_lines = sum(map(_on_lines, changes, numbers))
        if on_lines >= ON_LINES * outline:
            middles = [
                ((np.arange(each) + 0.5) * side / each).astype(int)
                for side, each in zip(box.shape, numbers, strict=True)
            ]
            return box[np.ix_(*middles)]
    return box


def _on_lines(changes: Counts, number: int) -> int:
    """Return how much of an outline lies on the best-placed lines between ``number`` blocks."""
    size = len(changes) - 1
    first, last = (shifts.reshape(-1, 1) for shifts in np.meshgrid(_SHIFTS, _SHIFTS))
    lines = (np.arange(size + 1) - first) * number / (size + last - first)
    away = np.abs(lines - np.rint(lines)) * size / number
    near = away <= min(max(0.5, 0.2 * size / number), 1.5)
    return int((near @ changes).max())


def _redrawn(blocks: Mask) -> Floats:
    """Return the smooth stroke that the blocks sample, with the same amount of ink."""
    from scipy import ndimage

    padded = np.pad(blocks, MARGIN).astype(np.float32)
    down, across = (
        ndimage.gaussian_filter1d(
            np.eye(side, dtype=np.float32).repeat(FINE, axis=0), BLUR * FINE, axis=0
        )
        for side in padded.shape
    )
    blurred = down @ padded @ across.T
    inked = int(padded.sum()) * FINE**2
    level = np.partition(blurred, -inked, axis=None)[-inked]
    drawn: Floats = np.clip((blurred - level) / SOFT + 0.5, 0, 1).astype(np.float32)
    return drawn
