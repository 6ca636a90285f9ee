"""Figures 4 and 7, accuracies on several sets and confusion matrices, and the gap's waterfall."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from digitcnn.analysis.figures import style
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.gap import Waterfall
from digitcnn.analysis.metrics import Evaluation, gap, gap_text
from digitcnn.digits.digit_set import CLASSES

Shares = NDArray[np.float64]


def cross_dataset_evaluation(findings: Findings) -> Figure:
    """Draw the accuracy on each set with its 95% interval, and the error rate per digit.

    The bars are errors and not accuracies: a bar has to start at zero, and from there 99% and 98%
    look alike. The gap of every further set to the first is in the heading.
    """
    evaluations = findings.evaluations
    gaps = [gap(evaluations[0], other) for other in evaluations[1:]]
    lines = [findings.model] + [f"{g.first} minus {g.second}: {gap_text(g)}" for g in gaps]
    height = 4.6 + 0.4 * len(evaluations) + 0.21 * len(lines)
    figure = style.sheet("Accuracy across digit sets", "\n".join(lines), height)
    grid = figure.add_gridspec(2, 1, height_ratios=(0.55 + 0.34 * len(evaluations), 3.1))
    accuracy_rows(figure.add_subplot(grid[0]), evaluations, "Test accuracy, with 95% interval")
    bars = figure.add_subplot(grid[1])
    style.dress(
        bars, x="True digit", y="Error rate (%)", title="Errors per digit, with 95% interval"
    )
    width = 0.8 / len(evaluations)
    for index, one in enumerate(evaluations):
        shown = [row for row in one.per_digit if row.support]
        places = [row.digit + (index - (len(evaluations) - 1) / 2) * width for row in shown]
        rates = [100 * row.errors / row.support for row in shown]
        bounds = [(100 * low, 100 * high) for low, high in (row.error_interval for row in shown)]
        bars.bar(
            places, rates, width=width * 0.94, color=style.COLOURS[index % 6],
            hatch=style.HATCHES[index % 6], edgecolor=style.PAPER, linewidth=0.6,
            label=one.title,
        )  # fmt: skip
        bars.errorbar(
            places, rates,
            yerr=style.error_bars(rates, bounds),
            fmt="none", ecolor=style.INK, elinewidth=1, capsize=2,
        )  # fmt: skip
    bars.set_xlim(-0.6, CLASSES - 0.4)
    bars.set_ylim(bottom=0)
    style.percent_axis(bars.yaxis)
    bars.set_xticks(range(CLASSES))
    style.legend(bars, columns=min(3, len(evaluations)))
    return figure


def accuracy_rows(axes: Axes, evaluations: Sequence[Evaluation], title: str) -> None:
    """Draw a row per set: a marker with its interval, and the numbers beside it."""
    style.dress(axes, x="Accuracy (%)", title=title, grid="x")
    for row, one in enumerate(evaluations):
        value = 100 * one.accuracy
        axes.errorbar(
            value, row,
            xerr=style.error_bars([value], [(100 * one.accuracy_low, 100 * one.accuracy_high)]),
            fmt=style.MARKERS[row % 6], color=style.COLOURS[row % 6], markersize=7, capsize=4,
            elinewidth=2,
        )  # fmt: skip
    axes.set_yticks(range(len(evaluations)), [one.title for one in evaluations])
    axes.tick_params(axis="y", labelsize=style.LABEL)
    axes.set_ylim(len(evaluations) - 0.5, -0.5)
    low, high = _limits(evaluations)
    axes.set_xlim(low, high)
    for row, one in enumerate(evaluations):
        # The numbers go on the side of the marker that has more room.
        left = 100 * one.accuracy > (low + high) / 2
        axes.annotate(
            f"{one.accuracy_text}, {one.errors:,} of {one.n:,} wrong",
            (100 * (one.accuracy_low if left else one.accuracy_high), row),
            xytext=(-12 if left else 12, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=style.LABEL, color=style.INK,
            bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    style.percent_axis(axes.xaxis)


def _limits(evaluations: Sequence[Evaluation]) -> tuple[float, float]:
    """Return limits in percent around all intervals, none of which fills more than a sixth."""
    low = min(one.accuracy_low for one in evaluations)
    high = max(one.accuracy_high for one in evaluations)
    widest = max(one.accuracy_high - one.accuracy_low for one in evaluations)
    span = 1.05 * max(high - low, 6 * widest)
    left = max(0.0, high + 0.03 * span - 1.06 * span)
    return 100 * left, 100 * (left + 1.06 * span)


def confusion_matrices(findings: Findings) -> Figure:
    """Draw the counts per true and predicted digit of each set, with coloured errors.

    Colour is the share of the true digit's images, on one square-root scale for all sets, so that
    rare confusions are visible beside frequent ones.
    """
    evaluations = findings.evaluations
    columns = min(2, len(evaluations))
    rows = math.ceil(len(evaluations) / columns)
    figure = style.sheet("Confusion matrix", findings.model, 0.8 + (5.6, 4.5)[columns - 1] * rows)
    shares = [_error_shares(one) for one in evaluations]
    largest = max(float(np.nanmax(share, initial=0)) for share in shares)
    norm = PowerNorm(0.5, 0, largest or 1.0)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[len(evaluations) :]:
        unused.remove()
    panels = panels[: len(evaluations)]
    for axes, one, share in zip(panels, evaluations, shares, strict=True):
        axes.imshow(_DIAGONAL, cmap=_MUTED_CELL)
        image = axes.imshow(share, cmap="YlOrRd", norm=norm)
        style.dress(axes, x="Predicted digit", y="True digit", grid="")
        style.heading(axes, f"{one.title}: {one.errors:,} of {one.n:,} wrong\n{one.accuracy_text}")
        axes.set_xticks(range(CLASSES))
        axes.set_yticks(range(CLASSES))
        axes.spines[:].set_visible(False)
        lines = np.arange(CLASSES + 1) - 0.5
        axes.hlines(lines, -0.5, CLASSES - 0.5, color=style.GRID, linewidth=0.8)
        axes.vlines(lines, -0.5, CLASSES - 0.5, color=style.GRID, linewidth=0.8)
        axes.tick_params(length=0)
        _write_counts(axes, one, share, norm)
    style.colour_bar(figure, image, panels, "Share of the true digit's images (%)")
    return figure


_DIAGONAL = np.where(np.eye(CLASSES, dtype=bool), 1.0, np.nan)
_MUTED_CELL = ListedColormap(["#e8eaed"])


def _error_shares(evaluation: Evaluation) -> Shares:
    """Return off-diagonal counts in percent of their row; NaN on the diagonal and where 0."""
    counts = np.array(evaluation.confusion, dtype=np.float64)
    support = counts.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.full_like(counts, np.nan)
    np.divide(100 * counts, support, out=shares, where=support > 0)
    np.fill_diagonal(shares, np.nan)
    shares[counts == 0] = np.nan
    return shares


def _write_counts(axes: Axes, evaluation: Evaluation, shares: Shares, norm: PowerNorm) -> None:
    darkness = norm(np.nan_to_num(shares))
    for true, row in enumerate(evaluation.confusion):
        for predicted, count in enumerate(row):
            if count:
                diagonal = true == predicted
                dark = darkness[true, predicted] > 0.6
                style.write(
                    axes, predicted, true, f"{count:,}", ha="center", va="center",
                    fontsize=style.SMALL - (1 if count > 999 else 0),
                    color=style.MUTED if diagonal else "white" if dark else style.INK,
                )  # fmt: skip


def gap_waterfall(waterfall: Waterfall, *, model: str) -> Figure:
    """Draw the total gap, what framing and near duplicates explain, and what remains."""
    steps = (waterfall.reference, waterfall.as_is, waterfall.framed, waterfall.without_duplicates)
    lines = [model, *(f"{step.title}: {step.accuracy_text}, {step.n:,} images" for step in steps)]
    figure = style.sheet(
        f"What causes the gap between {waterfall.reference.title} and {waterfall.as_is.title}",
        "\n".join(lines),
        5.6,
    )
    axes = figure.add_subplot()
    style.dress(axes, y="Gap (percentage points)")
    total, remains = waterfall.total, waterfall.remains
    after_framing = total.points - waterfall.framing
    # Bottom and top of each bar, its colour, and its label.
    bars = (
        (0.0, total.points, 0, f"Total gap\n{gap_text(total)}"),
        (after_framing, total.points, 2, f"Framing\n{waterfall.framing:+.2f} points"),
        (
            remains.points,
            after_framing,
            4,
            f"Near duplicates\n({waterfall.duplicates:,} images)\n"
            f"{waterfall.near_duplicates:+.2f} points",
        ),
        (0.0, remains.points, 1, f"Remaining: writers,\nlabels, other\n{gap_text(remains)}"),
    )
    for place, (bottom, top, colour, _) in enumerate(bars):
        axes.bar(
            place, top - bottom, bottom=bottom, width=0.62, color=style.COLOURS[colour],
            hatch=style.HATCHES[colour], edgecolor=style.PAPER, linewidth=0.5,
        )  # fmt: skip
    for place, end in ((0, total), (3, remains)):
        bar = style.error_bars([end.points], [(end.low, end.high)])
        axes.errorbar(
            place, end.points, yerr=bar, fmt="none", ecolor=style.INK, elinewidth=1.4, capsize=5,
        )  # fmt: skip
    for place, level in enumerate((total.points, after_framing, remains.points)):
        axes.plot([place + 0.31, place + 0.69], [level, level], color=style.MUTED, linewidth=1)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xticks(range(4), [label for _, _, _, label in bars])
    axes.tick_params(axis="x", labelsize=style.LABEL - 0.5, length=0)
    return figure
