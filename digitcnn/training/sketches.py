"""What visitors drew, and its two halves: one that a network learns from, one that judges it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import FeedbackError

FEEDBACK = "feedback"

FEWEST_SKETCHES = 40
# With fewer in the other half there is next to nothing that could speak against a network.
FEWEST_JUDGED = 10


@dataclass(frozen=True, eq=False)
class Sketches:
    """What visitors drew and said it was, in the order in which it came.

    images: uint8 [N, 28, 28], as the network saw them. digits: uint8 [N], each 0 to 9.
    visitors: who drew each, by a name that is the same for all of one visitor's.

    Raises FeedbackError where the three do not belong together.
    """

    images: Tensor
    digits: Tensor
    visitors: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.digits) == len(self.visitors):
            raise FeedbackError(
                f"{len(self.images)} sketches came with {len(self.digits)} digits and "
                f"{len(self.visitors)} visitors; one of each is expected for every sketch."
            )

    def __len__(self) -> int:
        return len(self.visitors)

    def take(self, places: Sequence[int]) -> Sketches:
        chosen = torch.tensor(places, dtype=torch.long)
        visitors = [self.visitors[place] for place in places]
        return Sketches(self.images[chosen], self.digits[chosen], visitors)

    def as_digit_set(self) -> DigitSet:
        return DigitSet(self.images, self.digits, FEEDBACK, "test")


def halves(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """The half that is learned from and the other half, which judges.

    Of each visitor's sketches, as they came, the first goes to the learned half, the second to the
    other and so on in turn: a visitor with one sketch is learned from only. A sketch that was sent
    twice, the same pixels, counts once, with what was said last: it must not be on both sides.
    """
    latest = {
        (visitor, image.numpy().tobytes()): place
        for place, (visitor, image) in enumerate(
            zip(sketches.visitors, sketches.images, strict=True)
        )
    }
    learned: list[int] = []
    judged: list[int] = []
    seen: dict[str, int] = {}
    for place in sorted(latest.values()):
        visitor = sketches.visitors[place]
        (judged if seen.get(visitor, 0) % 2 else learned).append(place)
        seen[visitor] = seen.get(visitor, 0) + 1
    return sketches.take(learned), sketches.take(judged)


def check_sketches(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """The two halves. Raises FeedbackError where there are too few to learn from or to judge by."""
    if len(sketches) < FEWEST_SKETCHES:
        raise FeedbackError(
            f"{len(sketches)} sketches with their digit are there, but learning needs "
            f"{FEWEST_SKETCHES}; draw and say what it was."
        )
    learned, judged = halves(sketches)
    if len(judged) < FEWEST_JUDGED:
        raise FeedbackError(
            f"Only {len(judged)} sketches are left to judge by, but {FEWEST_JUDGED} are needed, as "
            "a visitor's first is learned from and sketches sent twice count once; draw more each."
        )
    return learned, judged
