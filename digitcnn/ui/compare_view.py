"""What the Compare tab says of several networks: tables, verdicts, curves, images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from digitcnn.analysis.comparison import (
    Comparison,
    Counts,
    difference_text,
    p_text,
    seeds_of_one_recipe,
    settings_side_by_side,
)
from digitcnn.analysis.figures.style import confidence_text
from digitcnn.analysis.metrics import percent
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.network.checkpoint import Answers, Checkpoint
from digitcnn.ui.answered_images import tiles
from digitcnn.ui.curves import chart
from digitcnn.ui.tables import Cell, Value, table

# Told apart by colour-blind readers, on light and on dark; the names stand beside them.
COLOURS = (
    "#3b8fd6", "#e08a00", "#009e73", "#cc79a7", "#8a6fd1", "#56b4e9", "#d55e00", "#7f7f7f",
)  # fmt: skip
MOST_IMAGES = 24
BEST = "●"

NETWORKS_NOT_RECIPES = (
    "This compares trained networks, not recipes: two trainings of one recipe with other seeds "
    "differ as well. For recipes train several seeds of each (train --seeds 3)."
)


def models_table(
    comparisons: Sequence[Comparison], checkpoints: Sequence[Checkpoint], trained_here: set[str]
) -> str:
    """A row per model: what it is, and its accuracy and calibration on every set.

    comparisons: one per digit set, of the same models. trained_here: digests of networks whose
    files this installation wrote; what other files say of their training is claimed.
    """
    rows: list[list[Value]] = []
    for place, checkpoint in enumerate(checkpoints):
        details = checkpoint.details
        claimed = "" if checkpoint.digest in trained_here or not details.digits else " (claimed)"
        row: list[Value] = [
            comparisons[0].names[place],
            f"{details.digits}{claimed}" if details.digits else "bare weights",
            _number(details.epochs),
            _number(details.seed),
        ]
        for found in comparisons:
            evaluation = found.evaluations[place]
            mark = f" {BEST}" if found.among_the_best[place] else ""
            row += [
                Cell(f"{evaluation.accuracy_text}{mark}", evaluation.accuracy),
                Cell(percent(evaluation.ece), evaluation.ece),
            ]
        row += [
            Cell(f"{checkpoint.size / 1e6:.1f} MB", checkpoint.size),
            checkpoint.digest[:8],
            (details.created or "–")[:10],
        ]
        rows.append(row)
    sets = [(f"{found.title}, 95 %", f"ECE {found.title}") for found in comparisons]
    about = ["model", "trained on", "epochs", "seed"]
    return table(
        [*about, *itertools.chain(*sets), "size", "digest", "date"],
        rows,
        label=f"Models; {BEST} not significantly worse than the best of its column",
        caption=True,
    )


def pairs_table(found: Comparison) -> str:
    """Every two models on the same images, and what can be said of them."""
    rows: list[list[Value]] = [
        [
            f"{found.names[pair.a]} – {found.names[pair.b]}",
            found.verdict(pair),
            pair.both_right,
            pair.only_a_right,
            pair.only_b_right,
            pair.both_wrong,
            Cell(difference_text(pair), pair.difference),
            Cell(p_text(pair.p_value), pair.p_value),
            Cell(p_text(pair.p_holm), pair.p_holm),
        ]
        for pair in found.pairs
    ]
    # What people came for is seen without scrolling the table.
    headers = ["first – second", "verdict", "both right", "only first", "only second"]
    headers += ["both wrong", "difference (95 %)", "McNemar", "after Holm"]
    return table(
        headers,
        rows,
        label=f"Pairs on the same {found.n:,} images of {found.title}",
        caption=True,
    )


def words_of(comparisons: Sequence[Comparison], checkpoints: Sequence[Checkpoint]) -> str:
    """The verdicts in sentences, seeds of one recipe summed up, and what all this is not."""
    lines = []
    for found in comparisons:
        best = [n for n, good in zip(found.names, found.among_the_best, strict=True) if good]
        if len(found.pairs) == 1:
            verdict = found.verdict(found.pairs[0])
        elif len(best) == len(found.names):
            verdict = "no evidence that any of them is better than another"
        else:
            verdict = f"not significantly worse than the best: {', '.join(best)}"
        lines.append(f"{found.title}: {verdict}.")
        details = [checkpoint.details for checkpoint in checkpoints]
        for recipe in seeds_of_one_recipe(details, found):
            seeds = ", ".join(map(str, recipe.seeds))
            lines.append(f"One recipe with the seeds {seeds}: {recipe.text} on {recipe.title}.")
    lines.append(NETWORKS_NOT_RECIPES)
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def settings_table(names: Sequence[str], checkpoints: Sequence[Checkpoint]) -> str:
    """What the files say of their trainings, side by side; what differs is marked."""
    rows: list[list[Value]] = [
        [f"{setting} ≠" if differs else setting, *(_setting(value) for value in values)]
        for setting, values, differs in settings_side_by_side(
            [checkpoint.details for checkpoint in checkpoints]
        )
    ]
    return table(
        ["setting", *names], rows, label="Settings side by side; ≠ marks what differs", caption=True
    )


def history_chart(names: Sequence[str], checkpoints: Sequence[Checkpoint]) -> str:
    """Accuracy on the held-out images over the epochs, a line per model, as their files say it."""
    series = []
    for name, colour, checkpoint in zip(names, COLOURS, checkpoints, strict=False):
        points = [
            (float(row["epoch"]), 100 * float(row["accuracy"]))
            for row in checkpoint.details.history
            if _finite(row.get("epoch")) and _finite(row.get("accuracy"))
        ]
        series.append((name[:24], colour, points, True))
    values = [y for _, _, points, _ in series for _, y in points]
    last = max((x for _, _, points, _ in series for x, _ in points), default=1.0)
    low = max(0.0, math.floor(min(values, default=90.0) - 0.5))
    ticks = [low + (100 - low) * share / 4 for share in range(5)]
    step = max(1, math.ceil(last / 8))
    return '<div class="curves" style="max-width: 640px">{}</div>'.format(
        chart(
            "Held-out accuracy per epoch (%), as the files say",
            "epoch",
            (1, max(last, 2)),
            [(tick, str(tick)) for tick in range(step, int(last) + 1, step)],
            (low, 100),
            [(tick, f"{tick:g}") for tick in ticks],
            series,
            "None of the files has a history.",
        )
    )


def differences(found: Comparison, digit_set: DigitSet, a: int, b: int) -> str:
    """Images that one of two models gets and the other misses, and on which digits they differ.

    a, b: places of the models, different.
    """
    parts = [_only(found, digit_set, a, b), _only(found, digit_set, b, a)]
    first, second = sorted((a, b))
    return "".join(
        [*parts, _digits_table(found, first, second), _confusion_difference(found, first, second)]
    )


def answer_rows(names: Sequence[str], answers: Sequence[Answers]) -> list[list[str]]:
    """Return a row per model with its prediction for one sketch, as texts.

    answers: of each model, to one image.
    """
    rows = []
    for name, answer in zip(names, answers, strict=True):
        row = answer.probabilities[0].tolist()
        first, second = sorted(range(CLASSES), key=row.__getitem__, reverse=True)[:2]
        refused = answer.is_digit is not None and not bool(answer.is_digit[0])
        prediction = f"Not a digit (closest: {first})" if refused else str(first)
        runner_up = f"{second} ({confidence_text(row[second])})"
        rows.append([name, prediction, confidence_text(row[first]), runner_up])
    return rows


def _only(found: Comparison, digit_set: DigitSet, right: int, wrong: int) -> str:
    places = found.only(right, wrong)
    shown = places[:MOST_IMAGES]
    more = f"; the {MOST_IMAGES} surest mistakes are shown" if len(places) > MOST_IMAGES else ""
    temperature = found.evaluations[wrong].temperature
    return tiles(
        f"{found.names[right]} gets, {found.names[wrong]} misses: {len(places):,} images",
        digit_set.images[shown],
        digit_set.labels[shown].tolist(),
        found.predictions[wrong].probabilities(temperature)[shown],
        shown.tolist(),
        note=f"Answers and probabilities are those of {found.names[wrong]}{more}.",
    )


def _digits_table(found: Comparison, a: int, b: int) -> str:
    rows: list[list[Value]] = [
        [str(digit), counts.n, counts.only_a_right, counts.only_b_right, _difference(counts)]
        for digit, counts in enumerate(found.per_digit(a, b))
    ]
    first, second = found.names[a], found.names[b]
    return table(
        ["digit", "images", f"only {first}", f"only {second}", "difference (95 %)"],
        rows,
        label=f"{first} minus {second} per digit of {found.title}",
        caption=True,
    )


def _confusion_difference(found: Comparison, a: int, b: int) -> str:
    first, second = found.evaluations[a].confusion, found.evaluations[b].confusion
    rows: list[list[Value]] = []
    for digit in range(CLASSES):
        changes = [x - y for x, y in zip(first[digit], second[digit], strict=True)]
        rows.append([str(digit), *(Cell(f"{c:+d}" if c else "·", c) for c in changes)])
    return table(
        ["true \\ answer", *map(str, range(CLASSES))],
        rows,
        label=f"How often {found.names[a]} gives an answer more than {found.names[b]} does",
        caption=True,
    )


def _difference(counts: Counts) -> Cell:
    return Cell(difference_text(counts), counts.difference)


def _number(value: int | None) -> Value:
    return Cell("–", math.nan) if value is None else value


def _setting(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
