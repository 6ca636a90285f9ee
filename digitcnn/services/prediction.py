"""Read the digit of one image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.image_files import open_image
from digitcnn.digits.sketch import from_image
from digitcnn.network.checkpoint import Checkpoint


@dataclass(frozen=True)
class Reading:
    """A model's prediction for one image.

    probabilities: ten, calibrated.
    is_digit: None where the model cannot reject non-digits.
    """

    probabilities: list[float]
    is_digit: bool | None

    @property
    def closest(self) -> int:
        """The most probable digit, even if the image is rejected."""
        return max(range(CLASSES), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of ``closest``."""
        return self.probabilities[self.closest]

    @property
    def answer(self) -> int | None:
        """The predicted digit; None for 'not a digit'."""
        return None if self.is_digit is False else self.closest


def read_image(checkpoint: Checkpoint, seen: Tensor) -> Reading:
    """Classify one image, uint8 [28, 28]."""
    answers = checkpoint.answers(seen[None].to(checkpoint.classifier.device))
    is_digit = None if answers.is_digit is None else bool(answers.is_digit[0])
    return Reading(answers.probabilities[0].tolist(), is_digit)


def read_image_file(checkpoint: Checkpoint, content: bytes) -> Reading | None:
    """Classify an image file of any size; None for a blank image. Raises SketchError."""
    seen = from_image(open_image(content))
    return None if seen is None else read_image(checkpoint, seen)
