"""The waterfall chart of the cross-dataset gap."""

from __future__ import annotations

from matplotlib.figure import Figure

from digitcnn.analysis.figures import style
from digitcnn.analysis.gap import Waterfall
from digitcnn.analysis.metrics import gap_text


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
    for place, gap in ((0, total), (3, remains)):
        bar = style.error_bars([gap.points], [(gap.low, gap.high)])
        axes.errorbar(
            place, gap.points, yerr=bar, fmt="none", ecolor=style.INK, elinewidth=1.4, capsize=5,
        )  # fmt: skip
    for place, level in enumerate((total.points, after_framing, remains.points)):
        axes.plot([place + 0.31, place + 0.69], [level, level], color=style.MUTED, linewidth=1)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xticks(range(4), [label for _, _, _, label in bars])
    axes.tick_params(axis="x", labelsize=style.LABEL - 0.5, length=0)
    return figure
