"""The numbers of the Evaluate tab: tables, files, and what is said of them.

Everything is made of results that were computed elsewhere, and all texts of numbers come from
``analysis.metrics``, as on the figures and the command line.
"""

from __future__ import annotations

from collections.abc import Sequence

from digitcnn.analysis.metrics import (
    Evaluation,
    Gap,
    accuracy_text,
    confusion_csv,
    decimal,
    evaluations_csv,
    gap_text,
    per_digit_csv,
    percent,
)
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.tables import Cell, Value, csv_link, table

LINKS_STYLE = """
.downloads { display: flex; flex-wrap: wrap; gap: 2px 1.4em; margin-top: 6px; }
.downloads .download { margin: 0; }
"""


def evaluations_table(evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> str:
    """A row per digit set and, at the foot, a row per gap."""
    rows: list[list[Value]] = [
        [
            found.title,
            found.n,
            found.errors,
            Cell(found.accuracy_text, found.accuracy),
            Cell(decimal(found.nll), found.nll),
            Cell(decimal(found.brier), found.brier),
            Cell(percent(found.ece), found.ece),
            Cell(percent(found.macro_f1), found.macro_f1),
        ]
        for found in evaluations
    ]
    footer: list[list[Value]] = [
        [f"{gap.first} minus {gap.second}", "", "", Cell(gap_text(gap), gap.points), "", "", "", ""]
        for gap in gaps
    ]
    headers = ["digit set", "images", "errors", "accuracy (95 % interval)", "NLL", "Brier", "ECE"]
    return table(
        [*headers, "macro-F1"], rows, label="Accuracy and calibration per digit set", footer=footer
    )


def per_digit_table(evaluations: Sequence[Evaluation]) -> str:
    """A row per digit set and digit."""
    rows: list[list[Value]] = [
        [
            found.title,
            row.digit,
            Cell(percent(row.precision), row.precision),
            Cell(percent(row.recall), row.recall),
            Cell(percent(row.f1), row.f1),
            row.support,
        ]
        for found in evaluations
        for row in found.per_digit
    ]
    return table(
        ["digit set", "digit", "precision", "recall", "F1", "support"],
        rows,
        label="Precision, recall and F1 per digit",
    )


def csv_links(evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> str:
    """The tables as files."""
    return '<div class="downloads">' + "".join(
        csv_link(text, f"{name}.csv", f"{shown} (CSV)")
        for text, name, shown in (
            (evaluations_csv(evaluations, gaps), "evaluation", "Table per set"),
            (per_digit_csv(evaluations), "per-digit", "Table per digit"),
            (confusion_csv(evaluations), "confusion", "Confusion matrices"),
        )
    ) + "</div>"  # fmt: skip


def calibration_sentence(checkpoint: Checkpoint) -> str:
    """What the temperature is, and what it does not promise."""
    details = checkpoint.details
    if details.temperature is None:
        return "This file has no temperature: 1. NLL, Brier score and ECE are as the network gives."
    return (
        f"NLL, Brier score and ECE are after the temperature {details.temperature:.2f}, fitted on "
        f"held-out images of {details.digits}; it promises nothing elsewhere."
    )


def told(checkpoint: Checkpoint, evaluations: Sequence[Evaluation]) -> str:
    """The result in a sentence."""
    parts = [f"{accuracy_text(e.accuracy, e.n)} on {e.title}" for e in evaluations]
    return f"{checkpoint.name}: {'; '.join(parts)}."
