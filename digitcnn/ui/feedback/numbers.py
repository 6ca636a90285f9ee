"""What the feedback adds up to: accuracy per digit and model, and how reliable confidence is.

People choose what to rate, so these are the accuracies on their sketches and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from digitcnn.analysis.calibration import ReliabilityBin, expected_calibration_error, reliability_of
from digitcnn.feedback.entry import FeedbackFilter, ModelScore, Score
from digitcnn.feedback.store import FeedbackStore
from digitcnn.intervals import accuracy_text, confidence_text, percent
from digitcnn.web.charts import Series, chart, share_axis

# With little feedback, narrower bins would be empty.
BINS = 10

WIDTH, HEIGHT = 360, 260


def numbers_of(store: FeedbackStore, which: FeedbackFilter) -> dict[str, Any]:
    """Return three tables, as rows of texts, and a chart, as SVG, of the entries that match.

    ``{"digits": [digit, right of total, accuracy], "models": [the same per model],
    "bins": [range, predictions, mean confidence, accuracy], "calibration": sentence, "chart"}``.
    Raises FeedbackError.
    """
    bins = [one for one in reliability_of(*store.confidences(which), BINS) if one.count]
    return {
        "digits": [
            ["not a digit" if digit is None else str(digit), *_texts(score)]
            for digit, score in store.scores_by_digit(which).items()
        ],
        "models": [
            [model_label(model), *_texts(model.score)] for model in store.scores_by_model(which)
        ],
        "bins": [
            [
                f"{one.low:.0%} to {one.high:.0%}",
                f"{one.count:,}",
                confidence_text(one.confidence),
                accuracy_text(one.accuracy, one.count),
            ]
            for one in bins
        ],
        "calibration": calibration_sentence(bins),
        "chart": reliability_chart(bins),
    }


def model_label(model: ModelScore) -> str:
    """Return a model's name with the start of its digest: two models may share a name."""
    return f"{model.name} ({model.digest[:8]})"


def _texts(score: Score) -> list[str]:
    return [f"{score.right:,} of {score.total:,}", accuracy_text(score.share, score.total)]


def calibration_sentence(bins: Sequence[ReliabilityBin]) -> str:
    """Return a sentence on mean confidence and the share of predictions rated right."""
    n = sum(one.count for one in bins)
    if not n:
        return "No ratings yet. Rate some predictions to see whether confidence matches accuracy."
    confidence = sum(one.count * one.confidence for one in bins) / n
    accuracy = sum(one.count * one.accuracy for one in bins) / n
    return (
        f"{n:,} digit prediction{'s' * (n != 1)}: mean confidence {confidence_text(confidence)}, "
        f"{accuracy_text(accuracy, n)} rated right; expected calibration error "
        f"{percent(expected_calibration_error(bins))}."
    )


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """Draw accuracy against confidence.

    A dot per bin with its 95% interval, larger for more predictions; on the dashed line confidence
    equals accuracy.
    """
    most = max((one.count for one in bins), default=1)
    rated = Series(
        name="Accuracy",
        points=[(one.confidence, one.accuracy) for one in bins],
        marker="circle",
        line=False,
        radii=[3 + 5 * (one.count / most) ** 0.5 for one in bins],
        notes=[
            f"{one.count:,} predictions, mean confidence {confidence_text(one.confidence)}: "
            f"{accuracy_text(one.accuracy, one.count)} right"
            for one in bins
        ],
        intervals=[(one.confidence, *one.interval) for one in bins],
    )
    equal = Series(
        name="Confidence equals accuracy", points=[(0, 0), (1, 1)], colour=0, dashed=True
    )
    return chart(
        "Accuracy by confidence",
        share_axis("Confidence"),
        share_axis("Accuracy"),
        [equal, rated],
        legend=False,
        width=WIDTH,
        height=HEIGHT,
    )
