"""Whether a tuned network is kept: both networks on the same images, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from digitcnn.analysis.comparison import compare
from digitcnn.analysis.metrics import accuracy_text
from digitcnn.analysis.predictions import Predictions

# Digits said at random cannot be learned, and few of them do the held-out images no harm that could
# be seen. What is right on less than this share of the other half has learned no hand.
LEAST_RIGHT = 0.5
# What the held-out images may lose at most, in percentage points, with 97.5 % certainty.
LARGEST_LOSS = 0.3


@dataclass(frozen=True)
class Row:
    """Both networks on the same images, before and after the tuning.

    title: which images. decides: whether the row had a say in keeping the tuned network.
    before, after: accuracies, as fractions of ``n`` images. difference: after minus before, with
    its paired 95 % interval from low to high, in percentage points (Newcombe's, see
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


def row(title: str, before: Predictions, after: Predictions, *, decides: bool) -> Row:
    """Raises ValueError for predictions of different images."""
    found = compare(("after", "before"), (after, before), (None, None))
    pair, (new, old) = found.pair(0, 1), found.evaluations
    return Row(title, decides, found.n, old.accuracy, new.accuracy, pair.difference, *pair.interval)


def objections(judged: Row, held_out: Sequence[Row]) -> list[str]:
    """What speaks against the tuned network, with the figures; it is kept where nothing does.

    judged: the other half of the feedback, on which it must not be worse, and right on LEAST_RIGHT
    of it. held_out: the held-out images in each framing; the lower end of each paired interval must
    be above -LARGEST_LOSS.
    """
    found = []
    if judged.after < LEAST_RIGHT:
        found.append(
            f"even after learning it gets only {accuracy_text(judged.after, judged.n)} of the "
            "other half of the feedback right, so look whether people said what they drew"
        )
    if judged.after < judged.before:
        found.append(
            f"on the other half of the feedback it gets {accuracy_text(judged.after, judged.n)} "
            f"right where the old model gets {accuracy_text(judged.before, judged.n)}"
        )
    found += [
        f"on {row.title} it may have lost {-row.low:.2f} points (the difference is "
        f"{row.difference:+.2f}, 95 % interval {row.low:+.2f} to {row.high:+.2f}), and "
        f"{LARGEST_LOSS} is the limit"
        for row in held_out
        if not row.low > -LARGEST_LOSS
    ]
    return found
