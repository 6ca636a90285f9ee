"""Whether a network can read drawings at all: its answers to the twenty that come with the program.

This is a check and no accuracy: a network that fails it is useless on the pad, one that passes may
still be better or worse than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from digitcnn.digits import hand_drawn
from digitcnn.digits.hand_drawn import Drawing
from digitcnn.network.checkpoint import Checkpoint

MOST_WRONG = 1


@dataclass(frozen=True)
class DrawingCheck:
    """How a network read the drawings.

    model: its name. n: how many drawings there are. wrong: those read wrongly, with the answers.
    """

    model: str
    n: int
    wrong: tuple[tuple[Drawing, int], ...]

    @property
    def passed(self) -> bool:
        return len(self.wrong) <= MOST_WRONG

    @property
    def warning(self) -> str:
        """One sentence where too many are wrong, else empty."""
        if self.passed:
            return ""
        return (
            f"{self.model} misreads {len(self.wrong)} of the {self.n} drawn digits that come with "
            f"the program ({_mistakes(self.wrong)}), so do not expect much of it on the pad; "
            "choose another model, or train one on more images or longer."
        )


def check_drawings(checkpoint: Checkpoint) -> DrawingCheck:
    """One forward pass over twenty images: 10 to 30 ms, the first time 20 ms more to draw them."""
    drawn = hand_drawn.framed()
    answers = checkpoint.probabilities(drawn.images).argmax(dim=1).tolist()
    wrong = tuple(
        (drawing, answer)
        for drawing, answer in zip(hand_drawn.drawings(), answers, strict=True)
        if answer != drawing.digit
    )
    return DrawingCheck(checkpoint.name, len(drawn), wrong)


def _mistakes(wrong: Sequence[tuple[Drawing, int]]) -> str:
    """The first three, such as ``a 7 as 1, a 9 as 4 and 5 more``."""
    shown = [f"a{'n' if drawing.digit == 8 else ''} {drawing.digit} as {answer}"
             for drawing, answer in wrong[:3]]  # fmt: skip
    more = len(wrong) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
