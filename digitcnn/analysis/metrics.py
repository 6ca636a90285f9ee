"""Metrics of predictions, computed here and nowhere else.

Undefined is NaN here, ``null`` in JSON, an empty field in CSV and a dash on the page. Our own code
and not torchmetrics, which replaces undefined values by 0; the tests compare with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.analysis.calibration import expected_calibration_error, reliability
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.names import set_title
from digitcnn.files import csv_text, without_nan
from digitcnn.intervals import accuracy_text, newcombe_difference, wilson_interval


@dataclass(frozen=True)
class PerDigit:
    """One digit's row; precision, recall and F1 are fractions, NaN where undefined.

    support: number of images of the digit. Recall is undefined when that is 0, precision when the
    digit is never predicted, F1 when both are.
    """

    digit: int
    support: int
    precision: float
    recall: float
    f1: float

    @property
    def errors(self) -> int:
        """How many images of the digit are misclassified."""
        return round((1 - self.recall) * self.support) if self.support else 0

    @property
    def error_interval(self) -> tuple[float, float]:
        """The 95% Wilson interval of the share of errors, fractions; NaN without images."""
        return wilson_interval(self.errors, self.support)


@dataclass(frozen=True)
class Evaluation:
    """All metrics of one classifier on one digit set; accuracies are fractions.

    accuracy_low, accuracy_high: the 95% Wilson interval.
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

    @property
    def title(self) -> str:
        """The set and its split, such as ``MNIST test``."""
        return set_title(self.digits, self.split)

    @property
    def accuracy_text(self) -> str:
        """The accuracy with its interval, by ``intervals.accuracy_text``."""
        return accuracy_text(self.accuracy, self.n)

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as the command line prints them; undefined ones are None."""
        names = ("n", "accuracy", "accuracy_low", "accuracy_high", "nll", "ece", "brier")
        values: dict[str, Any] = {name: getattr(self, name) for name in (*names, "macro_f1")}
        values["per_digit"] = [asdict(row) for row in self.per_digit]
        values["confusion"] = [list(row) for row in self.confusion]
        plain: dict[str, Any] = without_nan(values)
        return plain


@dataclass(frozen=True)
class Gap:
    """How much more accurate a classifier is on one digit set than on another, in points.

    first, second: the sets' titles. points: accuracy on the first minus accuracy on the second,
    in percentage points. low, high: its 95% interval.
    """

    first: str
    second: str
    points: float
    low: float
    high: float


def evaluate(predictions: Predictions, temperature: float = 1.0) -> Evaluation:
    """Compute every metric. temperature: divides the logits, which changes no predicted digit."""
    labels = predictions.labels.long()
    n = len(labels)
    log_probabilities = functional.log_softmax(predictions.logits.double() / temperature, dim=1)
    truth = functional.one_hot(labels, CLASSES)
    counts = confusion(predictions.predicted, labels)
    right = int(counts.diagonal().sum())
    low, high = wilson_interval(right, n)
    per_digit = tuple(_per_digit(counts, digit) for digit in range(CLASSES))
    occurring = [row.f1 for row in per_digit if row.support]
    bins = reliability(predictions.logits, predictions.labels, temperature)
    return Evaluation(
        digits=predictions.digits,
        split=predictions.split,
        n=n,
        errors=n - right,
        accuracy=right / n,
        accuracy_low=low,
        accuracy_high=high,
        nll=float(functional.nll_loss(log_probabilities, labels)),
        brier=float((log_probabilities.exp() - truth).square().sum(dim=1).mean()),
        ece=expected_calibration_error(bins),
        macro_f1=sum(occurring) / len(occurring),
        per_digit=per_digit,
        confusion=tuple(tuple(row) for row in counts.tolist()),
        temperature=temperature,
    )


def confusion(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return counts, int64 [10, 10]: row the true digit, column the predicted. Both int64 [N]."""
    pairs = torch.bincount(labels * CLASSES + predicted, minlength=CLASSES * CLASSES)
    return pairs.view(CLASSES, CLASSES)


def gap(a: Evaluation, b: Evaluation) -> Gap:
    """Return accuracy on ``a`` minus accuracy on ``b`` with Newcombe's interval."""
    low, high = newcombe_difference(a.n - a.errors, a.n, b.n - b.errors, b.n)
    return Gap(a.title, b.title, 100 * (a.accuracy - b.accuracy), 100 * low, 100 * high)


def _per_digit(counts: Tensor, digit: int) -> PerDigit:
    hits = int(counts[digit, digit])
    support, predicted = int(counts[digit].sum()), int(counts[:, digit].sum())
    return PerDigit(
        digit,
        support,
        hits / predicted if predicted else math.nan,
        hits / support if support else math.nan,
        2 * hits / (support + predicted) if support + predicted else math.nan,
    )


# Text and CSV


def decimal(value: float) -> str:
    """Return a number with four decimals, a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.4f}"


def gap_text(gap: Gap) -> str:
    """Return a gap with sign and 95% interval: ``+22.29 points (20.80 to 23.85)``."""
    return f"{gap.points:+.2f} points ({gap.low:.2f} to {gap.high:.2f})"


_NUMBERS = (
    "n", "errors", "accuracy", "accuracy_low", "accuracy_high", "nll", "brier", "ece", "macro_f1",
    "temperature",
)  # fmt: skip


def evaluations_csv(evaluations: Sequence[Evaluation], gaps: Sequence[Gap] = ()) -> str:
    """Return a row per digit set, then a row per gap; fractions in full precision, as in JSON.

    A gap's row is named ``first minus second`` and fills only the three columns of accuracy.
    """
    rows: list[Sequence[object]] = [
        (one.digits, one.split, *(getattr(one, name) for name in _NUMBERS)) for one in evaluations
    ]
    for one in gaps:
        values = {
            "accuracy": one.points / 100,
            "accuracy_low": one.low / 100,
            "accuracy_high": one.high / 100,
        }
        name = f"{one.first} minus {one.second}"
        rows.append((name, "", *(values.get(column, math.nan) for column in _NUMBERS)))
    return _csv(("digits", "split", *_NUMBERS), rows)


def per_digit_csv(evaluations: Sequence[Evaluation]) -> str:
    """Return a row per digit set and digit; fractions in full precision, as in JSON."""
    rows = [
        (one.digits, one.split, *asdict(row).values())
        for one in evaluations
        for row in one.per_digit
    ]
    return _csv(("digits", "split", *PerDigit.__dataclass_fields__), rows)


def confusion_csv(evaluations: Sequence[Evaluation]) -> str:
    """Return a row per digit set and true digit, a column of counts per predicted digit."""
    rows = [
        (one.digits, one.split, digit, *counts)
        for one in evaluations
        for digit, counts in enumerate(one.confusion)
    ]
    predicted = (f"predicted_{digit}" for digit in range(CLASSES))
    return _csv(("digits", "split", "true", *predicted), rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV, with an empty field for NaN."""
    return csv_text(
        header,
        (
            ["" if isinstance(value, float) and math.isnan(value) else value for value in row]
            for row in rows
        ),
    )
