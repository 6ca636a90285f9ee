"""Labelled sketches, and their two halves: one for fine-tuning, one for testing the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import FeedbackError

FEEDBACK = "feedback"

FEWEST_SKETCHES = 40
# A smaller other half could hardly show that a model became worse.
FEWEST_TESTED = 10


@dataclass(frozen=True, eq=False)
class Sketches:
    """Labelled sketches, oldest first.

    images: uint8 [N, 28, 28], as the network saw them. digits: uint8 [N], each 0 to 9.
    visitors: identifies who drew each.
    """

    images: Tensor
    digits: Tensor
    visitors: Sequence[str]

    def __len__(self) -> int:
        return len(self.visitors)

    def take(self, indices: Sequence[int]) -> Sketches:
        """Return the sketches at ``indices``, in that order."""
        chosen = torch.tensor(indices, dtype=torch.long)
        visitors = [self.visitors[index] for index in indices]
        return Sketches(self.images[chosen], self.digits[chosen], visitors)

    def as_digit_set(self) -> DigitSet:
        """Return the sketches as a test set."""
        return DigitSet(self.images, self.digits, FEEDBACK, "test")


def halves(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """Split into the half to fine-tune on and the half to test on.

    Each visitor's sketches alternate between the two, oldest first: a visitor with one sketch is
    trained on only. A sketch that was sent twice, the same pixels, counts once, with its last
    label: it must not be in both halves.
    """
    latest = {
        (visitor, image.numpy().tobytes()): index
        for index, (visitor, image) in enumerate(
            zip(sketches.visitors, sketches.images, strict=True)
        )
    }
    learning: list[int] = []
    testing: list[int] = []
    counts: Counter[str] = Counter()
    for index in sorted(latest.values()):
        visitor = sketches.visitors[index]
        (testing if counts[visitor] % 2 else learning).append(index)
        counts[visitor] += 1
    return sketches.take(learning), sketches.take(testing)


def check_sketches(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """Return the two halves. Raises FeedbackError where there are too few sketches."""
    if len(sketches) < FEWEST_SKETCHES:
        raise FeedbackError(
            f"There are {len(sketches)} labelled sketches, but fine-tuning needs "
            f"{FEWEST_SKETCHES}; draw and label more."
        )
    learning, testing = halves(sketches)
    if len(testing) < FEWEST_TESTED:
        raise FeedbackError(
            f"Only {len(testing)} sketches are left for testing, but {FEWEST_TESTED} are needed "
            "(each visitor's first is used for training, duplicates count once); draw more."
        )
    return learning, testing
