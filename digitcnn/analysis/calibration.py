"""Calibrated confidence: one temperature for all logits."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least mean negative log-likelihood (Guo et al. 2017).

    logits: [N, 10]; labels: [N]. Lies from 0.05 to 20; at the lower end when every answer is
    right, where no least exists. The likelihood is convex in the temperature's inverse, so a
    golden-section search over its logarithm finds the only minimum.
    """
    logits, labels = logits.double(), labels.long()

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(functional.cross_entropy(scaled, labels))

    low, high = math.log(LOWEST), math.log(HIGHEST)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-6:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)
