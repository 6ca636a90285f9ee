"""Figure 8: how far the network's confidence can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from digitcnn.analysis.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability,
)
from digitcnn.analysis.figures import style
from digitcnn.analysis.metrics import evaluate, percent
from digitcnn.analysis.predictions import Predictions
from digitcnn.intervals import wilson_interval

BEFORE, AFTER = 1, 0  # looks
STEPS = 1000


def confidence_analysis(
    predictions: Sequence[Predictions], *, model: str, temperature: float | None
) -> Figure:
    """A row per set: reliability and counts before and after temperature, right against wrong.

    temperature: None for a file without one; then there is nothing to show after, and it is said.
    """
    told = (
        "no temperature in this file: confidence is shown as the network gives it"
        if temperature is None
        else f"temperature {temperature:.2f}, fitted on held-out images of the training's own set; "
        "it promises nothing elsewhere"
    )
    figure = style.sheet(
        "Confidence against accuracy",
        f"{model}\n{told}; ECE is the expected calibration error",
        12.5,
        0.9 + 3.7 * len(predictions),
    )
    panels = figure.subplots(len(predictions), 3, squeeze=False)
    for row, found in zip(panels, predictions, strict=True):
        plain = reliability(found.logits, found.labels)
        if temperature is None:
            tables = [(BEFORE, "without temperature", plain)]
        else:
            after = reliability(found.logits, found.labels, temperature)
            tables = [(BEFORE, "before temperature", plain), (AFTER, "after temperature", after)]
        evaluation = evaluate(found, temperature or 1.0)
        errors = ", ".join(
            f"{percent(expected_calibration_error(table))} {label.split()[0]}"
            for _, label, table in tables
        )
        title = f"{evaluation.title}: {evaluation.accuracy_text}\nECE {errors} temperature"
        _reliability(row[0], tables, title)
        _counts(row[1], tables, len(found))
        _right_and_wrong(row[2], found, temperature or 1.0)
    return figure


def _reliability(
    axes: Axes, tables: Sequence[tuple[int, str, Sequence[ReliabilityBin]]], title: str
) -> None:
    style.dress(axes, x="confidence (%)", y="accuracy (%)", title=title, grid="both")
    axes.plot([0, 100], [0, 100], color=style.MUTED, linewidth=1, linestyle=":")
    for look, label, table in tables:
        filled = [found for found in table if found.count]
        points = [100 * found.accuracy for found in filled]
        bounds = [wilson_interval(round(f.accuracy * f.count), f.count) for f in filled]
        axes.errorbar(
            [100 * found.confidence for found in filled], points,
            yerr=[
                [max(0.0, p - 100 * low) for p, (low, _) in zip(points, bounds, strict=True)],
                [max(0.0, 100 * high - p) for p, (_, high) in zip(points, bounds, strict=True)],
            ],
            color=style.COLOURS[look], marker=style.MARKERS[look], markersize=5,
            linestyle=("-", "--")[look], linewidth=1.4, elinewidth=0.9, capsize=2,
            label=label,
        )  # fmt: skip
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 102)
    style.legend(axes, "upper left")


def _counts(
    axes: Axes, tables: Sequence[tuple[int, str, Sequence[ReliabilityBin]]], n: int
) -> None:
    style.dress(axes, x="confidence (%)", y="images per bin", title=f"How many of {n:,}\n")
    width = 100 / len(tables[0][2]) / len(tables)
    for place, (look, label, table) in enumerate(tables):
        axes.bar(
            [100 * found.low + (place + 0.5) * width for found in table],
            [found.count for found in table],
            width=0.92 * width, color=style.COLOURS[look], hatch=style.HATCHES[look],
            edgecolor=style.PAPER, linewidth=0.4, label=label,
        )  # fmt: skip
    axes.set_yscale("log")
    # The default would write powers as formulas, whose parser is shared by all threads.
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(0.7, 30 * n)
    axes.set_xlim(0, 101)
    style.legend(axes, "upper left")


def _right_and_wrong(axes: Axes, found: Predictions, temperature: float) -> None:
    style.dress(
        axes, x="confidence (%)", y="share with at most this confidence (%)",
        title="Confidence of right and wrong answers\n",
    )  # fmt: skip
    confidence = 100 * found.probabilities(temperature).max(dim=1).values.numpy()
    right = found.right.numpy()
    for look, label, chosen in ((0, "right", right), (1, "wrong", ~right)):
        values = np.sort(confidence[chosen])
        if len(values):
            # Of many thousand steps, as many as the sheet has room for.
            ranks = np.unique(np.linspace(0, len(values) - 1, STEPS).round().astype(int))
            axes.step(
                np.concatenate([[0], values[ranks], [100]]),
                np.concatenate([[0], (ranks + 1) / len(values), [1]]) * 100,
                where="post", color=style.COLOURS[look], linestyle=("-", "--")[look],
                linewidth=1.8, label=f"{label}: {len(values):,} answers",
            )  # fmt: skip
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 102)
    style.legend(axes, "upper left")
