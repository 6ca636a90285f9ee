"""Check whether a model can read sketches at all, on twenty built-in test sketches.

The result is not an accuracy: a model that fails is useless on the pad, but twenty sketches are too
few to rank models that pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from digitcnn.digits import hand_drawn
from digitcnn.digits.hand_drawn import Drawing
from digitcnn.network.checkpoint import Checkpoint

# A model trained for a minute misreads a few and is still useful on the pad.
MOST_WRONG = 4


@dataclass(frozen=True)
class DrawingCheck:
    """The result of the check.

    model: its name. n: number of sketches. wrong: the misread ones, with the predictions.
    """

    model: str
    n: int
    wrong: tuple[tuple[Drawing, int], ...]

    @property
    def warning(self) -> str:
        """One sentence where more than ``MOST_WRONG`` are misread, else empty."""
        if len(self.wrong) <= MOST_WRONG:
            return ""
        return (
            f"{self.model} misreads {len(self.wrong)} of the {self.n} built-in test sketches "
            f"({_mistakes(self.wrong)}); choose another model, or train one on more images."
        )

    @property
    def score(self) -> str:
        """How many it reads, as part of a sentence."""
        return f"reads {self.n - len(self.wrong)} of {self.n} test sketches"


def check_drawings(checkpoint: Checkpoint) -> DrawingCheck:
    """Classify the twenty sketches: 10 to 30 ms, the first time 20 ms more to render them."""
    sketches = hand_drawn.framed()
    predicted = checkpoint.probabilities(sketches.images).argmax(dim=1).tolist()
    wrong = tuple(
        (drawing, digit)
        for drawing, digit in zip(hand_drawn.drawings(), predicted, strict=True)
        if digit != drawing.digit
    )
    return DrawingCheck(checkpoint.name, len(sketches), wrong)


def _mistakes(wrong: Sequence[tuple[Drawing, int]]) -> str:
    """Return the first three, such as ``a 7 as 1, a 9 as 4 and 5 more``."""
    shown = [
        f"a{'n' if drawing.digit == 8 else ''} {drawing.digit} as {digit}"
        for drawing, digit in wrong[:3]
    ]
    more = len(wrong) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
