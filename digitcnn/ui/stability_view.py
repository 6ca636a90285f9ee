"""Render the results of the Stability tab: charts, tables, sentences, the least stable images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from digitcnn.analysis.stability import Stability
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.intervals import accuracy_text, percent
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.options import Masks
from digitcnn.ui.parts import image_address
from digitcnn.ui.tables import DASH, Cell, Value, share_cell, table
from digitcnn.ui.wording import counted
from digitcnn.web.charts import Axis, Box, Marker, Series, chart, count_axis, linear_axis
from digitcnn.web.templates import render

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


# Images shown, and images in the folded tables of entropy.
SHAKIEST, IN_TABLE = 6, 12
# The style of each verdict's badge.
_BADGES = {"stable": "good", "depends on single neurons": "bad"}


def badge(checkpoint: Checkpoint, results: Sequence[Stability]) -> Markup:
    """Render the verdict on the thinned networks with its number, and what it means."""
    result = next(result for result in results if result.masks == "shared")
    images = counted(result.n, "image")
    meaning = (
        f"With all its neurons {checkpoint.name} is right on "
        f"{accuracy_text(result.accuracy, result.n)} of {images} of the {result.title} set"
    )
    if result.verdict:
        meaning += (
            f"; with a random part of them switched off, on {percent(result.mean)} on average "
            f"over {result.passes} passes (lowest {percent(result.min)}, highest "
            f"{percent(result.max)})"
        )
    return render(
        "stability/badge.html",
        verdict=result.verdict.capitalize() or "One pass: no verdict",
        look=_BADGES.get(result.verdict, ""),
        number=f"± {100 * result.std:.2f} points" if result.verdict else "",
        meaning=f"{meaning}.",
    )


def summary_line(checkpoint: Checkpoint, result: Stability) -> str:
    """Return the accuracy without dropout in a sentence."""
    return (
        f"{checkpoint.name} without dropout: {accuracy_text(result.accuracy, result.n)} on "
        f"{counted(result.n, 'image')} of the {result.title} set."
    )


def summary_table(results: Sequence[Stability]) -> str:
    """Render mean, deviation, minimum and maximum per mask type."""
    rows: list[list[Value]] = [
        [
            NAMES[result.masks],
            share_cell(result.mean),
            _points(result.std),
            share_cell(result.min),
            share_cell(result.max),
            _points(result.chance) if result.masks == "independent" else DASH,
            _points(result.bound) if result.masks == "independent" else DASH,
            result.verdict or DASH,
        ]
        for result in results
    ]
    result = results[0]
    headers = ["Mask type", "Mean", "Std. deviation", "Minimum", "Maximum", "Chance level"]
    return table(
        [*headers, "Upper bound", "Verdict"],
        rows,
        advanced=("Chance level", "Upper bound"),
        file_name="stability.csv",
        label=f"Accuracy over {counted(result.passes, 'pass', 'passes')} per mask type on "
        f"{counted(result.n, 'image')} of the {result.title} set; deviations in percentage points",
        caption=True,
    )


def words(results: Sequence[Stability]) -> str:
    """Render two sentences: the meaning of each deviation, and its limits."""
    by_masks = {result.masks: result for result in results}
    sentences = [bound_sentence(by_masks["independent"]), verdict_sentence(by_masks["shared"])]
    return render("paragraphs.html", sentences=sentences)


def bound_sentence(result: Stability) -> str:
    """Return a sentence on the limit of the deviation with independent masks."""
    bound = 100 * result.bound
    if bound < 1:
        marks = "so the usual thresholds of 1 and 2 points cannot be reached"
    elif bound < 2:
        marks = "so the usual threshold of 2 points cannot be reached"
    else:
        marks = (
            "so with so few images the usual thresholds of 1 and 2 points say more about chance "
            "than about the network"
        )
    sentence = (
        f"With independent masks, no network can deviate by more than {bound:.2f} points on "
        f"{counted(result.n, 'image')} (50 / √n), {marks}"
    )
    if result.chance == result.chance:  # not NaN
        sentence += f"; chance alone accounts for {100 * result.chance:.2f} points on these images"
    return f"{sentence}."


def verdict_sentence(result: Stability) -> str:
    """Return a sentence on the deviation over thinned networks, with its verdict."""
    marks = "Below 1 point is stable; above 2 points, the network depends on single neurons."
    if not result.verdict:
        return f"One mask per pass: a deviation takes at least two passes. {marks}"
    return (
        f"One mask per pass: the deviation over {result.passes} thinned networks is "
        f"{100 * result.std:.2f} points ({result.verdict}). {marks}"
    )


def flips_table(results: Sequence[Stability]) -> str:
    """Render the share of images whose prediction changes in any pass, per digit."""
    first = results[0]
    rows: list[list[Value]] = [
        [
            str(digit),
            int((first.labels == digit).sum()),
            *(share_cell(result.flipped_by_digit[digit]) for result in results),
        ]
        for digit in range(CLASSES)
    ]
    return table(
        ["Digit", "Images", *(NAMES[result.masks] for result in results)],
        rows,
        footer=[["all", first.n, *(share_cell(result.flipped) for result in results)]],
        label=f"Images of the {first.title} set whose prediction changes in at least one of "
        f"{counted(first.passes, 'pass', 'passes')}",
        caption=True,
        file_name="stability-per-digit.csv",
    )


def shakiest(results: Sequence[Stability], digit_set: DigitSet) -> Markup:
    """Render the images on which the thinned networks agree least."""
    result = next(result for result in results if result.masks == "shared")
    return render(
        "stability/shakiest.html",
        title=result.title,
        images=[_image(result, index, digit_set) for index in result.least_stable(SHAKIEST)],
    )


def _image(result: Stability, index: int, digit_set: DigitSet) -> dict[str, object]:
    return {
        "address": image_address(digit_set.images[index]),
        "index": index,
        "label": int(result.labels[index]),
        "predicted": int(result.predicted[index]),
        "votes": _votes(result, index),
    }


def _votes(result: Stability, index: int) -> list[tuple[int, int]]:
    """Return each digit predicted for an image and its passes, the most frequent first."""
    votes = [(digit, count) for digit, count in enumerate(result.votes[index].tolist()) if count]
    return sorted(votes, key=lambda vote: (vote[1], vote[0]), reverse=True)


def entropy_tables(results: Sequence[Stability]) -> Markup:
    """Render the least stable images of each mask type with votes, entropy and disagreement."""
    return Markup("").join(
        table(
            ["Image", "Label", "Votes (digit: passes)", "Entropy (nats)", "Mutual information"],
            [
                [
                    str(index),
                    int(result.labels[index]),
                    ", ".join(f"{digit}: {count}" for digit, count in _votes(result, index)),
                    _nats(float(result.predictive_entropy[index])),
                    _nats(float(result.mutual_information[index])),
                ]
                for index in result.least_stable(IN_TABLE)
            ],
            label=f"Least stable images of the {result.title} set, {NAMES[result.masks].lower()}",
            caption=True,
            file_name=f"least-stable-{result.masks}.csv",
        )
        for result in results
    )


def _nats(value: float) -> Cell:
    return Cell(f"{value:.3f}", value)


def _points(fraction: float) -> Cell:
    """Return a deviation in points; ``table`` shows a dash for NaN."""
    return Cell(f"{100 * fraction:.2f}", fraction)
