"""Render the results of the Evaluate tab: tables, files, sentences, confusion matrices.

All texts of numbers come from ``analysis.metrics``, as in the figures and on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from digitcnn.analysis.metrics import (
    Evaluation,
    Gap,
    confusion_csv,
    decimal,
    evaluations_csv,
    gap_text,
    per_digit_csv,
)
from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.names import listed
from digitcnn.intervals import percent
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.tables import Cell, Value, csv_link, interval_cell, share_cell, table
from digitcnn.ui.wording import counted
from digitcnn.web.charts import Axis, Series, chart, linear_axis
from digitcnn.web.templates import render

BARS_WIDTH, BARS_HEIGHT = 560, 280

CAPTIONS = {
    "01_training_history": "Loss and accuracy per epoch; a blind guess has a loss of 2.3 nats.",
    "02_sample_data": "The same digits from each set, as the network sees them.",
    "03_predictions": "First images and most confident errors, with prediction and confidence.",
    "04_cross_dataset_evaluation": "Accuracy on each set, and errors per digit.",
    "05_conv_filters": "The 32 first-layer filters on a common scale.",
    "06_feature_maps": "One digit after each layer.",
    "07_confusion_matrix": "Which digits are confused; right predictions are muted.",
    "08_confidence_analysis": "Confidence compared with accuracy.",
    "09_stability_test": "Accuracy over repeated passes with dropout on.",
}


def summary(evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> Markup:
    """Render the accuracy on each set, large and with its interval, and the gaps in sentences."""
    return render(
        "evaluate/summary.html",
        cards=[
            {
                "title": one.title,
                "accuracy": percent(one.accuracy),
                "low": f"{100 * one.accuracy_low:.2f}",
                "high": f"{100 * one.accuracy_high:.2f}",
                "errors": f"{one.errors:,} of {one.n:,} wrong",
            }
            for one in evaluations
        ],
        sentences=[gap_sentence(gap) for gap in gaps],
    )


def gap_sentence(gap: Gap) -> str:
    """Return what a gap says, in a sentence."""
    if gap.low <= 0 <= gap.high:
        return (
            f"These images show no difference in accuracy between {gap.first} and {gap.second}: "
            f"{gap_text(gap)}."
        )
    than = "less" if gap.points > 0 else "more"
    low, high = sorted((abs(gap.low), abs(gap.high)))
    return (
        f"On {gap.second} images the model is {abs(gap.points):.2f} points {than} accurate than on "
        f"{gap.first} images (95% interval {low:.2f} to {high:.2f})."
    )


def digit_errors(evaluations: Sequence[Evaluation]) -> Markup:
    """Draw the share of errors per true digit, with 95% intervals; a colour per set."""
    width = 0.8 / len(evaluations)
    series = []
    for place, one in enumerate(evaluations):
        rows = [row for row in one.per_digit if row.support]
        bounds = [row.error_interval for row in rows]
        across = [row.digit + (place - (len(evaluations) - 1) / 2) * width for row in rows]
        series.append(
            Series(
                name=one.title,
                points=[
                    (x, 100 * row.errors / row.support) for x, row in zip(across, rows, strict=True)
                ],
                colour=1 + place % 6,
                line=False,
                bar=0.9 * width,
                notes=[
                    f"{one.title}, digit {row.digit}: {row.errors:,} of {row.support:,} wrong"
                    for row in rows
                ],
                intervals=[
                    (x, 100 * low, 100 * high)
                    for x, (low, high) in zip(across, bounds, strict=True)
                ],
            )
        )
    highest = [high for one in series for _, _, high in one.intervals]
    return chart(
        "Errors per true digit (%), with 95% intervals",
        Axis("True digit", -0.5, CLASSES - 0.5, [(digit, str(digit)) for digit in range(CLASSES)]),
        linear_axis("%", [0.0, *highest], bounds=(0.0, 100.0)),
        series,
        legend=True,
        width=BARS_WIDTH,
        height=BARS_HEIGHT,
    )


def evaluations_table(evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> Markup:
    """Render a row per digit set and, at the foot, a row per gap."""
    rows: list[list[Value]] = [
        [
            result.title,
            result.n,
            result.errors,
            interval_cell(result.accuracy_text, result.accuracy),
            Cell(decimal(result.nll), result.nll),
            Cell(decimal(result.brier), result.brier),
            share_cell(result.ece),
            share_cell(result.macro_f1),
        ]
        for result in evaluations
    ]
    footer: list[list[Value]] = [
        [
            f"{gap.first} minus {gap.second}",
            "",
            "",
            interval_cell(gap_text(gap), gap.points),
            "",
            "",
            "",
            "",
        ]
        for gap in gaps
    ]
    headers = ["Digit set", "Images", "Errors", "Accuracy (95% interval)", "NLL", "Brier", "ECE"]
    return table(
        [*headers, "Macro-F1"],
        rows,
        label="Accuracy and calibration per digit set",
        footer=footer,
        advanced=("NLL", "Brier", "ECE", "Macro-F1"),
    )


def per_digit_table(evaluations: Sequence[Evaluation]) -> Markup:
    """Render a row per digit set and digit."""
    rows: list[list[Value]] = [
        [
            result.title,
            row.digit,
            share_cell(row.precision),
            share_cell(row.recall),
            share_cell(row.f1),
            row.support,
        ]
        for result in evaluations
        for row in result.per_digit
    ]
    return table(
        ["Digit set", "Digit", "Precision", "Recall", "F1", "Support"],
        rows,
        label="Precision, recall and F1 per digit",
    )


def words(checkpoint: Checkpoint, evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> Markup:
    """Render the sentence on calibration, and the tables as CSV files."""
    return render(
        "evaluate/words.html",
        calibration=calibration_sentence(checkpoint),
        links=[
            csv_link(evaluations_csv(evaluations, gaps), "evaluation.csv", "Results by set (CSV)"),
            csv_link(per_digit_csv(evaluations), "per-digit.csv", "Results by digit (CSV)"),
            csv_link(confusion_csv(evaluations), "confusion.csv", "Confusion matrices (CSV)"),
        ],
    )


def calibration_sentence(checkpoint: Checkpoint) -> str:
    """Return a sentence on the temperature, with its caveat."""
    if not checkpoint.calibrated:
        return "This model is not calibrated: NLL, Brier score and ECE use its raw probabilities."
    return (
        "NLL, Brier score and ECE, under All columns, are calibrated with temperature "
        f"{checkpoint.temperature:.2f}, fitted on held-out "
        f"{listed(checkpoint.details.digits or '')} images; it may not suit other sets."
    )


def summary_line(checkpoint: Checkpoint, evaluations: Sequence[Evaluation]) -> str:
    """Return the result in a sentence."""
    parts = [f"{result.accuracy_text} on {result.title}" for result in evaluations]
    return f"{checkpoint.name}: {'; '.join(parts)}."


def matrices(evaluations: Sequence[Evaluation]) -> Markup:
    """Render a confusion matrix per set, whose filled cells are buttons."""
    return render(
        "evaluate/matrices.html",
        matrices=[
            {
                "digits": result.digits,
                "caption": f"{result.title}: {result.errors:,} of {result.n:,} wrong",
                "rows": _matrix(result),
            }
            for result in evaluations
        ],
    )


def _matrix(result: Evaluation) -> list[list[dict[str, object] | None]]:
    """Return the cells by true and predicted digit; None where there are no images."""
    pairs = [(true, predicted) for true in range(CLASSES) for predicted in range(CLASSES)]
    counts = {(t, p): result.confusion[t][p] for t, p in pairs if result.confusion[t][p]}
    shares = {(t, p): count / sum(result.confusion[t]) for (t, p), count in counts.items()}
    largest = max((share for (t, p), share in shares.items() if t != p), default=0.0)
    rows: list[list[dict[str, object] | None]] = [[None] * CLASSES for _ in range(CLASSES)]
    for (true, predicted), count in counts.items():
        # The square root keeps rare confusions visible beside frequent ones.
        heat = 15 + 70 * (shares[true, predicted] / largest) ** 0.5 if true != predicted else 0
        rows[true][predicted] = {
            "count": f"{count:,}",
            "heat": round(heat),
            "first": (true, predicted) == next(iter(counts)),
            "label": f"{counted(count, 'image')} of {true} predicted as {predicted}",
        }
    return rows


def caption(name: str) -> str:
    """Return the caption of one of the nine, with its number."""
    return f"{name[:2]} · {CAPTIONS[name]}"


def figures_note(missing: Mapping[str, str]) -> Markup:
    """Render the note beside the gallery: why figures are missing, by their names."""
    return render(
        "evaluate/figures_note.html",
        missing=[(caption(name), reason) for name, reason in missing.items()],
    )
