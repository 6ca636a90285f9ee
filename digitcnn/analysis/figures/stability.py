"""Figure 9: accuracy over passes with dropout on."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from digitcnn.analysis.figures import style
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.stability import KINDS, Stability, stability_text
from digitcnn.intervals import accuracy_text


def stability_test(findings: Findings) -> Figure:
    """Draw the accuracy per pass as lines and as box plots, for each mask type."""
    results = findings.stabilities
    figure = style.sheet(
        "Stability under dropout",
        "\n".join([findings.model, *map(stability_text, results)]),
        5.0 + 0.21 * len(results),
    )
    lines, boxes = figure.subplots(1, 2, width_ratios=(2.2, 1), sharey=True)
    _draw_lines(lines, results)
    _without_dropout(lines, results[0])
    style.legend(lines)
    _draw_boxes(boxes, results)
    return figure


def _draw_lines(axes: Axes, results: Sequence[Stability]) -> None:
    style.dress(axes, x="Pass", y="Accuracy (%)")
    for index, one in enumerate(results):
        axes.plot(
            range(1, one.passes + 1), [100 * value for value in one.accuracies],
            color=style.COLOURS[index % 6], marker=style.MARKERS[index % 6], markersize=4,
            linewidth=1.5, label=f"{one.title}, {KINDS[one.masks]}",
        )  # fmt: skip
    axes.set_xlim(0.5, results[0].passes + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    style.percent_axis(axes.yaxis)


def _without_dropout(axes: Axes, one: Stability) -> None:
    """Draw the accuracy without dropout and its interval, which both mask types share."""
    low, high = 100 * one.accuracy_low, 100 * one.accuracy_high
    axes.axhspan(low, high, color=style.MUTED, alpha=0.15, linewidth=0)
    axes.axhline(
        100 * one.accuracy, color=style.MUTED, linewidth=1.2, linestyle="--",
        label=f"{one.title}, no dropout: {accuracy_text(one.accuracy, one.n)}",
    )  # fmt: skip


def _draw_boxes(axes: Axes, results: Sequence[Stability]) -> None:
    style.dress(axes, x=f"Masks, {results[0].title}")
    for index, one in enumerate(results):
        colour = style.COLOURS[index % 6]
        values = [100 * value for value in one.accuracies]
        drawn = axes.boxplot(
            values, positions=[index], widths=0.5, patch_artist=True, showfliers=False,
            medianprops={"color": style.INK, "linewidth": 1.6},
            whiskerprops={"color": colour}, capprops={"color": colour},
        )  # fmt: skip
        for box in drawn["boxes"]:
            box.set(facecolor=colour, alpha=0.35, edgecolor=colour)
        # Points side by side, in the order of passes, so that equal ones do not hide each other.
        spread = [index + 0.16 * (i / max(1, len(values) - 1) - 0.5) for i in range(len(values))]
        axes.plot(
            spread, values, linestyle="", marker=style.MARKERS[index % 6], markersize=3,
            color=colour, alpha=0.8,
        )  # fmt: skip
    axes.set_xticks(range(len(results)), [one.masks for one in results])
    axes.set_xlim(-0.6, len(results) - 0.4)
    style.percent_axis(axes.yaxis)
