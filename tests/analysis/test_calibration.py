from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional

from digitcnn.analysis.calibration import HIGHEST, LOWEST, fit_temperature


@pytest.mark.parametrize("overconfidence", [0.3, 1.0, 2.5, 6.0])
def test_the_fitted_temperature_is_scipys(overconfidence: float) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(10, (3000,), generator=generator)
    logits = torch.randn(3000, 10, generator=generator)
    logits[torch.arange(3000), labels] += 2
    logits *= overconfidence

    def loss(temperature: float) -> float:
        return float(functional.cross_entropy(logits.double() / temperature, labels))

    found = minimize_scalar(loss, bounds=(LOWEST, HIGHEST), method="bounded")
    assert fit_temperature(logits, labels) == pytest.approx(found.x, rel=1e-3)


def test_answers_that_are_all_right_take_the_lowest_temperature() -> None:
    logits = torch.eye(10).repeat(5, 1)
    labels = torch.arange(10, dtype=torch.uint8).repeat(5)
    assert fit_temperature(logits, labels) == pytest.approx(LOWEST, rel=1e-4)


def test_answers_that_are_all_wrong_take_the_highest_temperature() -> None:
    logits = torch.eye(10).repeat(5, 1)
    labels = (torch.arange(10, dtype=torch.uint8) + 1).remainder(10).repeat(5)
    assert fit_temperature(logits, labels) == pytest.approx(HIGHEST, rel=1e-4)
