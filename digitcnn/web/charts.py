"""Charts as SVG: lines, dots, bars, bands and box plots, for the page and for a run's report.

Drawing an SVG takes a millisecond, a matplotlib image a tenth of a second; and an SVG follows the
light or dark colours around it. Colours and text sizes are in ``styles/charts.css``, which a page
includes once. Matplotlib's figures are in ``analysis.figures``.

    accuracy = linear_axis("Accuracy (%)", [91.2, 97.4], bounds=(0, 100))
    chart("Accuracy per epoch (%)", count_axis("Epoch", 3), accuracy, [Series("Held-out", points)])
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from digitcnn.web.templates import render

STYLE = Path(__file__).with_name("styles") / "charts.css"

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 46
LEGEND_ROW = 20
# Larger values are not drawn: arithmetic on them could overflow.
LARGEST = 1e15
# Text size on a narrow screen, in pixels of a chart of the usual width (it grows as the chart
# shrinks), and the width of a character at that size in a wide font.
NARROW_TEXT = 16
CHARACTER = 0.6 * NARROW_TEXT

Point = tuple[float, float]
Marker = Literal["circle", "diamond"]


@dataclass(frozen=True)
class Axis:
    """One axis: its label, the values at its two ends, and where the ticks are.

    ticks: value and text of each, the value in the axis' own unit. logarithmic: both ends are
    positive.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return how far along the axis ``value`` is: 0 at ``low``, 1 at ``high``."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return (value - low) / ((high - low) or 1.0)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together.

    colour: 1 to 6, or 0 for a grey reference line. marker: of each point; None draws none. line:
    whether the points are connected. radii: of the markers, in pixels. notes: shown when the
    pointer rests on a marker; the default names the series and the values. band: x, lower and
    upper end, drawn as an area. intervals: the same, drawn as vertical lines. bar: width of a bar
    from the axis to each point, in units of x; 0 draws none.
    """

    name: str
    points: Sequence[Point]
    colour: int = 1
    marker: Marker | None = None
    line: bool = True
    dashed: bool = False
    radii: Sequence[float] = ()
    notes: Sequence[str] = ()
    band: Sequence[tuple[float, float, float]] = ()
    intervals: Sequence[tuple[float, float, float]] = ()
    bar: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box plot of ``values`` with one marker per value: quartiles, whiskers to 1.5 box heights.

    at: its place on the horizontal axis. notes: shown on the markers.
    """

    name: str
    values: Sequence[float]
    at: float
    colour: int = 1
    marker: Marker = "circle"
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Interval:
    """A value with its interval, and how it is written."""

    name: str
    value: float
    low: float
    high: float
    text: str


def intervals(
    title: str, rows: Sequence[Interval], *, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Markup:
    """Draw a row per value: its name, a dot with its interval on a common axis, and its text.

    It is HTML, so that long names wrap. bounds: the axis never exceeds them.
    """
    ends = [end for row in rows for end in (row.low, row.high)]
    axis = linear_axis("", ends, bounds=bounds, span=0.2, intervals=4)
    return render(
        "charts/intervals.html",
        title=title,
        rows=[
            {
                "row": row,
                "colour": 1 + place % 6,
                "at": 100 * axis.share(row.value),
                "left": 100 * axis.share(row.low),
                "width": 100 * (axis.share(row.high) - axis.share(row.low)),
            }
            for place, row in enumerate(rows)
        ],
        ticks=[(100 * axis.share(value), text) for value, text in axis.ticks],
    )


def linear_axis(
    label: str,
    values: Iterable[float],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    span: float = 0.0,
    intervals: int = 5,
) -> Axis:
    """Return an axis with round ticks (steps of 1, 2, 2.5 or 5 times a power of ten) over values.

    bounds: the axis never exceeds them. span: the axis covers at least this much, so that noise
    does not look large. intervals: the most between the ends. Values that cannot be drawn are
    ignored.
    """
    drawn = [value for value in values if _drawable(value)]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * max(size, 1e-3):
        span = span or (0.01 * size if size > 1e-9 else 1.0)
    if high - low < span:
        low = min(max((low + high - span) / 2, bounds[0]), bounds[1] - span)
        high = low + span
    power = 10.0 ** math.floor(math.log10((high - low) / intervals))
    step = next(
        m * power for m in (1, 2, 2.5, 5, 10) if m * power * intervals >= 0.999 * (high - low)
    )
    numbers = range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    ends = (max(numbers[0] * step, bounds[0]), min(numbers[-1] * step, bounds[1]))
    decimals = next(d for d in range(16) if abs(round(step * 10**d) - step * 10**d) < 1e-6)
    slack = 1e-6 * step
    ticks = [n * step for n in numbers if ends[0] - slack <= n * step <= ends[1] + slack]
    return Axis(label, *ends, [(tick, f"{tick:,.{decimals}f}") for tick in ticks])


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Return a logarithmic axis around the positive ones of ``values``, with ticks at 1 and 3."""
    positive = [value for value in values if value > 1 / LARGEST and _drawable(value)]
    low, high = min(positive, default=0.01), max(positive, default=10.0)
    low = 10 ** (math.floor(2 * math.log10(low)) / 2)
    high = max(10 ** (math.ceil(2 * math.log10(high)) / 2), 10 * low)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 3)]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return Axis(label, low, high, [(tick, f"{tick:g}") for tick in inside], logarithmic=True)


def count_axis(label: str, last: int) -> Axis:
    """Return an axis for whole numbers from 1 to ``last``, such as epochs or passes."""
    last = max(last, 1)
    step = max(1, math.ceil(last / 8))
    ticks = list(range(step, last + 1, step))
    if ticks[0] > 1 and (ticks[0] - 1) / last > 1 / 20:
        ticks.insert(0, 1)
    return Axis(label, 0.5, last + 0.5, [(tick, f"{tick:,}") for tick in ticks])


def share_axis(label: str) -> Axis:
    """Return an axis for a fraction, from 0% to 100% in quarters."""
    return Axis(label, 0.0, 1.0, [(part / 4, f"{25 * part}%") for part in range(5)])


def chart(
    title: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series] = (),
    boxes: Sequence[Box] = (),
    *,
    empty: str = "",
    legend: bool | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Markup:
    """Draw one chart as an ``<svg>`` element.

    Its text alternative is the title and, for each series and box, the range of its values. Points
    that are not finite are left out. empty: shown when there is nothing to draw. legend: by
    default where there is more than one series. width, height: in pixels, without the legend.
    """
    legend = len(series) > 1 if legend is None else legend
    entries = _legend(series, width) if legend else []
    top = TOP + LEGEND_ROW * (1 + max((row for row, _, _ in entries), default=-1))
    height += top - TOP
    inner_width, inner_height = width - LEFT - RIGHT, height - top - BOTTOM

    def place(point: Point) -> Point:
        return (
            LEFT + inner_width * x.share(point[0]),
            top + inner_height * (1 - y.share(point[1])),
        )

    shapes = [_shape(one, place, x) for one in series]
    drawn_boxes = [
        _box(box, place, inner_width / max(1, len(boxes))) for box in boxes if box.values
    ]
    nothing = not drawn_boxes and not any(
        shape["dots"] or shape["line"] or shape["bars"] for shape in shapes
    )
    return render(
        "charts/chart.html",
        title=title,
        description=_description(series, boxes, x),
        width=width,
        height=height,
        left=LEFT,
        right=width - RIGHT,
        middle=LEFT + inner_width / 2,
        centre=top + inner_height / 2,
        narrow_text=max(13, round(NARROW_TEXT * width / WIDTH)),
        x_label=x.label,
        x_ticks=[_x_tick(place((value, y.low))[0], text, width) for value, text in x.ticks],
        y_ticks=[(place((x.low, value))[1], text) for value, text in y.ticks],
        legend=[(LEFT + across, TOP + LEGEND_ROW * row + 2, one) for row, across, one in entries],
        shapes=shapes,
        boxes=drawn_boxes,
        empty=empty if nothing else "",
    )


def _drawable(value: float) -> bool:
    return abs(value) < LARGEST  # false for NaN


def _x_tick(at: float, text: str, width: int) -> tuple[float, str, str]:
    """Return place, text and anchor; a text that would be cut off ends at the right edge."""
    if at + CHARACTER / 2 * len(text) > width:
        return width, text, "end"
    return at, text, "middle"


def _legend(series: Sequence[Series], width: int) -> list[tuple[int, float, Series]]:
    """Return row, distance from the left and series of each entry, as many in a row as fit."""
    entries = []
    row, across = 0, 0.0
    character = CHARACTER * max(1.0, width / WIDTH)
    for one in series:
        room = 30 + character * len(one.name)
        if across and LEFT + across + room > width:
            row, across = row + 1, 0.0
        entries.append((row, across, one))
        across += room + 10
    return entries


def _shape(one: Series, place: Callable[[Point], Point], x: Axis) -> dict[str, object]:
    finite = [i for i, point in enumerate(one.points) if all(map(_drawable, point))]
    places = [place(one.points[i]) for i in finite]
    usual = 3.0 if len(places) <= 60 else 1.8
    dots: list[dict[str, Any]] = []
    for i, (at_x, at_y) in zip(finite, places, strict=True):
        value_x, value_y = one.points[i]
        note = f"{one.name}, {x.label.lower()} {value_x:g}: {value_y:.5g}"
        dots.append(
            {
                "x": at_x,
                "y": at_y,
                "radius": one.radii[i] if one.radii else usual,
                "note": one.notes[i] if one.notes else note,
            }
        )
    area = [place((at, low)) for at, low, _ in one.band]
    area += [place((at, high)) for at, _, high in reversed(one.band)]
    return {
        "series": one,
        "line": places if one.line else [],
        "dots": dots if one.marker else [],
        "bars": _bars(one, dots, place, x) if one.bar else [],
        "band": area,
        "intervals": [(*place((at, low)), place((at, high))[1]) for at, low, high in one.intervals],
    }


def _bars(
    one: Series, dots: Sequence[dict[str, Any]], place: Callable[[Point], Point], x: Axis
) -> list[dict[str, Any]]:
    """Return a bar for each dot, from the bottom of the chart to it."""
    width = place((x.low + one.bar, 0.0))[0] - place((x.low, 0.0))[0]
    bottom = place((x.low, 0.0))[1]
    return [
        {
            "left": dot["x"] - width / 2,
            "top": dot["y"],
            "width": width,
            "height": bottom - dot["y"],
            "note": dot["note"],
        }
        for dot in dots
    ]


def _box(box: Box, place: Callable[[Point], Point], room: float) -> dict[str, object]:
    values = sorted(box.values)
    first, median, third = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    reach = 1.5 * (third - first)
    inside = [value for value in values if first - reach <= value <= third + reach]
    half = min(34.0, room / 3)
    heights = [place((box.at, value))[1] for value in (inside[0], first, median, third, inside[-1])]
    middle = place((box.at, median))[0]
    last = max(1, len(values) - 1)
    dots = [
        {
            "x": middle + 1.3 * half * (index / last - 0.5),
            "y": place((box.at, value))[1],
            "radius": 2.2,
            "note": box.notes[index] if box.notes else f"{box.name}: {value:.5g}",
        }
        for index, value in enumerate(box.values)
    ]
    return {"box": box, "middle": middle, "half": half, "heights": heights, "dots": dots}


def _description(series: Sequence[Series], boxes: Sequence[Box], x: Axis) -> str:
    """Return a text alternative of the lines and boxes."""
    parts = []
    for one in series:
        points = [point for point in one.points if all(map(_drawable, point))]
        if not points:
            continue
        (first_x, first), (last_x, last) = points[0], points[-1]
        if len(points) == 1 or (one.colour == 0 and first == last):
            parts.append(f"{one.name}: {first:.4g}.")
        else:
            at = x.label.lower()
            parts.append(
                f"{one.name}: {first:.4g} at {at} {first_x:.4g}, {last:.4g} at {at} {last_x:.4g}, "
                f"lowest {min(y for _, y in points):.4g}, highest {max(y for _, y in points):.4g}."
            )
    parts += [
        f"{box.name}: {len(box.values)} values, median {statistics.median(box.values):.4g}, "
        f"from {min(box.values):.4g} to {max(box.values):.4g}."
        for box in boxes
        if box.values
    ]
    return " ".join(parts)
