"""How accurate recipes are, and how they differ: means over seeds and images, with intervals.

A recipe is trained with several seeds, and all its models classify the same images. Both are
samples: other seeds and other images would have given another accuracy. The intervals take both
into account.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.intervals import t_quantile


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval, all fractions."""

    mean: float
    low: float
    high: float

    @property
    def points(self) -> str:
        """Return a difference in percentage points with its sign and its interval."""
        mean, low, high = (100 * value for value in (self.mean, self.low, self.high))
        return f"{mean:+.2f} points (95% interval {low:+.2f} to {high:+.2f})"

    @property
    def percent(self) -> str:
        """Return an accuracy with its interval, in percent."""
        return f"{100 * self.mean:.2f}% ({100 * self.low:.2f} to {100 * self.high:.2f})"


def accuracy(right: Tensor) -> Estimate:
    """Return the mean accuracy of a recipe. right: bool [K, N], by seed and image; K >= 2."""
    estimate = _estimate(right.double())
    return Estimate(estimate.mean, max(0.0, estimate.low), min(1.0, estimate.high))


def difference(right_a: Tensor, right_b: Tensor) -> Estimate:
    """Return the accuracy of recipe a minus that of b, on the same images.

    right_a, right_b: bool [K, N] each, by seed and image; K >= 2.
    """
    estimate = _estimate(right_a.double() - right_b.double())
    return Estimate(estimate.mean, max(-1.0, estimate.low), min(1.0, estimate.high))


def _estimate(values: Tensor) -> Estimate:
    """Return the mean of values crossed by seed and image, float64 [K, N], with its interval.

    The variance is the sum of that of the means per seed and that of the means per image: never
    too small, and too large by the share that seed and image have together. Owen, A. B. (2007),
    The pigeonhole bootstrap, Annals of Applied Statistics 1, 386-411. The images' share is that of
    Agresti and Min for paired proportions, which is positive even where a and b never differ:
    Agresti, A. and Min, Y. (2005), Simple improved confidence intervals for comparing matched
    proportions, Statistics in Medicine 24, 729-740. Degrees of freedom by Satterthwaite's rule.
    """
    seeds, images = values.shape
    mean = float(values.mean())
    by_seed = float(values.mean(dim=1).var()) / seeds
    by_image = (float((values.mean(dim=0) - mean).square().sum()) + 1) / images**2
    freedom = (by_seed + by_image) ** 2 / (
        by_seed**2 / (seeds - 1) + by_image**2 / max(1, images - 1)
    )
    margin = t_quantile(freedom) * math.sqrt(by_seed + by_image)
    return Estimate(mean, mean - margin, mean + margin)


def detectable_between_single_runs(accuracies: list[float]) -> float:
    """Return how far two single runs of one recipe may lie apart by luck, as a fraction.

    accuracies: of K >= 2 runs that differ only in their seed. The difference of two further runs
    stays below this in 95% of cases: t with K - 1 degrees of freedom, times the deviation of a
    difference.
    """
    deviation = float(torch.tensor(accuracies, dtype=torch.float64).std())
    return t_quantile(len(accuracies) - 1) * math.sqrt(2) * deviation


def shifted(images: Tensor, pixels: int) -> Tensor:
    """Move each image along both axes, in turn to the four corners; what leaves it is lost.

    images: uint8 [N, 28, 28]. pixels: below 28.
    """
    moved = torch.empty_like(images)
    for turn, (down, right) in enumerate(itertools.product((pixels, -pixels), repeat=2)):
        # A negative margin cuts off what the opposite side gets as paper.
        moved[turn::4] = functional.pad(images[turn::4], (right, -right, down, -down))
    return moved
