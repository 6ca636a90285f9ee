"""Figures 4 and 7: accuracies on several digit sets, and what is taken for what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from digitcnn.analysis.figures import style
from digitcnn.analysis.metrics import Evaluation, gap, gap_text
from digitcnn.digits.digit_set import CLASSES
from digitcnn.intervals import wilson_interval


def cross_dataset_evaluation(evaluations: Sequence[Evaluation], *, model: str) -> Figure:
    """Accuracy on each set with its 95% interval, and the share of errors per digit.

    Errors, not accuracies, are the bars: a bar has to start at zero, and from there 99% and 98%
    look alike. The gap of every further set to the first is in the heading.
    """
    gaps = [gap(evaluations[0], other) for other in evaluations[1:]]
    lines = [model] + [f"{g.first} minus {g.second}: {gap_text(g)}" for g in gaps]
    height = 4.6 + 0.4 * len(evaluations) + 0.21 * len(lines)
    figure = style.sheet("Accuracy across digit sets", "\n".join(lines), 10, height)
    grid = figure.add_gridspec(2, 1, height_ratios=(0.55 + 0.34 * len(evaluations), 3.1))
    accuracy_rows(figure.add_subplot(grid[0]), evaluations, "Test accuracy, with 95% interval")
    bars = figure.add_subplot(grid[1])
    style.dress(
        bars, x="true digit", y="wrong answers (%)", title="Errors per digit, with 95% interval"
    )
    width = 0.8 / len(evaluations)
    for index, found in enumerate(evaluations):
        shown = [row for row in found.per_digit if row.support]
        places = [row.digit + (index - (len(evaluations) - 1) / 2) * width for row in shown]
        wrong = [round((1 - row.recall) * row.support) for row in shown]
        shares = [100 * w / row.support for w, row in zip(wrong, shown, strict=True)]
        bounds = [wilson_interval(w, row.support) for w, row in zip(wrong, shown, strict=True)]
        bars.bar(
            places, shares, width=width * 0.94, color=style.COLOURS[index % 6],
            hatch=style.HATCHES[index % 6], edgecolor=style.PAPER, linewidth=0.6,
            label=found.title,
        )  # fmt: skip
        bars.errorbar(
            places, shares,
            yerr=[
                [max(0.0, s - 100 * low) for s, (low, _) in zip(shares, bounds, strict=True)],
                [max(0.0, 100 * high - s) for s, (_, high) in zip(shares, bounds, strict=True)],
            ],
            fmt="none", ecolor=style.INK, elinewidth=1, capsize=2,
        )  # fmt: skip
    bars.set_xticks(range(CLASSES))
    bars.set_xlim(-0.6, CLASSES - 0.4)
    bars.set_ylim(bottom=0)
    style.percent_axis(bars.yaxis)
    bars.set_xticks(range(CLASSES))
    style.legend(bars, columns=min(3, len(evaluations)))
    return figure


def accuracy_rows(axes: Axes, evaluations: Sequence[Evaluation], title: str) -> None:
    """A row per set: a mark with its interval, and the numbers beside it."""
    style.dress(axes, x="accuracy (%)", title=title, grid="x")
    if not evaluations:
        style.say(axes, "No test set was evaluated.")
        return
    for row, found in enumerate(evaluations):
        value = 100 * found.accuracy
        axes.errorbar(
            value, row,
            xerr=style.whiskers(value, 100 * found.accuracy_low, 100 * found.accuracy_high),
            fmt=style.MARKERS[row % 6], color=style.COLOURS[row % 6], markersize=7, capsize=4,
            elinewidth=2,
        )  # fmt: skip
    axes.set_yticks(range(len(evaluations)), [found.title for found in evaluations])
    axes.tick_params(axis="y", labelsize=style.LABEL)
    axes.set_ylim(len(evaluations) - 0.5, -0.5)
    low, high = _limits(evaluations)
    axes.set_xlim(low, high)
    for row, found in enumerate(evaluations):
        # The numbers stand on the side of their mark where there is more room.
        left = 100 * found.accuracy > (low + high) / 2
        axes.annotate(
            f"{found.accuracy_text}, {found.errors:,} of {found.n:,} wrong",
            (100 * (found.accuracy_low if left else found.accuracy_high), row),
            xytext=(-12 if left else 12, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=style.LABEL, color=style.INK,
            bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    style.percent_axis(axes.xaxis)


def _limits(evaluations: Sequence[Evaluation]) -> tuple[float, float]:
    """Limits in per cent that hold all intervals, none of which fills more than a sixth."""
    low = min(found.accuracy_low for found in evaluations)
    high = max(found.accuracy_high for found in evaluations)
    widest = max(found.accuracy_high - found.accuracy_low for found in evaluations)
    span = 1.05 * max(high - low, 6 * widest)
    left = max(0.0, high + 0.03 * span - 1.06 * span)
    return 100 * left, 100 * (left + 1.06 * span)


def confusion_matrices(evaluations: Sequence[Evaluation], *, model: str) -> Figure:
    """Counts per true and predicted digit of each set, errors coloured, the diagonal muted.

    Colour is the share of the true digit's images, on one scale for all sets whose square root is
    even, so that rare confusions are seen beside frequent ones.
    """
    columns = min(2, len(evaluations))
    rows = math.ceil(len(evaluations) / columns)
    figure = style.sheet("Confusion matrix", model, 0.9 + 5.0 * columns, 0.8 + 5.4 * rows)
    shares = [_error_shares(found) for found in evaluations]
    largest = max(float(np.nanmax(share, initial=0)) for share in shares)
    norm = PowerNorm(0.5, 0, largest or 1.0)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[len(evaluations) :]:
        unused.remove()
    panels = panels[: len(evaluations)]
    for axes, found, share in zip(panels, evaluations, shares, strict=True):
        axes.imshow(_DIAGONAL, cmap=_MUTED_CELL)
        image = axes.imshow(share, cmap="YlOrRd", norm=norm)
        style.dress(axes, x="predicted digit", y="true digit", grid="")
        style.heading(
            axes,
            f"{found.title}: {found.errors:,} of {found.n:,} wrong\n{found.accuracy_text}",
        )
        axes.set_xticks(range(CLASSES))
        axes.set_yticks(range(CLASSES))
        axes.spines[:].set_visible(False)
        lines = np.arange(CLASSES + 1) - 0.5
        axes.hlines(lines, -0.5, CLASSES - 0.5, color=style.GRID, linewidth=0.8)
        axes.vlines(lines, -0.5, CLASSES - 0.5, color=style.GRID, linewidth=0.8)
        axes.tick_params(length=0)
        _write_counts(axes, found, share, norm)
    style.colour_bar(figure, image, panels, "share of the true digit's images (%)")
    return figure


_DIAGONAL = np.where(np.eye(CLASSES, dtype=bool), 1.0, np.nan)
_MUTED_CELL = ListedColormap(["#e7e6e0"])


def _error_shares(found: Evaluation) -> NDArray[np.float64]:
    """Off-diagonal counts in per cent of their row, NaN on the diagonal and for empty rows."""
    counts = np.array(found.confusion, dtype=np.float64)
    support = counts.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.full_like(counts, np.nan)
    np.divide(100 * counts, support, out=shares, where=support > 0)
    np.fill_diagonal(shares, np.nan)
    shares[counts == 0] = np.nan
    return shares


def _write_counts(axes: Axes, found: Evaluation, shares: np.ndarray, norm: PowerNorm) -> None:
    darkness = norm(np.nan_to_num(shares))
    for true, row in enumerate(found.confusion):
        for predicted, count in enumerate(row):
            if count:
                diagonal = true == predicted
                dark = darkness[true, predicted] > 0.6
                style.write(
                    axes, predicted, true, f"{count:,}", ha="center", va="center",
                    fontsize=style.SMALL - (1 if count > 999 else 0),
                    color=style.MUTED if diagonal else "white" if dark else style.INK,
                )  # fmt: skip
