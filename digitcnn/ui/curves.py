"""The training's curves as one SVG: drawn anew every second, so it must be cheap and not flicker.

A picture made by matplotlib takes a tenth of a second of the processor that trains; these few
lines of SVG take a millisecond, follow the page's light and dark colours, and are put into the
page in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from digitcnn.training.view import TrainingView

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 36
# Half the width of a digit, where letters are largest: on a phone.
HALF_A_LETTER = 4.5

# Okabe and Ito's colours: told apart by colour-blind readers, on light and on dark.
BLUE, ORANGE = "#3b8fd6", "#e08a00"

Points = Sequence[tuple[float, float]]


def curves(view: TrainingView) -> str:
    """Loss per step and accuracy per epoch of what ``view`` shows, side by side."""
    note = ""
    if view.config is not None and view.config.augmentation:
        note = (
            '<p class="note">Training images are changed at random, which makes them harder: '
            "the held-out images, which nobody changes, may be read better.</p>"
        )
    return f'<div class="curves">{_loss_chart(view)}{_accuracy_chart(view)}{note}</div>'


def _loss_chart(view: TrainingView) -> str:
    progress, curve = view.progress, view.losses
    points = []
    steps = 1
    if progress is not None:
        steps = progress.steps
        seen = len(curve.means) * curve.group + len(curve.rest)
        first = progress.step - seen
        # Of the epochs before a resume only their means are left.
        middles = [((r.epoch - 0.5) * steps / progress.epochs, r.loss) for r in view.history]
        points = [(step, loss) for step, loss in middles if step < first]
        points += [(first + (i + 1) * curve.group, loss) for i, loss in enumerate(curve.means)]
    finite = [loss for _, loss in points if loss > 0]
    low, high = _decades(finite)
    return chart(
        "Training loss per step (nats)",
        "step",
        (0, steps),
        [(round(steps * share), f"{round(steps * share):,}") for share in _QUARTERS if points],
        (math.log10(low), math.log10(high)),
        [(math.log10(v), f"{v:g}") for v in _log_ticks(low, high)],
        [("training", BLUE, [(x, math.log10(max(y, low))) for x, y in points], False)],
        "The loss of every step appears here.",
    )


def _accuracy_chart(view: TrainingView) -> str:
    epochs = view.config.epochs if view.config else 1
    held_out = [(r.epoch, 100 * r.accuracy) for r in view.history]
    training = [(r.epoch, 100 * r.training_accuracy) for r in view.history]
    lowest = min([y for _, y in held_out + training], default=90.0)
    low = max(0.0, math.floor(lowest / 2 - 0.25) * 2)
    step = max(1, math.ceil(epochs / 8))
    ticks = sorted({1, *range(step, epochs + 1, step)})
    return chart(
        "Accuracy per epoch (%)",
        "epoch",
        (min(1, epochs - 1), max(epochs, 2) if epochs > 1 else 1),
        [(tick, str(tick)) for tick in ticks if view.config],
        (low, 100),
        [(low + (100 - low) * share, f"{low + (100 - low) * share:g}") for share in _QUARTERS],
        [
            ("held-out images", BLUE, held_out, True),
            ("changed training images", ORANGE, training, True),
        ],
        "The accuracy of every finished epoch appears here.",
    )


_QUARTERS = (0, 0.25, 0.5, 0.75, 1)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis, on half decades, around ``values``."""
    if not values:
        return 0.01, 10.0
    low = 10 ** (math.floor(2 * math.log10(min(values))) / 2)
    high = 10 ** (math.ceil(2 * math.log10(max(values))) / 2)
    return low, max(high, low * 10)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 3)]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def chart(
    title: str,
    x_label: str,
    x_range: tuple[float, float],
    x_ticks: Sequence[tuple[float, str]],
    y_range: tuple[float, float],
    y_ticks: Sequence[tuple[float, str]],
    series: Sequence[tuple[str, str, Points, bool]],
    empty: str,
) -> str:
    """One chart. ``series``: name, colour, points, whether each point gets a dot."""
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + inner_width * (value - x_range[0]) / ((x_range[1] - x_range[0]) or 1)

    def y(value: float) -> float:
        return TOP + inner_height * (1 - (value - y_range[0]) / ((y_range[1] - y_range[0]) or 1))

    parts = [f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>']
    for value, text in y_ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" class="end">{text}</text>')
    for value, text in x_ticks:
        # One at the right end that would be cut off stands before it.
        at, kind = x(value), "middle"
        if at + HALF_A_LETTER * len(text) > WIDTH:
            at, kind = WIDTH, "end"
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 18}" class="{kind}">{text}</text>')
    middle = LEFT + inner_width / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 3}" class="middle">{escape(x_label)}</text>')
    names = [name for name, _, points, _ in series if points]
    for name, colour, points, dotted in series:
        path = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" stroke="{colour}"/>')
        if dotted:
            parts += [
                f'<circle cx="{x(px):.1f}" cy="{y(py):.1f}" r="3" fill="{colour}">'
                f"<title>{escape(name)}, {x_label} {px:g}: {py:.2f}</title></circle>"
                for px, py in points
            ]
    if len(series) > 1:
        for row, (name, colour, _, _) in enumerate(series):
            line = HEIGHT - BOTTOM - 10 - 16 * (len(series) - 1 - row)
            parts.append(f'<circle cx="{WIDTH - 220}" cy="{line - 4}" r="4" fill="{colour}"/>')
            parts.append(f'<text x="{WIDTH - 210}" y="{line}">{escape(name)}</text>')
    if not names:
        parts.append(
            f'<text x="{middle}" y="{TOP + inner_height / 2}" class="middle">{escape(empty)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
