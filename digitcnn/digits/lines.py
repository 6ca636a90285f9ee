"""Remove straight lines from a page: ruled and squared paper, printed boxes, table edges.

A Hough transform of nearly horizontal and nearly vertical lines (Duda and Hart 1972). A line is
removed where nothing crosses it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

# Slopes that are searched, in pixels per pixel: paper lies nearly straight.
SLOPES = np.linspace(-0.14, 0.14, 57)
# A line has ink on at least this share of the page's width or height.
LEAST_COVER = 0.42
# It is at most this share of the page wide.
WIDEST = 0.012
# Lines that end on the page are removed only if there are at least this many, as in a box.
FEWEST_INSIDE = 4
MOST_LINES = 80


def without_lines(mask: Mask) -> Mask:
    """Return the mask, bool [H, W], without straight lines that cross it."""
    lines = [(view, *line) for view, turned in enumerate((mask, mask.T)) for line in _lines(turned)]
    through = [line for line in lines if line[-1]]
    removed = lines if len(lines) >= FEWEST_INSIDE else through
    if not removed:
        return mask
    from scipy import ndimage

    cleaned: Mask = mask.copy()
    bands = np.zeros_like(mask)
    for view, slope, place, half, _ in removed:
        if view:
            _erase(cleaned.T, bands.T, mask.T, slope, place, half)
        else:
            _erase(cleaned, bands, mask, slope, place, half)
    # What is left of lines where they cross each other.
    labels, count = ndimage.label(cleaned, np.ones((3, 3)))
    inside = np.bincount(labels[bands], minlength=count + 1)
    rest = inside >= 0.8 * np.bincount(labels.ravel(), minlength=count + 1)
    cleaned[rest[labels]] = False
    return cleaned


def _lines(mask: Mask) -> list[tuple[float, int, int, bool]]:
    """Return nearly horizontal lines.

    Each has a slope, the row at the left edge, half its width, and whether it spans the page.
    """
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    # Rows within large dark areas are not lines.
    reach = round(WIDEST * max(mask.shape)) + 2
    thin = _thin(mask, reach)[rows, columns]
    rows, columns = rows[thin], columns[thin]
    margin = int(np.ceil(np.abs(SLOPES).max() * width)) + 1
    lines: list[tuple[float, int, int, bool]] = []
    least = LEAST_COVER * width
    if len(rows) < least:
        return lines
    votes = np.stack([_votes(rows, columns, slope, margin, height) for slope in SLOPES])
    while len(lines) < MOST_LINES:
        # Three rows together, since a line is seldom exactly on the slope.
        best = np.unravel_index(int(votes.argmax()), votes.shape)
        if votes[best] < least:
            break
        slope = float(SLOPES[best[0]])
        place = int(best[1]) - margin
        profile = votes[best[0]]
        half = 1
        while (
            half < reach
            and profile[best[1] - half : best[1] + half + 1].min() > 0.4 * profile[best[1]]
        ):
            half += 1
        away = rows - np.rint(slope * columns).astype(int) - place
        on = np.abs(away) <= half
        covered, crossed = columns[on], rows[on]
        if len(np.unique(covered)) >= least:
            edge = 0.02 * width + 2
            lines.append(
                (slope, place, half, covered.min() <= edge and covered.max() >= width - 1 - edge)
            )
        elif not on.any():
            break
        for index, each in enumerate(SLOPES):
            votes[index] -= _votes(crossed, covered, each, margin, height)
        rows, columns = rows[~on], columns[~on]
    return lines


def _thin(mask: Mask, reach: int) -> Mask:
    """Return which pixels lie in a vertical run of at most ``reach``."""
    from scipy import ndimage

    size = reach + 1
    runs = ndimage.minimum_filter1d(mask.view(np.uint8), size, axis=0, mode="constant")
    # The filter of an even size looks half a pixel back, and its opposite half a pixel forward.
    thick = ndimage.maximum_filter1d(runs, size, axis=0, origin=(size + 1) % 2 * -1)
    thin: Mask = mask & (thick == 0)
    return thin


def _votes(rows: Integers, columns: Integers, slope: float, margin: int, height: int) -> Integers:
    """Count the pixels on each line of a slope, by its row at the left edge plus margin."""
    places = rows - np.rint(slope * columns).astype(int) + margin
    return np.bincount(places, minlength=height + 2 * margin + 1)


def _erase(cleaned: Mask, bands: Mask, mask: Mask, slope: float, place: int, half: int) -> None:
    """Remove a line where the mask has nothing above or below it, and mark the band around it."""
    height, width = mask.shape
    columns = np.arange(width)
    middle = np.rint(slope * columns).astype(int) + place
    crossed = np.zeros(width, dtype=bool)
    for side in (-half - 2, half + 2):
        rows = middle + side
        inside = (rows >= 0) & (rows < height)
        crossed[inside] |= mask[rows[inside], columns[inside]]
    for offset in range(-half - 3, half + 4):
        rows = middle + offset
        inside = (rows >= 0) & (rows < height)
        bands[rows[inside], columns[inside]] = True
        if abs(offset) <= half + 1:
            free = inside & ~crossed
            cleaned[rows[free], columns[free]] = False
