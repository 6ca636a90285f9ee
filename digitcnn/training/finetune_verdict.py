"""Decide whether a fine-tuned model is saved, from both models' results on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from digitcnn.analysis.comparison import compare
from digitcnn.analysis.predictions import Predictions
from digitcnn.intervals import accuracy_text

# Random labels cannot be learned, and few of them do the held-out images no visible harm. A model
# that gets less than this share of the other half right has learned nothing.
MIN_RIGHT = 0.5
# The most that held-out images may lose, in percentage points, with 97.5% certainty.
MAX_LOSS = 0.3


@dataclass(frozen=True)
class ComparisonRow:
    """Both models on the same images, before and after fine-tuning.

    title: of the images. decides: whether the row counts for the decision.
    before, after: accuracies, as fractions of ``n`` images. difference: after minus before, with
    its paired 95% interval from low to high, in percentage points (Newcombe's, see
    ``intervals.newcombe_paired_difference``).
    """

    title: str
    decides: bool
    n: int
    before: float
    after: float
    difference: float
    low: float
    high: float


def compare_models(
    title: str, before: Predictions, after: Predictions, *, decides: bool
) -> ComparisonRow:
    """Compare the models. Raises ValueError for predictions of different images."""
    comparison = compare(("after", "before"), (after, before), (1.0, 1.0))
    pair, (new, old) = comparison.pair(0, 1), comparison.evaluations
    return ComparisonRow(
        title, decides, comparison.n, old.accuracy, new.accuracy, pair.difference, *pair.interval
    )


def objections(feedback: ComparisonRow, held_out: Sequence[ComparisonRow]) -> list[str]:
    """Return the objections to the fine-tuned model, in words; without any, it is saved.

    feedback: the other half of the feedback; the model must not be worse on it, and right on
    MIN_RIGHT of it. held_out: the held-out images in each framing; the lower end of each paired
    interval must be above -MAX_LOSS.
    """
    reasons = []
    after = accuracy_text(feedback.after, feedback.n)
    if feedback.after < MIN_RIGHT:
        reasons.append(
            f"even after fine-tuning it gets only {after} of the other half of the feedback right "
            "(check the labels)"
        )
    if feedback.after < feedback.before:
        reasons.append(
            f"on the other half of the feedback it gets {after} right, and the old model "
            f"{accuracy_text(feedback.before, feedback.n)}"
        )
    reasons += [
        f"on {row.title} it may have lost {-row.low:.2f} points (difference "
        f"{row.difference:+.2f}, 95% interval {row.low:+.2f} to {row.high:+.2f}), more than the "
        f"limit of {MAX_LOSS}"
        for row in held_out
        if not row.low > -MAX_LOSS
    ]
    return reasons
