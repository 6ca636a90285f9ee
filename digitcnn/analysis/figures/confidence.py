"""Figure 8: calibration, whether the model's confidence matches its accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from digitcnn.analysis.calibration import ReliabilityBin, expected_calibration_error, reliability
from digitcnn.analysis.figures import style
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.predictions import Predictions
from digitcnn.intervals import percent

# Places in style.COLOURS, MARKERS and HATCHES.
BEFORE, AFTER = 1, 0
STEPS = 1000

# Place in the style's colours, label and bins of each curve.
Tables = Sequence[tuple[int, str, Sequence[ReliabilityBin]]]


def confidence_analysis(findings: Findings) -> Figure:
    """Draw a row per set: reliability, images per bin, confidence of right and wrong predictions.

    Reliability and counts are before and after calibration, where the model has a temperature.
    """
    predictions, temperature = findings.predictions, findings.temperature
    calibration = (
        f"temperature {temperature:.2f}, fitted on held-out images of the training set; it may not "
        "suit other sets"
        if findings.calibrated
        else "not calibrated (no temperature in this file)"
    )
    figure = style.sheet(
        "Calibration",
        f"{findings.model}\n{calibration}; ECE is the expected calibration error",
        0.9 + 3.5 * len(predictions),
    )
    panels = figure.subplots(len(predictions), 3, squeeze=False)
    for row, one, evaluation in zip(panels, predictions, findings.evaluations, strict=True):
        before = reliability(one.logits, one.labels)
        tables: Tables = [(BEFORE, "Uncalibrated", before)]
        if findings.calibrated:
            after = reliability(one.logits, one.labels, temperature)
            tables = [(BEFORE, "Before calibration", before), (AFTER, "After calibration", after)]
        errors = [percent(expected_calibration_error(table)) for _, _, table in tables]
        label = "{} before, {} after calibration" if findings.calibrated else "{} uncalibrated"
        title = f"{evaluation.title}: {evaluation.accuracy_text}\nECE {label.format(*errors)}"
        _reliability(row[0], tables, title)
        _counts(row[1], tables, len(one))
        _right_and_wrong(row[2], one, evaluation.temperature)
    return figure


def _reliability(axes: Axes, tables: Tables, title: str) -> None:
    style.dress(axes, x="Confidence (%)", y="Accuracy (%)", title=title, grid="both")
    axes.plot([0, 100], [0, 100], color=style.MUTED, linewidth=1, linestyle=":")
    for look, label, table in tables:
        filled = [each for each in table if each.count]
        points = [100 * each.accuracy for each in filled]
        bounds = [each.interval for each in filled]
        axes.errorbar(
            [100 * each.confidence for each in filled], points,
            yerr=style.error_bars(points, [(100 * low, 100 * high) for low, high in bounds]),
            color=style.COLOURS[look], marker=style.MARKERS[look], markersize=5,
            linestyle=("-", "--")[look], linewidth=1.4, elinewidth=0.9, capsize=2,
            label=label,
        )  # fmt: skip
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 102)
    style.legend(axes, "lower right")


def _counts(axes: Axes, tables: Tables, n: int) -> None:
    style.dress(
        axes, x="Confidence (%)", y="Images per bin", title=f"Distribution of {n:,} images\n"
    )
    width = 100 / len(tables[0][2]) / len(tables)
    for place, (look, label, table) in enumerate(tables):
        axes.bar(
            [100 * each.low + (place + 0.5) * width for each in table],
            [each.count for each in table],
            width=0.92 * width, color=style.COLOURS[look], hatch=style.HATCHES[look],
            edgecolor=style.PAPER, linewidth=0.4, label=label,
        )  # fmt: skip
    axes.set_yscale("log")
    # The default writes powers as formulas, whose parser is not thread-safe.
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(0.7, 30 * n)
    axes.set_xlim(0, 101)
    style.legend(axes, "upper left")


def _right_and_wrong(axes: Axes, predictions: Predictions, temperature: float) -> None:
    title = "Right and wrong predictions\n"
    style.dress(axes, x="Confidence (%)", y="Cumulative share (%)", title=title)
    confidence = 100 * predictions.probabilities(temperature).max(dim=1).values.numpy()
    right = predictions.right.numpy()
    for look, label, chosen in ((0, "Right", right), (1, "Wrong", ~right)):
        values = np.sort(confidence[chosen])
        if len(values):
            # At most as many steps as the figure has room for.
            ranks = np.unique(np.linspace(0, len(values) - 1, STEPS).round().astype(int))
            axes.step(
                np.concatenate([[0], values[ranks], [100]]),
                np.concatenate([[0], (ranks + 1) / len(values), [1]]) * 100,
                where="post", color=style.COLOURS[look], linestyle=("-", "--")[look],
                linewidth=1.8, label=f"{label}: {len(values):,} images",
            )  # fmt: skip
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 102)
    style.legend(axes, "upper left")
