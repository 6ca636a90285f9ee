from __future__ import annotations

import csv
import io
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from digitcnn.analysis.metrics import (
    confusion_csv,
    evaluate,
    evaluations_csv,
    gap,
    gap_text,
    per_digit_csv,
)
from digitcnn.analysis.predictions import Predictions
from digitcnn.intervals import percent


@pytest.fixture
def reference() -> ModuleType:
    """Scikit-learn's metrics, imported here: every worker imports every test file."""
    from sklearn import metrics

    return metrics


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
def test_every_number_agrees_with_scikit_learn(
    answered: Predictions, temperature: float, reference: ModuleType
) -> None:
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


def test_one_image_gives_a_table_with_undefined_cells() -> None:
    one = evaluate(predictions(torch.eye(10)[3:4], torch.tensor([3], dtype=torch.uint8)))
    assert one.accuracy == 1
    assert 0 < one.accuracy_low < one.accuracy_high == 1
    assert math.isnan(one.per_digit[0].recall)
    assert one.macro_f1 == 1
    json = one.to_json()
    assert json["per_digit"][0] == {
        "digit": 0, "support": 0, "precision": None, "recall": None, "f1": None,
    }  # fmt: skip


def test_predictions_that_are_all_wrong_score_zero() -> None:
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


def test_calibration_error_agrees_with_a_plain_loop(answered: Predictions) -> None:
    probabilities = torch.softmax(answered.logits.double(), 1)
    confidence, answers = probabilities.max(1)
    right = answers == answered.labels
    total = 0.0
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            distance = right[inside].double().mean() - confidence[inside].mean()
            total += float(inside.double().mean() * distance.abs())
    assert evaluate(answered).ece == pytest.approx(total, abs=1e-9)


def test_macro_f1_is_over_the_digits_that_occur(reference: ModuleType) -> None:
    # Two zeros and a one, the one read as a 9: scikit-learn counts the 9 as well unless told.
    labels = torch.tensor([0, 0, 1], dtype=torch.uint8)
    answers = torch.tensor([0, 0, 9])
    result = evaluate(predictions(torch.eye(10)[answers], labels))
    expected = reference.f1_score(
        labels.numpy(), answers.numpy(), labels=[0, 1], average="macro", zero_division=0
    )
    assert result.macro_f1 == pytest.approx(expected) == pytest.approx(0.5)


def test_a_set_of_one_class_has_dashes_for_the_others() -> None:
    labels = torch.full((4,), 7, dtype=torch.uint8)
    result = evaluate(predictions(torch.eye(10)[[7, 7, 7, 1]], labels))
    assert result.macro_f1 == pytest.approx(6 / 7)
    assert [math.isnan(row.recall) for row in result.per_digit].count(True) == 9
    assert [percent(row.precision) for row in result.per_digit[6:8]] == ["–", "100.00%"]


def test_saturated_logits_give_finite_losses() -> None:
    logits = torch.zeros(2, 10)
    logits[:, 3] = 1e4
    result = evaluate(predictions(logits, torch.tensor([3, 4], dtype=torch.uint8)))
    assert result.nll == pytest.approx(5000)
    assert result.ece == pytest.approx(0.5)


def test_temperature_changes_confidence_but_no_prediction(answered: Predictions) -> None:
    cold, hot = evaluate(answered, 0.5), evaluate(answered, 4.0)
    assert cold.confusion == hot.confusion
    assert cold.nll != hot.nll


def test_the_gap_has_its_sign_and_newcombes_interval() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 873-890, table II (a): 56/70 against 48/80.
    def with_right(right: int, n: int) -> Predictions:
        answers = torch.tensor([0] * right + [1] * (n - right))
        return predictions(torch.eye(10)[answers], torch.zeros(n, dtype=torch.uint8))

    found = gap(evaluate(with_right(56, 70)), evaluate(with_right(48, 80)))
    assert found.points == pytest.approx(20)
    assert (round(found.low, 2), round(found.high, 2)) == (5.24, 33.39)
    assert gap_text(found) == "+20.00 points (5.24 to 33.39)"
    assert found.first == "small test"


def test_an_accuracy_is_shown_with_its_interval() -> None:
    answers = torch.tensor([0] * 81 + [1] * 182)
    result = evaluate(predictions(torch.eye(10)[answers], torch.zeros(263, dtype=torch.uint8)))
    assert result.accuracy_text == "30.80% (25.53 to 36.62)"
    assert result.title == "small test"


def test_the_csv_of_sets_holds_what_the_json_holds_and_the_gap(answered: Predictions) -> None:
    result = evaluate(answered, 1.3)
    other = evaluate(predictions(torch.eye(10)[3:4], torch.tensor([3], dtype=torch.uint8)))
    rows = list(csv.DictReader(io.StringIO(evaluations_csv([result, other], [gap(result, other)]))))
    json = result.to_json()
    for name in ("n", "accuracy", "accuracy_low", "accuracy_high", "nll", "brier", "ece"):
        assert float(rows[0][name]) == json[name]
    assert rows[0]["digits"] == "small"
    assert rows[2]["digits"] == "small test minus small test"
    assert float(rows[2]["accuracy"]) == pytest.approx(result.accuracy - 1)
    assert rows[2]["nll"] == ""


def test_the_csv_of_digits_leaves_undefined_fields_empty() -> None:
    one = evaluate(predictions(torch.eye(10)[3:4], torch.tensor([3], dtype=torch.uint8)))
    rows = list(csv.DictReader(io.StringIO(per_digit_csv([one]))))
    assert len(rows) == 10
    assert (rows[3]["support"], rows[3]["recall"], rows[3]["f1"]) == ("1", "1.0", "1.0")
    assert (rows[0]["support"], rows[0]["precision"], rows[0]["f1"]) == ("0", "", "")


def test_the_csv_of_confusions_counts_every_image(answered: Predictions) -> None:
    rows = list(csv.reader(io.StringIO(confusion_csv([evaluate(answered)]))))
    assert rows[0][:4] == ["digits", "split", "true", "predicted_0"]
    assert sum(int(count) for row in rows[1:] for count in row[3:]) == 2000
