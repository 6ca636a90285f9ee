from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from digitcnn.analysis.calibration import (
    HIGHEST,
    expected_calibration_error,
    fit_temperature,
    reliability,
    reliability_of,
)


@pytest.mark.parametrize("overconfidence", [0.3, 1.0, 2.5, 6.0])
def test_the_loss_is_flat_at_the_fitted_temperature(overconfidence: float) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(10, (3000,), generator=generator)
    logits = torch.randn(3000, 10, generator=generator)
    logits[torch.arange(3000), labels] += 2
    logits *= overconfidence

    # In the logarithm of the inverse temperature the loss is convex: it has one flat place.
    scale = torch.tensor(-math.log(fit_temperature(logits, labels))).double().requires_grad_()
    functional.cross_entropy(logits.double() * scale.exp(), labels).backward()  # type: ignore[no-untyped-call]
    assert abs(float(scale.grad or 1)) < 1e-5


def test_predictions_that_are_all_right_change_no_confidence() -> None:
    logits = torch.eye(10).repeat(5, 1)
    labels = torch.arange(10, dtype=torch.uint8).repeat(5)
    assert fit_temperature(logits, labels) == 1


def test_logits_that_are_all_equal_change_no_confidence() -> None:
    assert fit_temperature(torch.ones(4, 10), torch.arange(4, dtype=torch.uint8)) == 1


def test_predictions_that_are_all_wrong_get_the_highest_temperature() -> None:
    logits = torch.eye(10).repeat(5, 1)
    labels = (torch.arange(10, dtype=torch.uint8) + 1).remainder(10).repeat(5)
    assert fit_temperature(logits, labels) == pytest.approx(HIGHEST, rel=1e-4)


def test_the_same_images_always_give_the_same_temperature() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(500, 10, generator=generator)
    labels = torch.randint(10, (500,), generator=generator)
    assert fit_temperature(logits, labels) == fit_temperature(logits, labels)


def test_the_reliability_table_agrees_with_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(10, (4000,), generator=generator)
    logits = torch.randn(4000, 10, generator=generator)
    logits[torch.arange(4000), labels] += 2
    table = reliability(logits, labels, temperature=0.6)
    probabilities = torch.softmax(logits.double() / 0.6, 1)
    confidence, answers = probabilities.max(1)
    accuracies, confidences = calibration_curve(
        (answers == labels).numpy(), confidence.numpy(), n_bins=15
    )
    filled = [row for row in table if row.count]
    np.testing.assert_allclose([row.accuracy for row in filled], accuracies, atol=1e-12)
    np.testing.assert_allclose([row.confidence for row in filled], confidences, atol=1e-12)
    assert sum(row.count for row in table) == 4000
    assert [row.high for row in table] == pytest.approx([i / 15 for i in range(1, 16)])


def test_a_confidence_of_exactly_one_belongs_to_the_last_bin() -> None:
    logits = torch.zeros(2, 10)
    logits[0, 0], logits[1, 0] = 1e4, 7.0
    table = reliability(logits, torch.tensor([1, 0]))
    assert len(table) == 15
    assert table[-1].count == 2
    # In one bin the two errors of -1 and about +0.01 share a mean; in two they would not.
    confidence = float(torch.softmax(logits[1].double(), 0)[0])
    assert expected_calibration_error(table) == pytest.approx(confidence / 2)


def test_an_edge_belongs_to_the_bin_below_and_an_empty_bin_is_undefined() -> None:
    half = torch.tensor([0.5], dtype=torch.float64)
    table = reliability_of(half, torch.tensor([True]), bins=2)
    assert [row.count for row in table] == [1, 0]
    assert (table[0].confidence, table[0].accuracy) == (0.5, 1.0)
    assert math.isnan(table[1].accuracy)
    assert math.isnan(table[1].confidence)
