"""Numbers that say how good the answers are; computed here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES
from digitcnn.files import without_nan
from digitcnn.intervals import wilson_interval

BINS = 15


@dataclass(frozen=True)
class PerDigit:
    """One digit's row; precision, recall and F1 are fractions, NaN where undefined.

    support: how many images show the digit.
    """

    digit: int
    support: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """All numbers of one network on one digit set; accuracies are fractions.

    accuracy_low, accuracy_high: the 95 % Wilson interval.
    nll: mean negative log-likelihood in nats. brier: the sum over the ten classes of squared
    errors, averaged over images (Brier 1950), 0 to 2. ece: expected calibration error over 15
    equal bins of confidence (Guo et al. 2017), a fraction. These three are after ``temperature``.
    macro_f1: mean F1 of the digits that occur.
    confusion: 10 rows (true digit) of 10 counts (predicted digit).
    """

    digits: str
    split: str
    n: int
    errors: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    nll: float
    brier: float
    ece: float
    macro_f1: float
    per_digit: tuple[PerDigit, ...]
    confusion: tuple[tuple[int, ...], ...]
    temperature: float

    def to_json(self) -> dict[str, Any]:
        """The numbers as the command line prints them; undefined ones are None."""
        names = ("n", "accuracy", "accuracy_low", "accuracy_high", "nll", "ece", "brier")
        values: dict[str, Any] = {name: getattr(self, name) for name in (*names, "macro_f1")}
        values["per_digit"] = [asdict(row) for row in self.per_digit]
        values["confusion"] = [list(row) for row in self.confusion]
        plain: dict[str, Any] = without_nan(values)
        return plain


def evaluate(predictions: Predictions, temperature: float = 1.0) -> Evaluation:
    """Every number of ``predictions``; ``temperature`` divides the logits and changes no answer."""
    labels = predictions.labels.long()
    n = len(labels)
    log_probabilities = functional.log_softmax(predictions.logits.double() / temperature, dim=1)
    probabilities = log_probabilities.exp()
    confidence, answers = probabilities.max(dim=1)
    counts = confusion(answers, labels)
    right = int(counts.diagonal().sum())
    low, high = wilson_interval(right, n)
    per_digit = tuple(_per_digit(counts, digit) for digit in range(CLASSES))
    occurring = [row.f1 for row in per_digit if row.support]
    return Evaluation(
        digits=predictions.digits,
        split=predictions.split,
        n=n,
        errors=n - right,
        accuracy=right / n,
        accuracy_low=low,
        accuracy_high=high,
        nll=float(functional.nll_loss(log_probabilities, labels)),
        brier=float(
            (probabilities - functional.one_hot(labels, CLASSES)).square().sum(dim=1).mean()
        ),
        ece=calibration_error(confidence, answers == labels),
        macro_f1=sum(occurring) / len(occurring),
        per_digit=per_digit,
        confusion=tuple(tuple(row) for row in counts.tolist()),
        temperature=temperature,
    )


def confusion(answers: Tensor, labels: Tensor) -> Tensor:
    """Counts, int64 [10, 10], row the true digit, column the answer, from int64 [N] each."""
    pairs = torch.bincount(labels * CLASSES + answers, minlength=CLASSES * CLASSES)
    return pairs.view(CLASSES, CLASSES)


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Expected calibration error over ``BINS`` equal bins, each closed above.

    confidence: [N], 0 to 1; exactly 1 belongs to the last bin. right: bool [N].
    """
    edges = torch.linspace(0, 1, BINS + 1, dtype=confidence.dtype)[1:-1]
    bins = torch.bucketize(confidence, edges)
    gaps = torch.zeros(BINS, dtype=confidence.dtype)
    gaps.index_add_(0, bins, right.to(confidence.dtype) - confidence)
    return float(gaps.abs().sum() / len(confidence))


def _per_digit(counts: Tensor, digit: int) -> PerDigit:
    hits = int(counts[digit, digit])
    support, answered = int(counts[digit].sum()), int(counts[:, digit].sum())
    return PerDigit(
        digit,
        support,
        hits / answered if answered else math.nan,
        hits / support if support else math.nan,
        2 * hits / (support + answered) if support + answered else math.nan,
    )
