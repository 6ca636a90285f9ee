"""Render how two of the compared models differ: images, per digit, and confusion matrices."""

from __future__ import annotations

from markupsafe import Markup

from digitcnn.analysis.comparison import Comparison
from digitcnn.analysis.comparison_words import difference_text
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.ui.image_tiles import tiles
from digitcnn.ui.tables import Cell, Value, table
from digitcnn.ui.wording import counted, shortened
from digitcnn.web.templates import render

# In all, and before more are requested.
MOST_IMAGES, FIRST_IMAGES = 24, 6


def differences(comparison: Comparison, digit_set: DigitSet, a: int, b: int) -> Markup:
    """Render the images that only one of two models gets right.

    a, b: places of the models, different.
    """
    images = _only_right(comparison, digit_set, a, b) + _only_right(comparison, digit_set, b, a)
    same = f"{comparison.names[a]} and {comparison.names[b]} are right on the same images."
    return images or render("paragraphs.html", sentences=[same])


def digit_tables(comparison: Comparison, a: int, b: int) -> Markup:
    """Render how two models differ per digit, and their confusion matrices' difference."""
    first, second = sorted((a, b))
    return _digits_table(comparison, first, second) + _confusion_difference(
        comparison, first, second
    )


def _only_right(comparison: Comparison, digit_set: DigitSet, right: int, wrong: int) -> Markup:
    indices = comparison.only(right, wrong)
    if not len(indices):
        return Markup()
    shown = indices[:MOST_IMAGES]
    more = ""
    if len(indices) > MOST_IMAGES:
        more = f"; the {MOST_IMAGES} most confident errors are shown"
    temperature = comparison.evaluations[wrong].temperature
    a, b = (shortened(comparison.names[place]) for place in (right, wrong))
    return tiles(
        f"{a} right, {b} wrong: {counted(len(indices), 'image')}",
        digit_set,
        shown.tolist(),
        comparison.predictions[wrong].probabilities(temperature)[shown],
        note=f"Predictions and probabilities are those of {b}{more}.",
        first=FIRST_IMAGES,
    )


def _digits_table(comparison: Comparison, a: int, b: int) -> Markup:
    rows: list[list[Value]] = [
        [
            str(digit),
            counts.n,
            counts.only_a_right,
            counts.only_b_right,
            Cell(difference_text(counts), counts.difference),
        ]
        for digit, counts in enumerate(comparison.per_digit(a, b))
    ]
    first, second = (shortened(comparison.names[place]) for place in (a, b))
    return table(
        ["Digit", "Images", f"Only {first}", f"Only {second}", "Difference (95%)"],
        rows,
        label=f"{first} minus {second} per digit of the {comparison.title} images",
        caption=True,
        file_name="per-digit-difference.csv",
    )


def _confusion_difference(comparison: Comparison, a: int, b: int) -> Markup:
    first, second = comparison.evaluations[a].confusion, comparison.evaluations[b].confusion
    rows: list[list[Value]] = []
    for digit in range(CLASSES):
        changes = [x - y for x, y in zip(first[digit], second[digit], strict=True)]
        rows.append([str(digit), *(Cell(f"{c:+d}" if c else "·", c) for c in changes)])
    return table(
        ["True \\ predicted", *map(str, range(CLASSES))],
        rows,
        label=f"Prediction counts: {shortened(comparison.names[a])} minus "
        f"{shortened(comparison.names[b])}",
        caption=True,
        file_name="confusion-difference.csv",
    )
