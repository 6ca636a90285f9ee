"""Measure how a classifier copes with distorted and corrupted digits.

``measure`` gives a classifier's accuracy along each of the ``axes`` and under attack, ``perturb``
its predictions for one sketch and the strengths at which the prediction changes. Only one
distortion is applied at a time.

The distorted images are uint8, as all input images are, so the page shows exactly what was
classified.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from digitcnn.analysis.adversarial import CURVE_SIZES, STEPS, AttackCurve, accuracy_under_attack
from digitcnn.analysis.axes import AXES, SKETCH_AXES, Axis
from digitcnn.analysis.predictions import predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import set_title
from digitcnn.network.classifier import Classifier
from digitcnn.shared_cache import Progress, unwatched

# Accuracies are measured on at most this many images of a set.
MOST_IMAGES = 1000


# One sketch


@dataclass(frozen=True, eq=False)
class Perturbation:
    """The predictions for one sketch along one axis.

    images: uint8 [V, 28, 28]. probabilities: float32 [V, 10]. predicted: the digit for the
    unchanged sketch. rival: the other digit whose probability is highest anywhere on the axis.
    below, above: going away from the neutral strength, the first with another prediction; NaN
    where the prediction never changes.
    """

    axis: Axis
    images: Tensor
    probabilities: Tensor
    predicted: int
    rival: int
    below: float
    above: float


def perturb(
    classifier: Classifier, image: Tensor, temperature: float = 1.0
) -> tuple[Perturbation, ...]:
    """Classify one sketch along ``SKETCH_AXES``, in one batch of some 80 images.

    classifier: on the CPU; its ``inference_copy`` is three times as fast. image: uint8 [28, 28].
    """
    images = [
        torch.cat([axis.apply(image[None], value) for value in axis.values]) for axis in SKETCH_AXES
    ]
    with torch.inference_mode():
        logits = classifier.logits(torch.cat(images))
    probabilities = torch.softmax(logits / temperature, dim=1)
    parts = probabilities.split([len(part) for part in images])
    return tuple(_perturbation(*row) for row in zip(SKETCH_AXES, images, parts, strict=True))


def _perturbation(axis: Axis, images: Tensor, probabilities: Tensor) -> Perturbation:
    digits = probabilities.argmax(dim=1).tolist()
    neutral = axis.values.index(axis.neutral)
    predicted = digits[neutral]
    highest = probabilities.amax(dim=0)
    highest[predicted] = -1
    changed = [v if d != predicted else None for v, d in zip(axis.values, digits, strict=True)]
    return Perturbation(
        axis,
        images,
        probabilities,
        predicted,
        int(highest.argmax()),
        _first(changed[neutral::-1]),
        _first(changed[neutral:]),
    )


def _first(values: Sequence[float | None]) -> float:
    return next((value for value in values if value is not None), math.nan)


# A whole digit set


@dataclass(frozen=True)
class Curve:
    """How many images are classified correctly at each of the axis' values."""

    axis: Axis
    right: tuple[int, ...]

    def at(self, value: float) -> int:
        """Return the number of correct predictions at one of the axis' values."""
        return self.right[self.axis.values.index(value)]


@dataclass(frozen=True)
class Robustness:
    """The curves of one classifier, in the order of AXES, all on the same ``n`` images.

    attack: None for a classifier without gradients.
    """

    digits: str
    split: str
    n: int
    curves: tuple[Curve, ...]
    attack: AttackCurve | None

    @property
    def title(self) -> str:
        """The set and its split, such as ``MNIST test``."""
        return set_title(self.digits, self.split)

    @property
    def unchanged(self) -> int:
        """The number of correct predictions without distortion."""
        return self.curves[0].at(self.curves[0].axis.neutral)


def sample(digit_set: DigitSet) -> DigitSet:
    """Return ``MOST_IMAGES`` images evenly spread over the set; a smaller set as it is."""
    n = min(MOST_IMAGES, len(digit_set))
    return digit_set.take(torch.arange(n) * len(digit_set) // n)


def measure(
    classifier: Classifier, digit_set: DigitSet, *, progress: Progress = unwatched
) -> Robustness:
    """Measure the accuracy along all axes and under attack, on ``sample(digit_set)``.

    progress: called with the number of changed images classified so far and in all; images whose
    attack succeeds early count in full. What it raises ends the measurement.
    """
    chosen = sample(digit_set)
    n = len(chosen)
    attackable = "gradients" in classifier.capabilities
    total = n * sum(len(axis.values) for axis in AXES)
    if attackable:
        total += n * len(CURVE_SIZES) * (STEPS + 1)
    curves: list[Curve] = []
    done = 0

    def report(here: int, _: int) -> None:
        progress(done + here, total)

    for axis in AXES:
        # Distorted value by value and joined as bytes: as floats they would take 200 MB.
        images = torch.cat([axis.apply(chosen.images, value) for value in axis.values])
        distorted = replace(chosen, images=images, labels=chosen.labels.repeat(len(axis.values)))
        predictions = predict(classifier, distorted, progress=report, keep_features=False)
        right = predictions.right.view(len(axis.values), n).sum(dim=1)
        curves.append(Curve(axis, tuple(right.tolist())))
        done += len(distorted)
    attack = None
    if attackable:
        attack = accuracy_under_attack(
            classifier, chosen, progress=lambda here, _: report((STEPS + 1) * here, 0)
        )
    return Robustness(digit_set.name, digit_set.split, n, tuple(curves), attack)
