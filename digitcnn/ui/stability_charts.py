"""The Stability tab's two charts: a line that grows pass by pass, and box plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from digitcnn.intervals import percent
from digitcnn.options import Masks
from digitcnn.web.charts import Axis, Box, Marker, Series, chart, count_axis, linear_axis

LINE_WIDTH, BOX_WIDTH, HEIGHT = 560, 340, 290

NAMES: Mapping[Masks, str] = {"independent": "Independent masks", "shared": "One mask per pass"}
# Marker and colour, so that colour is not alone.
_LOOKS: Mapping[Masks, tuple[int, Marker]] = {
    "independent": (1, "circle"),
    "shared": (2, "diamond"),
}

# Accuracies (fractions) of the passes so far, by mask type.
Accuracies = Mapping[Masks, Sequence[float]]


def line_chart(title: str, accuracies: Accuracies, passes: int, without: float | None) -> Markup:
    """Draw accuracy per pass.

    title: of the digit set, such as ``mnist test``. passes: how many there will be. without: the
    accuracy without dropout, a fraction; None before it is known.
    """
    series = [
        Series(
            name=NAMES[masks],
            points=[(i, 100 * value) for i, value in enumerate(values, 1)],
            colour=_LOOKS[masks][0],
            marker=_LOOKS[masks][1],
            notes=[f"{NAMES[masks]}, pass {i}: {percent(v)}" for i, v in enumerate(values, 1)],
        )
        for masks, values in accuracies.items()
    ]
    x = count_axis("Pass", passes)
    return chart(
        f"Accuracy per pass (%), {title}",
        x,
        _accuracy_axis(accuracies, without),
        [*series, *_reference(x, without)],
        empty="Accuracy per pass will appear here",
        width=LINE_WIDTH,
        height=HEIGHT,
    )


def box_chart(title: str, accuracies: Accuracies, without: float | None) -> Markup:
    """Draw the same accuracies as box plots: quartiles, whiskers to 1.5 box heights, every pass."""
    boxes = [
        Box(
            name=NAMES[masks],
            values=[100 * value for value in values],
            at=place,
            colour=_LOOKS[masks][0],
            marker=_LOOKS[masks][1],
            notes=[f"pass {i}: {percent(value)}" for i, value in enumerate(values, 1)],
        )
        for place, (masks, values) in enumerate(accuracies.items())
    ]
    ticks = [(float(place), NAMES[masks]) for place, masks in enumerate(accuracies)]
    x = Axis("Mask type", -0.5, len(ticks) - 0.5, ticks)
    return chart(
        f"All passes (%), {title}",
        x,
        _accuracy_axis(accuracies, without),
        _reference(x, without),
        boxes,
        legend=False,
        width=BOX_WIDTH,
        height=HEIGHT,
    )


def _reference(x: Axis, without: float | None) -> list[Series]:
    """Return the line of the accuracy without dropout, if that is known."""
    if without is None:
        return []
    ends = [(x.low, 100 * without), (x.high, 100 * without)]
    return [Series(name="Without dropout", points=ends, colour=0, dashed=True)]


def _accuracy_axis(accuracies: Accuracies, without: float | None) -> Axis:
    values = [100 * value for kind in accuracies.values() for value in kind]
    if without is not None:
        values.append(100 * without)
    # On a smaller scale, the noise of one image would look large.
    return linear_axis("%", values or [0.0, 100.0], bounds=(0.0, 100.0), span=0.2)
