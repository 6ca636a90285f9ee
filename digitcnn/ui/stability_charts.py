"""The Stability tab's two charts as SVG: a line that grows pass by pass, and box plots.

Drawn anew several times a second, so, as ``curves``, by hand: a millisecond each, in the page's
light and dark colours, put into the page in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from digitcnn.analysis.metrics import percent
from digitcnn.options import Masks
from digitcnn.ui.curves import BLUE, ORANGE

HEIGHT, TOP, BOTTOM, LEFT, RIGHT = 290, 52, 38, 58, 14
LINE_WIDTH, BOX_WIDTH = 560, 340

NAMES: Mapping[Masks, str] = {"independent": "independent masks", "shared": "one mask per pass"}
COLOURS: Mapping[Masks, str] = {"independent": BLUE, "shared": ORANGE}

# Accuracies (fractions) of the passes so far, by the kind of their masks.
Accuracies = Mapping[Masks, Sequence[float]]

CHARTS_STYLE = """
.charts { display: flex; flex-wrap: wrap; gap: 12px; }
svg { flex: 1 1 300px; width: 100%; min-width: 0; font-family: inherit; }
text { font-size: 12px; fill: var(--body-text-color); }
.title { font-weight: 600; font-size: 13px; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: var(--border-color-primary); stroke-width: 1; fill: none; }
.reference { stroke: var(--body-text-color-subdued); stroke-width: 1.4; stroke-dasharray: 6 4;
  fill: none; }
.median { stroke: var(--body-text-color); stroke-width: 2; fill: none; }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
@media (max-width: 640px) { .charts.wide text { font-size: 15px; } }
"""


def line_chart(title: str, found: Accuracies, passes: int, without: float | None) -> str:
    """Accuracy per pass. title: of the digit set, such as ``mnist test``; empty before a run.

    passes: how many there will be. without: the accuracy without dropout, a fraction.
    """
    scale = _Scale(found, without)
    width = LINE_WIDTH - LEFT - RIGHT

    def x(number: float) -> float:
        return LEFT + width * (number - 0.5) / passes

    parts = [_heading("Accuracy per pass", title), scale.grid(LINE_WIDTH)]
    step = max(1, math.ceil(passes / 10))
    for tick in sorted({1, *range(step, passes + 1, step)}):
        # The first one would stand on the next where they are close.
        if tick == 1 or x(tick) - x(1) > 24:
            parts.append(_text(x(tick), HEIGHT - 20, str(tick), "middle"))
    parts.append(_text(LEFT + width / 2, HEIGHT - 4, "pass", "middle"))
    if without is not None:
        parts.append(_reference(scale.y(without), without))
    for masks, accuracies in found.items():
        points = [(x(i + 1), scale.y(value)) for i, value in enumerate(accuracies)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" stroke="{COLOURS[masks]}"/>')
        radius = 3.2 if passes <= 60 else 1.8
        parts += [
            _mark(masks, px, py, radius, f"{NAMES[masks]}, pass {i + 1}: {percent(accuracies[i])}")
            for i, (px, py) in enumerate(points)
        ]
    if not any(found.values()):
        parts.append(
            _text(
                LEFT + width / 2, HEIGHT / 2, "The accuracy of every pass appears here.", "middle"
            )
        )
    return _svg(
        LINE_WIDTH, f"Accuracy per pass on {title}" if title else "Accuracy per pass", parts
    )


def box_chart(title: str, found: Accuracies, without: float | None) -> str:
    """The same accuracies as box plots: quartiles, whiskers to 1.5 box heights, every pass."""
    scale = _Scale(found, without)
    parts = [_heading("All passes", title), scale.grid(BOX_WIDTH, legend=False)]
    if without is not None:
        y = scale.y(without)
        parts.append(f'<path class="reference" d="M{LEFT} {y:.1f}H{BOX_WIDTH - RIGHT}"/>')
    room = (BOX_WIDTH - LEFT - RIGHT) / max(1, len(found))
    for place, (masks, accuracies) in enumerate(found.items()):
        middle = LEFT + room * (place + 0.5)
        parts.append(_text(middle, HEIGHT - 20, NAMES[masks], "middle"))
        if accuracies:
            parts.append(_box(masks, accuracies, middle, scale))
    return _svg(BOX_WIDTH, f"Box plots of all passes on {title}" if title else "Box plots", parts)


class _Scale:
    """The vertical axis, in per cent: round limits and ticks around everything that is shown."""

    def __init__(self, found: Accuracies, without: float | None) -> None:
        values = [100 * value for accuracies in found.values() for value in accuracies]
        if without is not None:
            values.append(100 * without)
        low, high = min(values, default=0.0), max(values, default=100.0)
        # At least a fifth of a point: less would make noise of one image look like a storm.
        room = max(high - low, 0.2)
        power = 10 ** math.floor(math.log10(room / 4))
        self.step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= room / 4)
        self.low = max(0.0, math.floor(low / self.step) * self.step)
        self.high = min(100.0, math.ceil(high / self.step + 1e-9) * self.step)
        if self.high - self.low < self.step:
            self.low = max(0.0, self.high - self.step)
        if self.high - self.low < self.step:
            self.high = self.low + self.step

    def y(self, accuracy: float) -> float:
        """Where a fraction stands."""
        share = (100 * accuracy - self.low) / (self.high - self.low)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    def grid(self, width: int, legend: bool = True) -> str:
        count = round((self.high - self.low) / self.step)
        decimals = next(d for d in range(9) if abs(self.step * 10**d % 1 - 0.5) > 0.499)
        parts = []
        for index in range(count + 1):
            value = self.low + index * self.step
            y = self.y(value / 100)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{width - RIGHT}"/>')
            parts.append(_text(LEFT - 6, y + 4, f"{value:.{decimals}f}", "end"))
        parts.append(_text(LEFT - 6, TOP - 14, "%", "end"))
        if legend:
            x = LEFT
            for masks, name in NAMES.items():
                parts.append(_mark(masks, x + 5, TOP - 19, 4, ""))
                parts.append(_text(x + 14, TOP - 15, name, ""))
                x += 178
            parts.append(f'<path class="reference" d="M{x} {TOP - 19}h22"/>')
            parts.append(_text(x + 28, TOP - 15, "no dropout", ""))
        return "".join(parts)


def _box(masks: Masks, accuracies: Sequence[float], middle: float, scale: _Scale) -> str:
    values = np.sort(np.asarray(accuracies, dtype=float))
    first, median, third = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 1.5 * (third - first)
    low, high = values[values >= first - reach].min(), values[values <= third + reach].max()
    y = {name: scale.y(float(v)) for name, v in
         (("q1", first), ("q2", median), ("q3", third), ("low", low), ("high", high))}  # fmt: skip
    colour, half = COLOURS[masks], 34
    told = f"{NAMES[masks]}: median {percent(float(median))}, half of all passes from " + (
        f"{percent(float(first))} to {percent(float(third))}"
    )
    spread = [middle + 44 * (i / max(1, len(values) - 1) - 0.5) for i in range(len(values))]
    dots = "".join(
        _mark(masks, px, scale.y(value), 2.2, f"pass {i + 1}: {percent(value)}")
        for i, (px, value) in enumerate(zip(spread, accuracies, strict=True))
    )
    return (
        f'<g stroke="{colour}" stroke-width="1.6" fill="none">'
        f'<path d="M{middle} {y["q1"]:.1f}V{y["low"]:.1f}M{middle} {y["q3"]:.1f}V{y["high"]:.1f}'
        f'M{middle - 14} {y["low"]:.1f}h28M{middle - 14} {y["high"]:.1f}h28"/>'
        f'<rect x="{middle - half}" y="{y["q3"]:.1f}" width="{2 * half}" '
        f'height="{max(0.5, y["q1"] - y["q3"]):.1f}" fill="{colour}" fill-opacity="0.25">'
        f"<title>{escape(told)}</title></rect></g>"
        f'<path class="median" d="M{middle - half} {y["q2"]:.1f}h{2 * half}"/>{dots}'
    )


def _mark(masks: Masks, x: float, y: float, radius: float, told: str) -> str:
    """A dot, or a diamond for shared masks, so that colour is not alone."""
    title = f"<title>{escape(told)}</title>" if told else ""
    if masks == "independent":
        shape = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius}"'
        return f'<circle {shape} fill="{COLOURS[masks]}">{title}</circle>'
    r = 1.3 * radius
    path = f"M{x:.1f} {y - r:.1f}l{r} {r} {-r} {r} {-r} {-r}z"
    return f'<path d="{path}" fill="{COLOURS[masks]}">{title}</path>'


def _reference(y: float, accuracy: float) -> str:
    return (
        f'<path class="reference" d="M{LEFT} {y:.1f}H{LINE_WIDTH - RIGHT}">'
        f"<title>without dropout: {percent(accuracy)}</title></path>"
    )


def _heading(what: str, title: str) -> str:
    return _text(LEFT, 16, f"{what}, {title}" if title else what, "title")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _svg(width: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def chart(svg: str, wide: bool = False) -> str:
    """An SVG on the page. wide: needs larger letters where the page is narrow."""
    return f'<div class="charts{" wide" * wide}">{svg}</div>'
