"""The results on all of MNIST-C in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from digitcnn.analysis.metrics import Evaluation
from digitcnn.digits.names import CORRUPTIONS, MNIST_C, MNIST_C_SETS
from digitcnn.intervals import percent


@dataclass(frozen=True)
class CorruptionSummary:
    """A model's errors on MNIST-C.

    errors: fractions, by corruption, in the order of ``CORRUPTIONS``. n: images in all.
    """

    errors: dict[str, float]
    n: int

    @property
    def mean_error(self) -> float:
        """The mean over the corruptions, a fraction."""
        return fmean(self.errors.values())

    def to_json(self) -> dict[str, Any]:
        """Return the numbers under the names of an evaluation, where it has the same."""
        return {
            "n": self.n,
            "accuracy": 1 - self.mean_error,
            "mean_error": self.mean_error,
            "errors": self.errors,
        }

    def __str__(self) -> str:
        return (
            f"{MNIST_C}: mean error {percent(self.mean_error)} over {len(self.errors)} corruptions"
        )


def summary_of(evaluations: Sequence[Evaluation]) -> CorruptionSummary | None:
    """Return the summary where the evaluations include every set of MNIST-C, else None."""
    by_set = {one.digits: one for one in evaluations}
    if not set(by_set) >= set(MNIST_C_SETS):
        return None
    found = [by_set[name] for name in MNIST_C_SETS]
    errors = [one.errors / one.n for one in found]
    return CorruptionSummary(
        dict(zip(CORRUPTIONS, errors, strict=True)), sum(one.n for one in found)
    )
