"""What the verdicts add up to: accuracy per digit and model, and how far 'sure' can be believed.

People judge what they choose to judge, so this is the accuracy on their drawings and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from digitcnn.analysis.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability_of,
)
from digitcnn.analysis.metrics import accuracy_text, percent
from digitcnn.feedback import FeedbackFilter, FeedbackStore, ModelScore, Score
from digitcnn.intervals import wilson_interval

# Few verdicts make fine bins empty.
BINS = 10

WIDTH, HEIGHT = 300, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 12, 36


def numbers_of(store: FeedbackStore, wanted: FeedbackFilter) -> dict[str, Any]:
    """Three tables, as rows of texts, and a chart, as SVG, of the verdicts that are wanted.

    ``{"digits": [digit, right of total, accuracy], "models": [the same per model],
    "bins": [from, to, answers, mean confidence, accuracy], "calibration": sentence, "chart"}``.
    Raises FeedbackError.
    """
    bins = reliability_of(*store.confidences(wanted), BINS)
    return {
        "digits": [
            ["no digit" if digit is None else str(digit), *_texts(score)]
            for digit, score in store.scores_by_digit(wanted).items()
        ],
        "models": [
            [model_label(model), *_texts(model.score)] for model in store.scores_by_model(wanted)
        ],
        "bins": [
            [
                f"{100 * each.low:.0f} to {100 * each.high:.0f} %",
                f"{each.count:,}",
                percent(each.confidence),
                accuracy_text(each.accuracy, each.count),
            ]
            for each in bins
            if each.count
        ],
        "calibration": calibration_sentence(bins),
        "chart": reliability_chart(bins),
    }


def model_label(model: ModelScore) -> str:
    """A network by its name and the beginning of its digest, for names may be given twice."""
    return f"{model.name} ({model.digest[:8]})"


def _texts(score: Score) -> list[str]:
    return [f"{score.right:,} of {score.total:,}", accuracy_text(score.share, score.total)]


def calibration_sentence(bins: Sequence[ReliabilityBin]) -> str:
    """How sure the answers were, and how often they were right."""
    n = sum(each.count for each in bins)
    if not n:
        return "No verdict on a digit yet: judge some answers, and see whether 'sure' means right."
    filled = [each for each in bins if each.count]
    sure = sum(each.count * each.confidence for each in filled) / n
    right = sum(each.count * each.accuracy for each in filled) / n
    named = "answer that named a digit was" if n == 1 else "answers that named a digit were"
    return (
        f"{n:,} {named} {percent(sure)} sure on average, and people called "
        f"{accuracy_text(right, n)} of them right; expected calibration error "
        f"{percent(expected_calibration_error(bins))}."
    )


def reliability_chart(bins: Sequence[ReliabilityBin]) -> str:
    """Confidence across, accuracy up: a dot per bin with its 95 % interval, larger for more
    answers; on the dashed line confidence is what it claims to be."""

    def x(share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    most = max((each.count for each in bins), default=0)
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path class="grid" d="M{x(0)} {y(tick):.1f}H{x(1)}"/>')
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y(tick) + 4:.1f}">{tick:.0%}</text>')
        anchor = "end" if tick == 1 else "middle"
        parts.append(f'<text class="{anchor}" x="{x(tick)}" y="{HEIGHT - 20}">{tick:.0%}</text>')
    parts.append(f'<path class="even" d="M{x(0)} {y(0)}L{x(1)} {y(1)}"/>')
    for each in bins:
        if not each.count:
            continue
        low, high = wilson_interval(round(each.accuracy * each.count), each.count)
        across = x(each.confidence)
        radius = 3 + 5 * (each.count / most) ** 0.5
        told = (
            f"{each.count:,} answers, on average {percent(each.confidence)} sure: "
            f"{accuracy_text(each.accuracy, each.count)} right"
        )
        parts.append(f'<path class="interval" d="M{across:.1f} {y(low):.1f}V{y(high):.1f}"/>')
        parts.append(
            f'<circle cx="{across:.1f}" cy="{y(each.accuracy):.1f}" r="{radius:.1f}">'
            f"<title>{told}</title></circle>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="middle" x="{middle}" y="{HEIGHT - 4}">how sure the answer was</text>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="How often answers were right, against how sure they were">'
        f"{''.join(parts)}</svg>"
    )
