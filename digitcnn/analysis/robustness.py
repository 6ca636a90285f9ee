"""What a network makes of digits that are turned, moved, scaled, drawn thicker or thinner, blurred.

``AXES`` are the five changes, each a pure function of images and a strength. ``measure`` gives a
network's accuracy along each of them, ``perturb`` its answers to one sketch, with the strengths at
which the answer breaks. One change at a time: nothing is turned and blurred at once.

The images come out as uint8, as every image does that a network here gets, so what is shown is
what was answered.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from digitcnn.analysis.predictions import Progress, predict
from digitcnn.digits import sketch
from digitcnn.digits.augment import thicken, warp
from digitcnn.digits.digit_set import SIDE, DigitSet
from digitcnn.intervals import wilson_interval
from digitcnn.network.model import DigitCNN

# Accuracies are measured on so many images of a set.
MOST_IMAGES = 1000
# A curve of accuracies takes less than 2 KB.
MOST_KEPT = 256


# The changes. images: [N, 28, 28] from 0 to 255, any dtype. strength: a number, or a tensor with
# one per image. Each gives uint8 [N, 28, 28]; a strength that changes nothing, the images again.

Strength = float | Tensor


def rotate(images: Tensor, degrees: Strength) -> Tensor:
    """Turned clockwise, bilinear, about the place where framing puts the centre of mass."""
    angle = torch.deg2rad(_each(degrees, images))
    cos, sin = angle.cos(), angle.sin()
    # affine_grid's coordinates span 2 over the image.
    middle = 2 * sketch.MIDDLE / SIDE - 1
    x, y = middle * (1 - cos - sin), middle * (1 - cos + sin)
    matrices = torch.stack((cos, sin, x, -sin, cos, y), dim=1).view(-1, 2, 3)
    return _to_bytes(warp(images.unsqueeze(1).float(), matrices).squeeze(1))


def shift(images: Tensor, pixels: Strength) -> Tensor:
    """Moved to the right; what leaves the image is lost."""
    return _resample(images, right=pixels, factor=1.0)


def scale(images: Tensor, factor: Strength) -> Tensor:
    """Grown or shrunk with its pen, antialiased, about the place of the centre of mass."""
    return _resample(images, right=0.0, factor=factor)


def change_stroke(images: Tensor, pixels: Strength) -> Tensor:
    """Strokes wider by so many pixels, half of it on each side; thinner below 0.

    A stroke that loses its whole width is gone.
    """
    width = _each(pixels, images).view(-1, 1, 1, 1)
    found = images.unsqueeze(1).float()
    # Thinning the ink is thickening the paper.
    found = torch.where(width < 0, 255 - found, found)
    sides = width.abs() / 2
    for done in range(math.ceil(float(sides.max()))):
        found = thicken(found, (sides - done).clamp(0, 1))
    return _to_bytes(torch.where(width < 0, 255 - found, found).squeeze(1))


def blur(images: Tensor, sigma: Strength) -> Tensor:
    """Under a Gaussian of that many pixels; beyond the image is paper."""
    # So narrow a Gaussian is 1 on its own pixel and 0 on the next.
    width = _each(sigma, images).clamp(min=0.01).view(-1, 1, 1)
    place = torch.arange(-SIDE, SIDE + 1.0)
    bell = torch.exp(-((place / width) ** 2) / 2)
    bell = bell / bell.sum(dim=2, keepdim=True)
    pixel = torch.arange(SIDE)
    matrices = bell[:, 0, SIDE + pixel[:, None] - pixel]
    return _to_bytes(matrices @ images.float() @ matrices)


def _each(strength: Strength, images: Tensor) -> Tensor:
    """One strength per image: float32 [N]."""
    return torch.as_tensor(strength, dtype=torch.float32).expand(len(images))


def _resample(images: Tensor, *, right: Strength, factor: Strength) -> Tensor:
    n = len(images)
    middle = np.full((n, 2), sketch.MIDDLE)
    middle[:, 1] -= np.asarray(right, dtype=np.float64)
    step = np.full(n, 1 / np.asarray(factor, dtype=np.float64))
    return _to_bytes(torch.from_numpy(sketch.resampled(images.numpy(), middle, step)))


def _to_bytes(images: Tensor) -> Tensor:
    return images.round().clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Axis:
    """One kind of change and the strengths that are looked at.

    name: for people, one word or two. unit: of a strength, as it stands behind a number.
    neutral: the strength that changes nothing; one of ``values``, which ascend.
    marked: those of the values that a table shows. change: one of the functions above.
    """

    name: str
    unit: str
    neutral: float
    values: tuple[float, ...]
    marked: tuple[float, ...]
    change: Callable[[Tensor, Strength], Tensor] = field(repr=False)

    def text(self, strength: float) -> str:
        """A strength as people read it: ``+30°``, ``0.5 ×``, ``-2 px``."""
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
    """The answers to one sketch along one axis.

    images: uint8 [V, 28, 28]. probabilities: float32 [V, 10].
    answer: to the unchanged sketch. rival: the other digit that comes nearest to being the answer
    anywhere on the axis.
    below, above: going away from the neutral strength, the first with another answer; NaN where
    the answer holds to the end.
    """

    axis: Axis
    images: Tensor
    probabilities: Tensor
    answer: int
    rival: int
    below: float
    above: float


def perturb(network: DigitCNN, image: Tensor, temperature: float = 1.0) -> tuple[Perturbation, ...]:
    """The answers to one sketch along all axes, from one batch of some 80 images.

    network: on the CPU, in evaluation mode; its ``inference_copy`` answers three times as fast.
    image: uint8 [28, 28].
    """
    images = [
        axis.change(image.expand(len(axis.values), -1, -1), torch.tensor(axis.values))
        for axis in AXES
    ]
    with torch.inference_mode():
        logits = network(network.prepare(torch.cat(images)))
    probabilities = torch.softmax(logits / temperature, dim=1)
    parts = probabilities.split([len(part) for part in images])
    return tuple(
        _perturb(axis, part, found) for axis, part, found in zip(AXES, images, parts, strict=True)
    )


def _perturb(axis: Axis, images: Tensor, probabilities: Tensor) -> Perturbation:
    answers = probabilities.argmax(dim=1).tolist()
    middle = axis.values.index(axis.neutral)
    answer = answers[middle]
    others = probabilities.amax(dim=0)
    others[answer] = -1
    elsewhere = [v if a != answer else None for v, a in zip(axis.values, answers, strict=True)]
    return Perturbation(
        axis,
        images,
        probabilities,
        answer,
        int(others.argmax()),
        _first(elsewhere[middle::-1]),
        _first(elsewhere[middle:]),
    )


def _first(values: Sequence[float | None]) -> float:
    return next((value for value in values if value is not None), math.nan)


# A whole network


@dataclass(frozen=True)
class Curve:
    """How many of ``n`` images are answered rightly at each of the axis' values."""

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
        """The number of right answers at one of the axis' values."""
        return self.right[self.axis.values.index(value)]


@dataclass(frozen=True)
class Robustness:
    """The curves of one network on one set, in the order of AXES, all on the same ``n`` images."""

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
        """How many of the images are answered rightly as they are."""
        return self.curves[0].at(self.curves[0].axis.neutral)


def sample(digit_set: DigitSet) -> DigitSet:
    """The 1,000 images that accuracies are measured on, evenly spread over the set; a smaller set
    whole."""
    n = min(MOST_IMAGES, len(digit_set))
    return digit_set.take(torch.arange(n) * len(digit_set) // n)


def measure(
    network: DigitCNN, digit_set: DigitSet, *, progress: Progress | None = None
) -> Robustness:
    """The accuracy of a network along all axes, on ``sample(digit_set)``.

    network: in evaluation mode, on any device. progress: called with changed images answered
    and such images in all; what it raises ends the measurement.
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
        # Changed a thousand at a time, as bytes: in floats all at once would take 200 MB.
        images = torch.cat([axis.change(chosen.images, value) for value in axis.values])
        changed = replace(chosen, images=images, labels=chosen.labels.repeat(len(axis.values)))
        found = predict(network, changed, progress=report, keep_features=False)
        right = found.right.view(len(axis.values), n).sum(dim=1)
        curves.append(Curve(axis, tuple(right.tolist()), n))
        done += len(changed)
    return Robustness(digit_set.name, digit_set.split, n, tuple(curves))


class RobustnessCache:
    """The curves that were measured last, by network and images, in memory. Thread-safe.

    Two who ask at once for the same both measure it; the first to finish is kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Robustness] = OrderedDict()

    def get(
        self,
        network: Callable[[], DigitCNN],
        digest: str,
        digit_set: DigitSet,
        *,
        progress: Progress | None = None,
    ) -> Robustness:
        """The curves of the network with that digest; ``network`` is called where none are kept."""
        key = digest, digit_set.fingerprint
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            found = measure(network(), digit_set, progress=progress)
            with self._lock:
                kept = self._kept.setdefault(key, found)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
        # The same images may be known under another name or split.
        return replace(kept, digits=digit_set.name, split=digit_set.split)
