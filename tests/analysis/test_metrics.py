from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor

from digitcnn.analysis.metrics import calibration_error, evaluate
from digitcnn.analysis.predictions import Predictions


def predictions(logits: Tensor, labels: Tensor) -> Predictions:
    return Predictions("small", "test", "", "", logits, torch.zeros(len(labels), 320), labels)


@pytest.fixture
def answered() -> Predictions:
    """2,000 answers, about seven in ten right, some digits rarer than others."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.arange(1.0, 11.0)
    labels = torch.multinomial(weights, 2000, replacement=True, generator=generator)
    logits = torch.randn(2000, 10, generator=generator) * 2
    logits[torch.arange(2000), labels] += 3
    return predictions(logits, labels.to(torch.uint8))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.3])
def test_every_number_agrees_with_scikit_learn(answered: Predictions, temperature: float) -> None:
    result = evaluate(answered, temperature)
    labels = answered.labels.numpy()
    probabilities = torch.softmax(answered.logits.double() / temperature, 1).numpy()
    answers = probabilities.argmax(1)
    assert result.accuracy == pytest.approx(reference.accuracy_score(labels, answers), abs=1e-12)
    assert result.errors == int((labels != answers).sum())
    assert result.nll == pytest.approx(reference.log_loss(labels, probabilities), abs=1e-9)
    brier = reference.brier_score_loss(labels, probabilities, labels=range(10), scale_by_half=False)
    assert result.brier == pytest.approx(brier, abs=1e-9)
    assert result.macro_f1 == pytest.approx(reference.f1_score(labels, answers, average="macro"))
    precision, recall, f1, support = reference.precision_recall_fscore_support(labels, answers)
    for row in result.per_digit:
        assert row.support == support[row.digit]
        assert row.precision == pytest.approx(precision[row.digit])
        assert row.recall == pytest.approx(recall[row.digit])
        assert row.f1 == pytest.approx(f1[row.digit])
    assert np.array_equal(result.confusion, reference.confusion_matrix(labels, answers))


def test_calibration_error_agrees_with_a_plain_loop(answered: Predictions) -> None:
    probabilities = torch.softmax(answered.logits.double(), 1)
    confidence, answers = probabilities.max(1)
    right = answers == answered.labels
    total = 0.0
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = right[inside].double().mean() - confidence[inside].mean()
            total += float(inside.double().mean() * gap.abs())
    assert evaluate(answered).ece == pytest.approx(total, abs=1e-9)


def test_a_confidence_of_exactly_one_belongs_to_the_last_bin() -> None:
    confidence = torch.tensor([1.0, 0.99], dtype=torch.float64)
    # In one bin the two errors of -1 and +0.01 share a mean; in two they would not.
    assert calibration_error(confidence, torch.tensor([False, True])) == pytest.approx(0.495)


def test_one_image_gives_a_table_with_undefined_places() -> None:
    one = evaluate(predictions(torch.eye(10)[3:4], torch.tensor([3], dtype=torch.uint8)))
    assert one.accuracy == 1
    assert 0 < one.accuracy_low < one.accuracy_high == 1
    assert math.isnan(one.per_digit[0].recall)
    assert one.macro_f1 == 1
    json = one.to_json()
    assert json["per_digit"][0] == {
        "digit": 0, "support": 0, "precision": None, "recall": None, "f1": None,
    }  # fmt: skip


def test_answers_that_are_all_wrong_score_zero() -> None:
    labels = torch.zeros(5, dtype=torch.uint8)
    result = evaluate(predictions(torch.eye(10)[[1, 1, 2, 2, 2]] * 50, labels))
    assert (result.accuracy, result.errors, result.macro_f1) == (0, 5, 0)
    assert result.accuracy_low == 0 < result.accuracy_high
    assert result.brier == pytest.approx(2)
    assert result.ece == pytest.approx(1)
    assert math.isnan(result.per_digit[1].recall)
    assert result.per_digit[1].precision == 0


def test_json_has_the_names_that_scripts_rely_on(answered: Predictions) -> None:
    json = evaluate(answered).to_json()
    assert list(json) == [
        "n", "accuracy", "accuracy_low", "accuracy_high", "nll", "ece", "brier", "macro_f1",
        "per_digit", "confusion",
    ]  # fmt: skip
    assert [len(row) for row in json["confusion"]] == [10] * 10
