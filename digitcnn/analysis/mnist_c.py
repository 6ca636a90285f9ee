"""The results on all of MNIST-C in a few numbers, and next to those of a plain CNN.

The ratio follows Hendrycks and Dietterich 2019 (arXiv 1903.12261): a model's error on each
corruption divided by a reference network's, averaged over the corruptions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from digitcnn.analysis.metrics import Evaluation
from digitcnn.digits.names import CORRUPTIONS, MNIST_C, MNIST_C_SETS
from digitcnn.intervals import percent

PLAIN_FILE = Path(__file__).with_name("mnist_c_plain.json")


@dataclass(frozen=True)
class CorruptionSummary:
    """A model's errors on MNIST-C.

    errors: fractions, by corruption, in the order of ``CORRUPTIONS``. n: images in all.
    """

    errors: dict[str, float]
    n: int

    @property
    def mean_error(self) -> float:
        """Return the mean over the corruptions, a fraction."""
        return fmean(self.errors.values())

    @property
    def ratio(self) -> float:
        """Return the mean of the errors divided by the plain CNN's; below 1 is better than that."""
        plain = plain_errors()
        return fmean(self.errors[name] / plain[name] for name in CORRUPTIONS)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers under the names of an evaluation, where it has the same."""
        return {
            "n": self.n,
            "accuracy": 1 - self.mean_error,
            "mean_error": self.mean_error,
            "plain_mean_error": fmean(plain_errors().values()),
            "ratio": self.ratio,
            "errors": self.errors,
            "plain_errors": plain_errors(),
        }

    def __str__(self) -> str:
        return (
            f"{MNIST_C}: mean error {percent(self.mean_error)} over {len(self.errors)} corruptions "
            f"(a plain CNN: {percent(fmean(plain_errors().values()))}); {self.ratio:.2f} times a "
            "plain CNN's errors"
        )


def summary_of(evaluations: Sequence[Evaluation]) -> CorruptionSummary | None:
    """Return the summary where the evaluations include every set of MNIST-C, else None."""
    by_set = {one.digits: one for one in evaluations}
    if not set(by_set) >= set(MNIST_C_SETS):
        return None
    corrupted = [by_set[name] for name in MNIST_C_SETS]
    errors = [one.errors / one.n for one in corrupted]
    return CorruptionSummary(
        dict(zip(CORRUPTIONS, errors, strict=True)), sum(one.n for one in corrupted)
    )


@cache
def plain_errors() -> dict[str, float]:
    """Return the plain CNN's errors, fractions, by corruption; the file has the method."""
    content = json.loads(PLAIN_FILE.read_text("utf-8"))
    return {name: float(content["errors"][name]) for name in CORRUPTIONS}
