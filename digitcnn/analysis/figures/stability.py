"""Figure 9: accuracy over passes with dropout on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from digitcnn.analysis.figures import style
from digitcnn.analysis.metrics import percent
from digitcnn.analysis.stability import Stability

_KIND = {
    "independent": "a mask per image",
    "shared": "one mask per pass (thinned networks)",
}


def stability_test(results: Sequence[Stability], *, model: str) -> Figure:
    """Accuracy per pass as lines and as box plots, for each kind of masks."""
    figure = style.sheet(
        "Stability under dropout",
        "\n".join([model, *(stability_text(found) for found in results)]),
        11,
        5.0 + 0.21 * len(results),
    )
    lines, boxes = figure.subplots(1, 2, width_ratios=(2.2, 1), sharey=True)
    _draw_lines(lines, results)
    _without_dropout(lines, results)
    style.legend(lines)
    _draw_boxes(boxes, results)
    boxes.set_ylabel("")
    return figure


def stability_text(found: Stability) -> str:
    """The numbers of one kind of pass in a line."""
    text = f"{found.title}, {_KIND[found.masks]}: mean {percent(found.mean)}"
    if math.isnan(found.std):
        return f"{text} in one pass"
    text += f", deviation {100 * found.std:.2f} points over {found.passes} passes"
    if found.masks == "independent":
        return (
            f"{text} (chance alone {100 * found.chance:.2f}, for any network at most "
            f"{100 * found.bound:.2f})"
        )
    return f"{text}: {found.verdict}"


def _draw_lines(axes: Axes, results: Sequence[Stability]) -> None:
    style.dress(axes, x="pass", y="accuracy (%)")
    for index, found in enumerate(results):
        axes.plot(
            range(1, found.passes + 1), [100 * value for value in found.accuracies],
            color=style.COLOURS[index % 6], marker=style.MARKERS[index % 6], markersize=4,
            linewidth=1.5, label=f"{found.title}, {_KIND[found.masks]}",
        )  # fmt: skip
    axes.set_xlim(0.5, max((found.passes for found in results), default=1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    style.percent_axis(axes.yaxis)


def _without_dropout(axes: Axes, results: Sequence[Stability]) -> None:
    """The accuracy without dropout and its interval, once per digit set."""
    for found in {found.title: found for found in results}.values():
        low, high = 100 * found.accuracy_low, 100 * found.accuracy_high
        axes.axhspan(low, high, color=style.MUTED, alpha=0.15, linewidth=0)
        axes.axhline(
            100 * found.accuracy, color=style.MUTED, linewidth=1.2, linestyle="--",
            label=f"{found.title}, no dropout: {percent(found.accuracy)} "
            f"({low:.2f} to {high:.2f})",
        )  # fmt: skip


def _draw_boxes(axes: Axes, results: Sequence[Stability]) -> None:
    style.dress(axes, x="masks", y="accuracy (%)")
    for index, found in enumerate(results):
        colour = style.COLOURS[index % 6]
        values = [100 * value for value in found.accuracies]
        drawn = axes.boxplot(
            values, positions=[index], widths=0.5, patch_artist=True, showfliers=False,
            medianprops={"color": style.INK, "linewidth": 1.6},
            whiskerprops={"color": colour}, capprops={"color": colour},
        )  # fmt: skip
        for box in drawn["boxes"]:
            box.set(facecolor=colour, alpha=0.35, edgecolor=colour)
        # Points beside each other, in the order of passes, so that equal ones are not hidden.
        spread = [index + 0.16 * (i / max(1, len(values) - 1) - 0.5) for i in range(len(values))]
        axes.plot(
            spread, values, linestyle="", marker=style.MARKERS[index % 6], markersize=3,
            color=colour, alpha=0.8,
        )  # fmt: skip
    sets = {found.title for found in results}
    axes.set_xticks(
        range(len(results)),
        [found.masks if len(sets) == 1 else f"{found.title}\n{found.masks}" for found in results],
    )
    axes.set_xlim(-0.6, max(1, len(results)) - 0.4)
    if len(sets) == 1:
        axes.set_xlabel(f"masks, {next(iter(sets))}", fontsize=style.LABEL)
    style.percent_axis(axes.yaxis)
