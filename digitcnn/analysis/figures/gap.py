"""The waterfall of the cross-dataset gap."""

from __future__ import annotations

from matplotlib.figure import Figure

from digitcnn.analysis.figures import style
from digitcnn.analysis.gap import Waterfall
from digitcnn.analysis.metrics import gap_text


def gap_waterfall(found: Waterfall, *, model: str) -> Figure:
    """From the whole gap, bar by bar, to what remains; a bar may point the other way."""
    steps = (found.reference, found.as_is, found.framed, found.without_repeats)
    lines = [
        model,
        *(f"{step.title}: {step.accuracy_text}, {step.n:,} images" for step in steps),
    ]
    figure = style.sheet(
        f"Where the gap of {found.as_is.title} to {found.reference.title} comes from",
        "\n".join(lines),
        10,
        5.6,
    )
    axes = figure.add_subplot()
    style.dress(axes, y="gap (percentage points)")
    total, remains = found.total, found.remains
    after_framing = total.points - found.framing
    # Bottom and top of each bar, its look, and its words.
    bars = (
        (0.0, total.points, 0, f"whole gap\n{gap_text(total)}"),
        (after_framing, total.points, 2, f"framing\n{found.framing:+.2f} points closed"),
        (
            remains.points,
            after_framing,
            4,
            f"near repeats ({found.repeats:,} images)\n"
            + (
                f"{-found.near_repeats:.2f} points hidden"
                if found.near_repeats < 0
                else f"{found.near_repeats:+.2f} points closed"
            ),
        ),
        (0.0, remains.points, 1, f"remains: writers, labels, rest\n{gap_text(remains)}"),
    )
    for place, (bottom, top, look, _) in enumerate(bars):
        axes.bar(
            place, top - bottom, bottom=bottom, width=0.62, color=style.COLOURS[look],
            hatch=style.HATCHES[look], edgecolor=style.PAPER, linewidth=0.5,
        )  # fmt: skip
    for place, gap in ((0, total), (3, remains)):
        axes.errorbar(
            place, gap.points, yerr=style.whiskers(gap.points, gap.low, gap.high), fmt="none",
            ecolor=style.INK, elinewidth=1.4, capsize=5,
        )  # fmt: skip
    for place, level in enumerate((total.points, after_framing, remains.points)):
        axes.plot([place + 0.31, place + 0.69], [level, level], color=style.MUTED, linewidth=1)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xticks(range(4), [words for _, _, _, words in bars])
    axes.tick_params(axis="x", labelsize=style.LABEL - 0.5, length=0)
    return figure
