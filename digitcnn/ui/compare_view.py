"""Render what Compare shows: verdicts, tables and curves of all models, differences of two."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from markupsafe import Markup

from digitcnn.analysis.comparison import Comparison
from digitcnn.analysis.comparison_words import conclusion, difference_text, p_text, verdict
from digitcnn.analysis.recipes import Setting, seeds_of_one_recipe, settings_side_by_side
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.digits.names import joined, listed
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.details import CLAIMED
from digitcnn.ui.parts import tiles
from digitcnn.ui.tables import DASH, Cell, Value, interval_cell, share_cell, table
from digitcnn.ui.wording import counted, shortened
from digitcnn.web.charts import Interval, Series, chart, count_axis, intervals, linear_axis
from digitcnn.web.templates import render

BEST = "· best"

# A verdict on more models has their letters.
MOST_NAMED = 3

NETWORKS_NOT_RECIPES = (
    "These results compare trained networks, not recipes: another seed of the same recipe gives "
    "another result. To compare recipes, train each with several seeds."
)


def overview(
    comparisons: Sequence[Comparison], checkpoints: Sequence[Checkpoint], trained_here: set[str]
) -> dict[str, Markup]:
    """Render all that the tab and the exported page both show, by the names of its places.

    comparisons: one per digit set, of the same models. trained_here: as for ``models_table``.
    """
    names = comparisons[0].names
    return {
        "differs": what_differs(names, checkpoints),
        "verdicts": verdicts(comparisons, checkpoints),
        "accuracies": accuracies(comparisons),
        "table": models_table(comparisons, checkpoints, trained_here),
        "pairs": Markup("").join(pairs_table(comparison) for comparison in comparisons),
        "settings": settings_table(names, checkpoints),
        "history": history_chart(names, checkpoints),
    }


def models_table(
    comparisons: Sequence[Comparison], checkpoints: Sequence[Checkpoint], trained_here: set[str]
) -> Markup:
    """Render a row per model: its origin, and its accuracy and calibration on every set.

    comparisons: one per digit set, of the same models. trained_here: digests of networks whose
    files this installation wrote; the details of other files are marked as claimed.
    """
    rows: list[list[Value]] = []
    for place, checkpoint in enumerate(checkpoints):
        details = checkpoint.details
        claimed = "" if checkpoint.digest in trained_here else CLAIMED
        row: list[Value] = [
            comparisons[0].names[place],
            f"{listed(details.digits)}{claimed}" if details.digits else "not recorded",
            DASH if details.epochs is None else details.epochs,
            DASH if details.seed is None else details.seed,
        ]
        for comparison in comparisons:
            evaluation = comparison.evaluations[place]
            mark = f" {BEST}" if comparison.among_the_best[place] else ""
            row += [
                Cell(f"{evaluation.accuracy_text}{mark}", evaluation.accuracy),
                share_cell(evaluation.ece),
            ]
        row += [
            Cell(f"{checkpoint.size / 1e6:.1f} MB", checkpoint.size),
            checkpoint.digest[:8],
            (details.created or "–")[:10],
        ]
        rows.append(row)
    sets = [(f"{comparison.title} (95%)", f"ECE {comparison.title}") for comparison in comparisons]
    about = ["Model", "Trained on", "Epochs", "Seed"]
    origin = ["Size", "Digest", "Date"]
    return table(
        [*about, *itertools.chain(*sets), *origin],
        rows,
        label="Models; “best” marks the most accurate one on a set and those not shown to be worse",
        caption=True,
        advanced=["Epochs", "Seed", *(ece for _, ece in sets), *origin],
        file_name="models.csv",
    )


def pairs_table(comparison: Comparison) -> Markup:
    """Render a row per pair of models, with the verdict."""
    rows: list[list[Value]] = [
        [
            f"{shortened(comparison.names[pair.a])} – {shortened(comparison.names[pair.b])}",
            verdict(comparison, pair),
            pair.both_right,
            pair.only_a_right,
            pair.only_b_right,
            pair.both_wrong,
            interval_cell(difference_text(pair), pair.difference),
            Cell(p_text(pair.p_value), pair.p_value),
            Cell(p_text(pair.p_holm), pair.p_holm),
        ]
        for pair in comparison.pairs
    ]
    # The verdict is seen without scrolling the table.
    headers = ["Pair", "Verdict", "Both right", "Only first", "Only second", "Both wrong"]
    return table(
        [*headers, "Difference (95%)", "McNemar", "Holm-adjusted"],
        rows,
        label=f"Model pairs on {comparison.n:,} {comparison.title} images",
        caption=True,
        file_name=f"pairs-{comparison.evaluations[0].digits}.csv",
    )


def verdicts(comparisons: Sequence[Comparison], checkpoints: Sequence[Checkpoint]) -> Markup:
    """Render the verdicts in sentences, a summary of seeds of one recipe, and a caveat."""
    details = [checkpoint.details for checkpoint in checkpoints]
    recipes = [
        f"Same recipe, seeds {', '.join(map(str, recipe.seeds))}: {recipe.text} on {recipe.title} "
        "images."
        for comparison in comparisons
        for recipe in seeds_of_one_recipe(details, comparison)
    ]
    return render(
        "compare/verdicts.html",
        verdicts=[_conclusion(one) for one in comparisons],
        notes=[*recipes, NETWORKS_NOT_RECIPES],
    )


def _conclusion(comparison: Comparison) -> list[str]:
    """Return the verdicts in sentences: a model's name once, and its letter from then on.

    Of more than three models only the first is named, which keeps the headline short.
    """
    names = tuple(shortened(name) for name in comparison.names)
    text = "\n".join(conclusion(replace(comparison, names=names)))
    first = min((name for name in names if name in text), key=text.index, default="")
    for name, letter in zip(names, ascii_uppercase, strict=False):
        named = name == first or len(names) <= MOST_NAMED
        before, once, after = text.partition(name) if named else ("", "", text)
        text = before + once + after.replace(name, letter)
    return text.split("\n")


def accuracies(comparisons: Sequence[Comparison]) -> Markup:
    """Draw each model's accuracy with its 95% interval, a chart per set."""
    return Markup("").join(
        intervals(
            f"Accuracy on {one.title} images (%), with 95% intervals",
            [
                Interval(
                    shortened(name),
                    100 * evaluation.accuracy,
                    100 * evaluation.accuracy_low,
                    100 * evaluation.accuracy_high,
                    evaluation.accuracy_text,
                )
                for name, evaluation in zip(one.names, one.evaluations, strict=True)
            ],
            bounds=(0.0, 100.0),
        )
        for one in comparisons
    )


def what_differs(names: Sequence[str], checkpoints: Sequence[Checkpoint]) -> Markup:
    """Render the training settings in which files differ, or a sentence that they do in none.

    Models without settings, such as other programs', have a sentence instead of a column.
    """
    recorded = [place for place, one in enumerate(checkpoints) if one.details.config]
    known = [checkpoints[place] for place in recorded]
    differing = [one for one in _settings(known) if one.differs and one.chosen]
    sentences = []
    if not differing and len(known) > 1:
        sentences.append("No setting recorded in these files differs.")
    if unknown := [name for place, name in enumerate(names) if place not in recorded]:
        sentences.append(f"The training settings of {joined(unknown)} are unknown.")
    html = render("paragraphs.html", sentences=sentences)
    if differing:
        columns = [names[place] for place in recorded]
        html = _settings_table(columns, differing, "Settings that differ") + html
    return html


def settings_table(names: Sequence[str], checkpoints: Sequence[Checkpoint]) -> Markup:
    """Render the files' training settings side by side, with differences marked."""
    return _settings_table(
        names, _settings(checkpoints), "Settings side by side; ≠ marks what differs"
    )


def _settings(checkpoints: Sequence[Checkpoint]) -> list[Setting]:
    return settings_side_by_side([checkpoint.details for checkpoint in checkpoints])


def _settings_table(names: Sequence[str], settings: Sequence[Setting], label: str) -> Markup:
    rows: list[list[Value]] = [
        [f"{setting.name}{' ≠' * setting.differs}", *setting.values] for setting in settings
    ]
    return table(["Setting", *names], rows, label=label, caption=True, file_name="settings.csv")


def history_chart(names: Sequence[str], checkpoints: Sequence[Checkpoint]) -> Markup:
    """Draw held-out accuracy over the epochs, a line per model, as the files claim it."""
    series = [
        Series(
            name=shortened(name, 24),
            points=[
                (float(row["epoch"]), 100 * float(row["accuracy"]))
                for row in checkpoint.details.history
                if _finite(row.get("epoch")) and _finite(row.get("accuracy"))
            ],
            colour=1 + place % 6,
            dashed=place >= 6,
            marker="circle",
        )
        for place, (name, checkpoint) in enumerate(zip(names, checkpoints, strict=True))
    ]
    points = [point for one in series for point in one.points]
    return chart(
        "Held-out accuracy per epoch (%), as recorded",
        count_axis("Epoch", int(max((epoch for epoch, _ in points), default=1.0))),
        linear_axis("%", [accuracy for _, accuracy in points] or [90.0, 100.0], bounds=(0, 100)),
        series,
        empty="These files contain no training history.",
    )


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


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
