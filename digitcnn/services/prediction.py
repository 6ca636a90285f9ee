"""Read the digit or the number of one picture or drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.framing import Doubles
from digitcnn.digits.image_files import full_size, grey_of, open_image
from digitcnn.digits.ink import Ink, find_ink
from digitcnn.digits.numbers import Box, NotOneRowError, Part, Pieces, pieces_of_ink, split
from digitcnn.network.checkpoint import Checkpoint, Classification

# What it costs, in nats, to take for a digit what the OOD detector rejects.
REJECTED_COST = 2.5


@dataclass(frozen=True)
class Reading:
    """A model's prediction for one digit.

    probabilities: ten, calibrated. is_digit, digit_score: as in ``Classification``; None where the
    model cannot reject non-digits. seen: what it was made from, uint8 [28, 28]. box: left, top,
    width and height of the ink, in the picture's pixels or in sides of the pad; None for a 28x28.
    """

    probabilities: list[float]
    is_digit: bool | None
    digit_score: float | None
    seen: Tensor
    box: Box | None = None

    @property
    def closest(self) -> int:
        """The most probable digit, even if the image is rejected."""
        return max(range(CLASSES), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of ``closest``."""
        return self.probabilities[self.closest]

    @property
    def prediction(self) -> int | None:
        """The predicted digit; None for 'not a digit'."""
        return None if self.is_digit is False else self.closest

    def to_json(self) -> dict[str, Any]:
        """Return digit, probabilities, and where the model has a detector its verdict and score."""
        values = {"digit": self.closest, "probabilities": self.probabilities}
        if self.is_digit is None:
            return values
        return {**values, "is_digit": self.is_digit, "digit_score": self.digit_score}


@dataclass(frozen=True)
class NumberReading:
    """A model's predictions for several digits side by side, from left to right."""

    parts: Sequence[Reading]

    @property
    def number(self) -> str:
        """The closest digits."""
        return "".join(str(part.closest) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the number and its parts; the whole is not a digit."""
        parts = [{**part.to_json(), "box": list(part.box or ())} for part in self.parts]
        return {"digit": None, "is_digit": False, "number": self.number, "parts": parts}


@dataclass(frozen=True)
class Refusal:
    """Ink that is neither a digit nor a number in one row. reason: a sentence."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return that it is not a digit, and why."""
        return {"digit": None, "is_digit": False, "reason": self.reason}


AnyReading = Reading | NumberReading | Refusal


def digits_of(reading: AnyReading) -> Sequence[Reading]:
    """Return the digit, or the digits of a number, or nothing."""
    if isinstance(reading, Reading):
        return [reading]
    return reading.parts if isinstance(reading, NumberReading) else []


def read_image(checkpoint: Checkpoint, seen: Tensor) -> Reading:
    """Classify one image, uint8 [28, 28]."""
    return _readings(checkpoint, [Part(seen, None)])[0]


def read_image_file(checkpoint: Checkpoint, content: bytes) -> AnyReading | None:
    """Read an image file of any size; None for a blank image. Raises SketchError."""
    ink = ink_of_file(content)
    return None if ink is None else read_pieces(checkpoint, pieces_of_ink(ink))


def ink_of_file(content: bytes) -> Ink | None:
    """Return an image file's ink; None for a blank image. Raises SketchError."""
    grey = grey_of(open_image(content))
    width, height = full_size(content)
    return find_ink(grey, (width / grey.shape[1], height / grey.shape[0]))


def read_pieces(checkpoint: Checkpoint, pieces: Pieces) -> AnyReading:
    """Split pieces of ink into digits, and read each."""

    def costs_of(images: Tensor) -> Doubles:
        classified = _classify(checkpoint, images)
        costs: Doubles = -np.log(
            classified.probabilities.cpu().numpy().max(axis=1).clip(1e-6).astype(float)
        )
        if classified.is_digit is not None:
            costs += REJECTED_COST * ~classified.is_digit.cpu().numpy()
        return costs

    try:
        parts = split(pieces, costs_of)
    except NotOneRowError as error:
        return Refusal(str(error))
    readings = _readings(checkpoint, parts)
    return readings[0] if len(readings) == 1 else NumberReading(readings)


def _classify(checkpoint: Checkpoint, images: Tensor) -> Classification:
    return checkpoint.classify(images.to(checkpoint.classifier.device))


def _readings(checkpoint: Checkpoint, parts: Sequence[Part]) -> list[Reading]:
    classified = _classify(checkpoint, torch.stack([part.image for part in parts]))
    verdicts, scores = classified.is_digit, classified.digit_score
    return [
        Reading(
            probabilities=classified.probabilities[index].tolist(),
            is_digit=None if verdicts is None else bool(verdicts[index]),
            digit_score=None if scores is None else float(scores[index]),
            seen=part.image,
            box=part.box,
        )
        for index, part in enumerate(parts)
    ]
