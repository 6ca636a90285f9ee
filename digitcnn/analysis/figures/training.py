"""Figure 1: the training curves, and the test accuracies at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from digitcnn.analysis.figures import style
from digitcnn.analysis.figures.evaluation import accuracy_rows
from digitcnn.analysis.findings import Findings
from digitcnn.digits.names import listed
from digitcnn.intervals import wilson_interval

History = Sequence[Mapping[str, Any]]


def training_history(findings: Findings) -> Figure:
    """Draw loss and accuracy per epoch, and below them the final test accuracies.

    A record of the history has ``epoch``, ``loss`` (training), ``accuracy`` (held-out, fraction);
    where known ``held_out_loss``, ``training_accuracy`` and ``held_out`` (how many images, for the
    interval). Without a history the figure says so.
    """
    history, evaluations = findings.history, findings.evaluations
    height = 5.0 + 0.34 * len(evaluations)
    trained_on = f"\ntrained on {listed(findings.trained_on)}" if findings.trained_on else ""
    figure = style.sheet("Training history", f"{findings.model}{trained_on}", height)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.1, 0.55 + 0.34 * len(evaluations)))
    loss, accuracy = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    style.dress(loss, x="Epoch", y="Loss (nats per image)", title="Loss")
    style.dress(accuracy, x="Epoch", y="Accuracy (%)", title="Accuracy")
    if history:
        _curve(loss, history, "loss", "Training images (as trained on)", 1, 1)
        _curve(loss, history, "held_out_loss", "Held-out images", 0, 1)
        _log_if_wide(loss, history)
        _curve(accuracy, history, "training_accuracy", "Training images (as trained on)", 1)
        _held_out_band(accuracy, history)
        _curve(accuracy, history, "accuracy", "Held-out images (95% band)", 0)
        style.percent_axis(accuracy.yaxis)
        for axes in (loss, accuracy):
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
            if len(history) == 1:
                axes.set_xlim(history[0]["epoch"] - 1, history[0]["epoch"] + 1)
        style.legend(loss, "upper right")
        style.legend(accuracy, "lower right")
    else:
        for axes in (loss, accuracy):
            style.note(axes, "This file has no training history.")
    accuracy_rows(
        figure.add_subplot(grid[1, :]), evaluations, "Final test accuracy, with 95% interval"
    )
    return figure


def _values(history: History, name: str) -> list[float]:
    """Return one value per epoch, NaN where the record lacks it."""
    return [math.nan if row.get(name) is None else float(row[name]) for row in history]


def _curve(
    axes: Axes, history: History, name: str, label: str, look: int, scale: float = 100
) -> None:
    values = [scale * value for value in _values(history, name)]
    if all(math.isnan(value) for value in values):
        return
    axes.plot(
        [row["epoch"] for row in history], values,
        color=style.COLOURS[look], marker=style.MARKERS[look], markersize=4.5,
        markevery=max(1, len(values) // 25), linestyle=("-", "--")[look], linewidth=1.8,
        label=label,
    )  # fmt: skip


def _held_out_band(axes: Axes, history: History) -> None:
    rows = [row for row in history if row.get("held_out") and row.get("accuracy") is not None]
    if not rows:
        return
    bands = [wilson_interval(round(r["accuracy"] * r["held_out"]), r["held_out"]) for r in rows]
    axes.fill_between(
        [row["epoch"] for row in rows],
        [100 * low for low, _ in bands],
        [100 * high for _, high in bands],
        color=style.COLOURS[0], alpha=0.18, linewidth=0,
    )  # fmt: skip


def _log_if_wide(axes: Axes, history: History) -> None:
    """Use a logarithmic axis where the losses span more than a factor of five."""
    values = [v for name in ("loss", "held_out_loss") for v in _values(history, name)]
    values = [value for value in values if value > 0]
    if values and max(values) > 5 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        wide = max(values) > 50 * min(values)
        axes.yaxis.set_minor_formatter(
            FuncFormatter(
                lambda v, _: "" if wide or f"{v:g}".lstrip("0.")[0] not in "25" else f"{v:g}"
            )
        )
