"""Calibration: one temperature for all logits, and how well confidence matches accuracy.

The temperature is fitted on held-out images of the training set. It may not suit other images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.intervals import wilson_interval

LOWEST, HIGHEST = 0.05, 20.0
BINS = 15


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the least mean negative log-likelihood.

    logits: [N, 10]; labels: [N]. The result is between 0.05 and 20. It is 1 where the images do not
    determine it: when every prediction is right, a lower temperature is always better; when all
    logits are equal, every temperature gives the same.

    The loss is convex in the temperature's inverse, so it has one minimum; Brent's method finds it,
    over the logarithm.

    Guo, C. et al. (2017), On calibration of modern neural networks, ICML, section 4.2.
    """
    from scipy.optimize import minimize_scalar  # here, because the import takes a fifth of a second

    logits, labels = logits.double(), labels.long()
    margin = logits.gather(1, labels[:, None]).squeeze(1) - logits.max(dim=1).values
    spread = logits.max(dim=1).values - logits.min(dim=1).values
    if bool((margin == 0).all()) or bool((spread == 0).all()):
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(functional.cross_entropy(scaled, labels))

    bounds = math.log(LOWEST), math.log(HIGHEST)
    minimum = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(minimum.x)


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose confidence is above ``low`` and up to ``high``.

    count: how many. confidence: their mean confidence. accuracy: the fraction that is right. Both
    are NaN in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson interval of the accuracy in a bin that is not empty, (low, high)."""
        return wilson_interval(round(self.accuracy * self.count), self.count)


def reliability(
    logits: Tensor, labels: Tensor, temperature: float = 1.0
) -> tuple[ReliabilityBin, ...]:
    """Return accuracy by confidence, the largest probability after ``temperature``.

    logits: [N, 10]; labels: [N]. Bins as in ``reliability_of``.
    """
    confidence = torch.softmax(logits.double() / temperature, dim=1).max(dim=1).values
    return reliability_of(confidence, logits.argmax(dim=1) == labels, BINS)


def reliability_of(confidence: Tensor, right: Tensor, bins: int) -> tuple[ReliabilityBin, ...]:
    """Return accuracy by confidence.

    confidence: float64 [N], 0 to 1; right: bool [N]. Bins have equal width and include their upper
    end (Guo et al. 2017), so a confidence of exactly 1, common once a softmax saturates, is in the
    last.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    index = torch.bucketize(confidence, edges[1:-1])
    counts = torch.bincount(index, minlength=bins)
    confidences = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, confidence)
    rights = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, right.double())
    return tuple(
        ReliabilityBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            count=count,
            confidence=float(confidences[i]) / count if count else math.nan,
            accuracy=float(rights[i]) / count if count else math.nan,
        )
        for i, count in enumerate(counts.tolist())
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean distance of accuracy and confidence over all images, a fraction (ibid.)."""
    filled = [each for each in bins if each.count]
    distance = sum(each.count * abs(each.accuracy - each.confidence) for each in filled)
    return distance / sum(each.count for each in filled)
