"""Accuracy under distortions and attacks: a panel for each, a curve per model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digitcnn.analysis.axes import AXES
from digitcnn.analysis.figures import style
from digitcnn.analysis.robustness import Robustness
from digitcnn.intervals import accuracy_text, wilson_interval

# A seventh model has the first one's colour and another line.
_LINES = ("-", "--")


def robustness_curves(results: Sequence[Robustness], names: Sequence[str]) -> Figure:
    """Draw the accuracy along each axis with its 95% band; a dotted line marks no distortion.

    One more panel has the accuracy under attack of models that can be attacked, and under noise of
    the same size. results: of one or several models on the same images. names: of the models.
    """
    first = results[0]
    subtitle = [
        f"{first.title}, {first.n:,} images, one distortion at a time; bands are 95% intervals"
    ]
    if len(results) == 1:
        unchanged = accuracy_text(first.unchanged / first.n, first.n)
        subtitle.insert(0, f"{names[0]}, undistorted {unchanged}")
    figure = style.sheet("Robustness", "\n".join(subtitle), 11.5)
    panels = figure.subplots(4, 3, sharey=True).flatten()
    for place, (axis, axes) in enumerate(zip(AXES, panels, strict=False)):
        unit = f" ({axis.unit.strip()})" if axis.unit else ""
        style.dress(
            axes, x=f"{axis.name.capitalize()}{unit}", y="" if place % 3 else "Accuracy (%)"
        )
        axes.axvline(axis.neutral, color=style.MUTED, linewidth=1, linestyle=":")
        for index, one in enumerate(results):
            _draw(axes, axis.values, one.curves[place].right, one.n, index, names[index])
        axes.set_ylim(0, 102)
        style.percent_axis(axes.yaxis)
    attacked, spare = panels[len(AXES) :]
    spare.set_axis_off()
    _draw_attacks(attacked, results)
    if len(results) > 1:
        _key(spare, panels[0])
    return figure


def _draw(
    axes: Axes, values: Sequence[float], right: Sequence[int], n: int, index: int, name: str = ""
) -> None:
    """Draw one model's curve. right: predictions of ``n``, for each value. index: of the model."""
    colour = style.COLOURS[index % 6]
    intervals = [wilson_interval(count, n) for count in right]
    axes.fill_between(
        values, [100 * low for low, _ in intervals], [100 * high for _, high in intervals],
        color=colour, alpha=0.18, linewidth=0,
    )  # fmt: skip
    axes.plot(
        values, [100 * count / n for count in right],
        color=colour, marker=style.MARKERS[index % 6], markersize=3.6, linewidth=1.7,
        linestyle=_LINES[index // 6 % 2], label=name,
    )  # fmt: skip


def _draw_attacks(axes: Axes, results: Sequence[Robustness]) -> None:
    """Draw the accuracy under attack; off where no model can be attacked."""
    if all(one.attack is None for one in results):
        axes.set_axis_off()
        return
    style.dress(axes, x="Attack: size of the change\n(dotted: random noise of that size)")
    for index, one in enumerate(results):
        if one.attack is not None:
            _draw(axes, one.attack.sizes, one.attack.attacked, one.attack.n, index)
            axes.plot(
                one.attack.sizes, [100 * count / one.attack.n for count in one.attack.noise],
                color=style.COLOURS[index % 6], linewidth=1.7, linestyle=":",
            )  # fmt: skip


def _key(axes: Axes, drawn: Axes) -> None:
    """Put the legend into the panel that is left over."""
    lines, names = drawn.get_legend_handles_labels()
    axes.legend(
        lines, [textwrap.fill(name, 36) for name in names], loc="center", fontsize=style.SMALL,
        facecolor=style.PAPER, edgecolor=style.GRID, labelcolor=style.INK,
    )  # fmt: skip
