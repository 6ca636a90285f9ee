"""Measure how a classifier copes with rotated, shifted, scaled, thickened or blurred digits.

``AXES`` are the five distortions, each a pure function of images and a strength. ``measure`` gives
a classifier's accuracy along each axis, ``perturb`` its predictions for one sketch and the
strengths at which the prediction changes. Only one distortion is applied at a time.

The distorted images are uint8, as all input images are, so the page shows exactly what was
classified.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digitcnn.analysis.predictions import predict
from digitcnn.analysis.shared_cache import Progress, SharedCache
from digitcnn.digits import framing
from digitcnn.digits.augment import thicken
from digitcnn.digits.digit_set import SIDE, DigitSet
from digitcnn.intervals import wilson_interval
from digitcnn.network.classifier import Classifier

# Accuracies are measured on at most this many images of a set.
MOST_IMAGES = 1000
# Results of whole classifiers in memory, less than 10 KB each.
RESULTS_HELD = 256


# The distortions. images: [N, 28, 28] from 0 to 255, any dtype. Each returns uint8 [N, 28, 28]; the
# neutral strength returns the images unchanged. torchvision does what it can; scaling and stroke
# width are ours, because its affine transform does not antialias, its resize knows whole pixels
# only, and it has no morphology.


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate clockwise, bilinear, about the point where framing puts the centre of mass."""
    vision = _vision()
    bilinear = vision.InterpolationMode.BILINEAR
    centre = [framing.MIDDLE, framing.MIDDLE]
    return _to_bytes(vision.rotate(images.float(), -degrees, interpolation=bilinear, center=centre))


def shift(images: Tensor, pixels: float) -> Tensor:
    """Move to the right by whole pixels; what leaves the image is lost."""
    moved = _vision().affine(
        images.float(), angle=0.0, translate=[pixels, 0.0], scale=1.0, shear=[0.0, 0.0]
    )
    return _to_bytes(moved)


def scale(images: Tensor, factor: float) -> Tensor:
    """Scale with the stroke width, antialiased, about the centre of mass."""
    n = len(images)
    middle = np.full((n, 2), framing.MIDDLE)
    resampled = framing.resampled(images.numpy(), middle, np.full(n, 1 / factor))
    return _to_bytes(torch.from_numpy(resampled))


def change_stroke(images: Tensor, pixels: float) -> Tensor:
    """Widen every stroke by this many pixels, half on each side; below 0, make it thinner.

    A stroke that loses its whole width disappears.
    """
    ink = images.unsqueeze(1).float()
    # Thinning the ink is thickening the paper.
    ink = 255 - ink if pixels < 0 else ink
    side = abs(pixels) / 2
    for step in range(math.ceil(side)):
        ink = thicken(ink, torch.full((len(ink), 1, 1, 1), min(side - step, 1.0)))
    return _to_bytes((255 - ink if pixels < 0 else ink).squeeze(1))


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of this deviation in pixels; beyond the image is paper."""
    if sigma == 0:
        return _to_bytes(images.float())
    vision = _vision()
    # torchvision mirrors what is at the border: put paper around it.
    edge = math.ceil(4 * sigma)
    padded = vision.pad(images.unsqueeze(1).float(), [edge])
    blurred = vision.gaussian_blur(padded, [2 * edge + 1, 2 * edge + 1], [sigma, sigma])
    return _to_bytes(vision.center_crop(blurred, [SIDE, SIDE]).squeeze(1))


def _vision() -> Any:
    """Import torchvision on first use: it takes a second that the start of the page need not."""
    from torchvision.transforms.v2 import functional

    return functional


def _to_bytes(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Axis:
    """One kind of distortion and the strengths that are tried.

    name: one word or two, for people. unit: of a strength, written behind the number. neutral: the
    strength that changes nothing; one of ``values``, which ascend. marked: the values that a table
    shows. apply: one of the functions above.
    """

    name: str
    unit: str
    neutral: float
    values: tuple[float, ...]
    marked: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor] = field(repr=False)

    def text(self, strength: float) -> str:
        """Return a strength with its unit, signed on axes with two sides: ``+30°``, ``0.5 ×``."""
        signed = self.neutral == 0 and self.values[0] < 0 and strength != 0
        return f"{strength:+g}{self.unit}" if signed else f"{strength:g}{self.unit}"


def _steps(first: float, last: float, count: int) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in np.linspace(first, last, count))


AXES = (
    Axis("rotation", "°", 0, _steps(-90, 90, 19), (-60, -30, 30, 60), rotate),
    Axis("shift", " px", 0, _steps(-8, 8, 17), (-6, -3, 3, 6), shift),
    Axis("size", " ×", 1, _steps(0.3, 2.0, 18), (0.4, 0.7, 1.3, 1.6), scale),
    Axis("stroke width", " px", 0, _steps(-1.5, 5, 14), (-1.5, -1, 2, 4), change_stroke),
    Axis("blur", " px", 0, _steps(0, 3, 13), (0.5, 1, 2, 3), blur),
)


# One sketch


@dataclass(frozen=True, eq=False)
class Perturbation:
    """The predictions for one sketch along one axis.

    images: uint8 [V, 28, 28]. probabilities: float32 [V, 10]. answer: the prediction for the
    unchanged sketch. rival: the other digit whose probability is highest anywhere on the axis.
    below, above: going away from the neutral strength, the first with another prediction; NaN
    where the prediction never changes.
    """

    axis: Axis
    images: Tensor
    probabilities: Tensor
    answer: int
    rival: int
    below: float
    above: float


def perturb(
    classifier: Classifier, image: Tensor, temperature: float = 1.0
) -> tuple[Perturbation, ...]:
    """Classify one sketch along all axes, in one batch of some 80 images.

    classifier: on the CPU; its ``inference_copy`` is three times as fast. image: uint8 [28, 28].
    """
    images = [torch.cat([axis.apply(image[None], value) for value in axis.values]) for axis in AXES]
    with torch.inference_mode():
        logits = classifier.logits(torch.cat(images))
    probabilities = torch.softmax(logits / temperature, dim=1)
    parts = probabilities.split([len(part) for part in images])
    return tuple(_perturbation(*row) for row in zip(AXES, images, parts, strict=True))


def _perturbation(axis: Axis, images: Tensor, probabilities: Tensor) -> Perturbation:
    predicted = probabilities.argmax(dim=1).tolist()
    neutral = axis.values.index(axis.neutral)
    answer = predicted[neutral]
    highest = probabilities.amax(dim=0)
    highest[answer] = -1
    changed = [v if p != answer else None for v, p in zip(axis.values, predicted, strict=True)]
    return Perturbation(
        axis,
        images,
        probabilities,
        answer,
        int(highest.argmax()),
        _first(changed[neutral::-1]),
        _first(changed[neutral:]),
    )


def _first(values: Sequence[float | None]) -> float:
    return next((value for value in values if value is not None), math.nan)


# A whole digit set


@dataclass(frozen=True)
class Curve:
    """How many of ``n`` images are classified correctly at each of the axis' values."""

    axis: Axis
    right: tuple[int, ...]
    n: int

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Fractions, one per value."""
        return tuple(right / self.n for right in self.right)

    @property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """The 95% Wilson intervals (low, high), fractions, one per value."""
        return tuple(wilson_interval(right, self.n) for right in self.right)

    def at(self, value: float) -> int:
        """Return the number of correct predictions at one of the axis' values."""
        return self.right[self.axis.values.index(value)]


@dataclass(frozen=True)
class Robustness:
    """The curves of one classifier, in the order of AXES, all on the same ``n`` images."""

    digits: str
    split: str
    n: int
    curves: tuple[Curve, ...]

    @property
    def title(self) -> str:
        """The set and its split, such as ``mnist test``."""
        return f"{self.digits} {self.split}"

    @property
    def unchanged(self) -> int:
        """The number of correct predictions without distortion."""
        return self.curves[0].at(self.curves[0].axis.neutral)


def sample(digit_set: DigitSet) -> DigitSet:
    """Return ``MOST_IMAGES`` images evenly spread over the set; a smaller set as it is."""
    n = min(MOST_IMAGES, len(digit_set))
    return digit_set.take(torch.arange(n) * len(digit_set) // n)


def measure(
    classifier: Classifier, digit_set: DigitSet, *, progress: Progress | None = None
) -> Robustness:
    """Measure the accuracy along all axes, on ``sample(digit_set)``.

    progress: called with distorted images classified and such images in all; what it raises ends
    the measurement.
    """
    chosen = sample(digit_set)
    n = len(chosen)
    total = n * sum(len(axis.values) for axis in AXES)
    curves: list[Curve] = []
    done = 0

    def report(here: int, _: int) -> None:
        if progress is not None:
            progress(done + here, total)

    for axis in AXES:
        # Distorted value by value and joined as bytes: as floats they would take 200 MB.
        images = torch.cat([axis.apply(chosen.images, value) for value in axis.values])
        distorted = replace(chosen, images=images, labels=chosen.labels.repeat(len(axis.values)))
        predictions = predict(classifier, distorted, progress=report, keep_features=False)
        right = predictions.right.view(len(axis.values), n).sum(dim=1)
        curves.append(Curve(axis, tuple(right.tolist()), n))
        done += len(distorted)
    return Robustness(digit_set.name, digit_set.split, n, tuple(curves))


class RobustnessCache:
    """The results measured last, by classifier and images, in memory. Thread-safe."""

    def __init__(self) -> None:
        self._results: SharedCache[tuple[str, str], Robustness] = SharedCache(RESULTS_HELD)

    def get(
        self,
        classifier: Callable[[], Classifier],
        digest: str,
        digit_set: DigitSet,
        *,
        progress: Progress | None = None,
    ) -> Robustness:
        """Return the result of the classifier with that digest, measured where it is unknown.

        classifier: called only to measure. Raises what ``classifier`` and ``progress`` raise.
        """
        result = self._results.get(
            (digest, digit_set.fingerprint),
            lambda report: measure(classifier(), digit_set, progress=report),
            progress=progress,
        )
        # The same images may be known under another name or split.
        return replace(result, digits=digit_set.name, split=digit_set.split)
