"""Held-out images with their predictions after an epoch, for people who watch a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from digitcnn.digits.digit_set import CLASSES

# The most confident errors that are shown.
MOST_ERRORS = 10


@dataclass(frozen=True, eq=False)
class Sample:
    """A held-out image, uint8 [28, 28] on the CPU, and its prediction.

    confidence: the probability of the prediction, 0 to 1, uncalibrated.
    """

    image: Tensor
    label: int
    prediction: int
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label


@dataclass(frozen=True)
class Samples:
    """The first image of each digit, the same in every epoch, and the most confident errors."""

    digits: tuple[Sample, ...] = ()
    errors: tuple[Sample, ...] = ()


def samples_of(images: Tensor, labels: Tensor, logits: Tensor) -> Samples:
    """Choose samples of held-out images.

    images: uint8 [N, 28, 28]. labels: int64 [N]. logits: float32 [N, 10].
    """
    confidences, predictions = logits.softmax(1).max(1)

    def read(indices: list[int]) -> Iterator[Sample]:
        for index in indices:
            label, prediction = int(labels[index]), int(predictions[index])
            image = images[index].cpu().clone()
            yield Sample(image, label, prediction, float(confidences[index]))

    places = [(labels == digit).nonzero()[:1].flatten() for digit in range(CLASSES)]
    wrong = (predictions != labels).nonzero().squeeze(1)
    most = confidences[wrong].argsort(descending=True, stable=True)[:MOST_ERRORS]
    return Samples(
        tuple(read([int(place) for place in places if len(place)])),
        tuple(read(wrong[most].tolist())),
    )
