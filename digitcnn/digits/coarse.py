"""Give the strokes of coarse pictures smooth edges.

A picture of few pixels in black and white, enlarged or not, shows a stroke with stairs for edges: a
coarse scan of a smooth stroke. Its blocks are found, and the stroke that they sample is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.framing import Floats

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Coarse ink has at least and at most so many blocks along its longer side.
FEWEST_BLOCKS, MOST_BLOCKS = 7, 24
# Blocks of at least so many pixels a side are found; smaller ones are taken for pixels.
LEAST_BLOCK = 1.5
# The share of an outline that lies on the lines between blocks.
ON_LINES = 0.98
# Black and white: at most this many greys per pixel of outline, and more in proportion where blocks
# are larger than FEW_PIXELS, as enlarging and compression leave them.
MOST_GREYS, FEW_PIXELS = 0.1, SIDE / FEWEST_BLOCKS
# The blur that removes the stairs, in blocks; the pixels across a block that is drawn anew.
BLUR, FINE = 0.6, 4
# How far, in shares of the blur's range, the new outline fades.
SOFT = 0.4
# Blocks of paper around the ink, which the blur does not leave.
MARGIN = 2
# Where the first and the last line may lie, in pixels from the ink's edges: enlarging rounds.
_SHIFTS = np.linspace(-0.4, 0.4, 5)


def without_stairs(ink: Floats) -> Floats:
    """Return the ink with smooth edges if it is coarse, else the same array.

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

    enlarged: how many times FEW_PIXELS the blocks are across.
    """
    outline = sum(changes.sum(axis=1) for changes in _changes(ink > 0.5))
    greys = np.count_nonzero((ink > 0.25) & (ink < 0.75), axis=(1, 2))
    few: Mask = greys <= MOST_GREYS * enlarged * outline
    return few


def _changes(inked: Mask) -> tuple[Counts, Counts]:
    """Count where ink begins or ends above each row, and left of each column."""
    padded = np.pad(inked, ((0, 0), (1, 1), (1, 1)))
    return (
        np.count_nonzero(padded[:, 1:] != padded[:, :-1], axis=2),
        np.count_nonzero(padded[:, :, 1:] != padded[:, :, :-1], axis=1),
    )


def _blocks(box: Mask) -> Mask:
    """Return one pixel for each block that the ink consists of; the ink where there are none."""
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
    """Return how much of an outline lies on the lines between so many blocks, placed best."""
    size = len(changes) - 1
    first, last = (shifts.reshape(-1, 1) for shifts in np.meshgrid(_SHIFTS, _SHIFTS))
    lines = (np.arange(size + 1) - first) * number / (size + last - first)
    away = np.abs(lines - np.rint(lines)) * size / number
    near = away <= min(max(0.5, 0.2 * size / number), 1.5)
    return int((near @ changes).max())


def _redrawn(blocks: Mask) -> Floats:
    """Return the stroke that black and white blocks sample, with as much ink as they have."""
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
