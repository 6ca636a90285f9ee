"""Draw on the pad of an open page with the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Points from 0 to 1 within the pad, from the left and from the top.
Stroke = Sequence[tuple[float, float]]

ONE: Stroke = [(0.5, 0.2), (0.5, 0.8)]
SEVEN: Stroke = [(0.3, 0.25), (0.7, 0.25), (0.6, 0.45), (0.45, 0.8)]


def pad_points(page: Any, stroke: Stroke) -> list[tuple[float, float]]:
    """Return the points of a stroke in pixels of the window, with the pad scrolled into view."""
    canvas = page.locator("#pad canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


def draw(page: Any, stroke: Stroke, *, lift: bool = True) -> None:
    """Draw a stroke; the page asks for predictions at each of its points, which take time."""
    first, *others = pad_points(page, stroke)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point)
    if lift:
        page.mouse.up()
