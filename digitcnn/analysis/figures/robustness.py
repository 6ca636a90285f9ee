"""Accuracy under changes of the images: a panel per kind of change, a curve per network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digitcnn.analysis.figures import style
from digitcnn.analysis.metrics import accuracy_text
from digitcnn.analysis.robustness import AXES, Robustness

# More networks than there are colours are told apart by their lines.
_LINES = ("-", "--")


def robustness_curves(found: Sequence[Robustness], names: Sequence[str]) -> Figure:
    """The accuracy along each axis with its 95% band; what is unchanged is a dotted line.

    found: of one or several networks on the same images. names: of the networks.
    """
    first = found[0]
    subtitle = [f"{first.title}, {first.n:,} images, one change at a time; bands are 95% intervals"]
    if len(found) == 1:
        unchanged = accuracy_text(first.unchanged / first.n, first.n)
        subtitle.insert(0, f"{names[0]}, unchanged {unchanged}")
    figure = style.sheet("Robustness", "\n".join(subtitle), 11, 7.2)
    panels = figure.subplots(2, 3, sharey=True).flatten()
    for place, (axis, axes) in enumerate(zip(AXES, panels, strict=False)):
        unit = f" ({axis.unit.strip()})" if axis.unit else ""
        style.dress(axes, x=f"{axis.name}{unit}", y="" if place % 3 else "accuracy (%)")
        axes.axvline(axis.neutral, color=style.MUTED, linewidth=1, linestyle=":")
        for look, one in enumerate(found):
            _draw(axes, one, place, look, names[look])
        axes.set_ylim(0, 102)
        style.percent_axis(axes.yaxis)
    _key(panels[len(AXES)], panels[0], several=len(found) > 1)
    return figure


def _draw(axes: Axes, found: Robustness, place: int, look: int, name: str) -> None:
    curve = found.curves[place]
    colour = style.COLOURS[look % 6]
    axes.fill_between(
        curve.axis.values,
        [100 * low for low, _ in curve.intervals],
        [100 * high for _, high in curve.intervals],
        color=colour, alpha=0.18, linewidth=0,
    )  # fmt: skip
    axes.plot(
        curve.axis.values, [100 * accuracy for accuracy in curve.accuracies],
        color=colour, marker=style.MARKERS[look % 6], markersize=3.6, linewidth=1.7,
        linestyle=_LINES[look // 6 % 2], label=name,
    )  # fmt: skip


def _key(axes: Axes, drawn: Axes, *, several: bool) -> None:
    """The sixth place holds the names, where there are several."""
    axes.set_axis_off()
    if several:
        lines, names = drawn.get_legend_handles_labels()
        axes.legend(
            lines, [textwrap.fill(name, 36) for name in names], loc="center", fontsize=style.SMALL,
            facecolor=style.PAPER, edgecolor=style.GRID, labelcolor=style.INK,
        )  # fmt: skip
