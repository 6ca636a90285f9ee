"""Render the results of the Stability tab: tables, sentences, the least stable images."""

from __future__ import annotations

from collections.abc import Sequence

from digitcnn.analysis.stability import Stability, UnstableImage
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.intervals import accuracy_text, percent
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.parts import image_address
from digitcnn.ui.stability_charts import NAMES
from digitcnn.ui.tables import DASH, Cell, Value, table
from digitcnn.web.templates import render

LEAST_STABLE = 12


def summary_line(checkpoint: Checkpoint, result: Stability) -> str:
    """Return the accuracy without dropout in a sentence."""
    return (
        f"{checkpoint.name} without dropout: {accuracy_text(result.accuracy, result.n)} on "
        f"{_count(result.n, 'image', 'images')} of {result.title}."
    )


def summary_table(results: Sequence[Stability]) -> str:
    """Render mean, deviation, minimum and maximum per mask type."""
    rows: list[list[Value]] = [
        [
            NAMES[result.masks],
            _share(result.mean),
            _points(result.std),
            _share(result.min),
            _share(result.max),
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
        label=f"Accuracy over {_count(result.passes, 'pass', 'passes')} per mask type on "
        f"{_count(result.n, 'image', 'images')} of {result.title}; deviations in percentage points",
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
        f"{_count(result.n, 'image', 'images')} (50 / √n), {marks}"
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
            *(_share(result.flipped_by_digit[digit]) for result in results),
        ]
        for digit in range(CLASSES)
    ]
    return table(
        ["Digit", "Images", *(NAMES[result.masks] for result in results)],
        rows,
        footer=[["all", first.n, *(_share(result.flipped) for result in results)]],
        label=f"Images of {first.title} whose prediction changes in at least one of "
        f"{_count(first.passes, 'pass', 'passes')}",
        caption=True,
    )


def least_stable(results: Sequence[Stability], digit_set: DigitSet) -> str:
    """Render the least stable images per mask type, with their votes and uncertainties."""
    return render(
        "stability/least_stable.html",
        parts=[
            {
                "heading": f"Least stable images of {result.title}, {NAMES[result.masks].lower()}",
                "images": [_image(image, digit_set) for image in result.least_stable(LEAST_STABLE)],
            }
            for result in results
        ],
    )


def _image(image: UnstableImage, digit_set: DigitSet) -> dict[str, object]:
    votes = [(digit, count) for digit, count in enumerate(image.votes) if count]
    return {
        "address": image_address(digit_set.images[image.index]),
        "index": image.index,
        "label": image.label,
        "predicted": image.answer,
        "votes": sorted(votes, key=lambda vote: (vote[1], vote[0]), reverse=True),
        "entropy": f"{image.predictive_entropy:.3f}",
        "mutual_information": f"{image.mutual_information:.3f}",
    }


def _share(fraction: float) -> Cell:
    return Cell(percent(fraction), fraction)


def _points(fraction: float) -> Cell:
    """Return a deviation in points; ``table`` shows a dash for NaN."""
    return Cell(f"{100 * fraction:.2f}", fraction)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
