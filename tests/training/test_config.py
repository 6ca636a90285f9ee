from __future__ import annotations

import math
from typing import Any

import pytest

from digitcnn.errors import ConfigError
from digitcnn.training.config import TrainingConfig
from digitcnn.training.step import learning_rate_at


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("epochs", 201),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", 0),
        ("learning_rate", -1.0),
        ("learning_rate", 1e9),
        ("learning_rate", math.nan),
        ("learning_rate", "fast"),
        ("learning_rate", None),
        ("seed", -1),
        ("train_images", 0),
        ("augmentation", "on"),
        ("dropout", 1),
        ("digits", ""),
        ("digits", " , "),
        ("digits", ["mnist"]),
    ],
)
def test_setting_outside_its_range_is_refused_in_one_sentence(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**{setting: value})
    assert ("Enter a" if value is None else str(value)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_configuration_round_trips_through_json() -> None:
    config = TrainingConfig(
        digits="usps, mnist,usps", epochs=3, train_images=100, augmentation=False
    )
    assert config.to_json()["digits"] == "usps,mnist"
    assert TrainingConfig.from_json(config.to_json()) == config


def test_settings_of_an_older_run_have_dropout() -> None:
    older = TrainingConfig(digits="usps").to_json()
    del older["dropout"]
    assert TrainingConfig.from_json(older) == TrainingConfig(digits="usps", dropout=True)


@pytest.mark.parametrize(
    "values", [None, {}, {"epochs": 3}, {**TrainingConfig().to_json(), "x": 1}]
)
def test_incomplete_configuration_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match="exactly"):
        TrainingConfig.from_json(values)


def test_rate_rises_in_the_first_quarter_and_falls_to_zero() -> None:
    rates = [learning_rate_at(step, 400, 0.008) for step in range(400)]
    assert rates[0] == pytest.approx(0.008 / 25)
    assert max(rates) == rates[100] == pytest.approx(0.008)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] < 0.008 / 1000


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_shortest_trainings_have_a_positive_rate(steps: int) -> None:
    assert all(0 < learning_rate_at(step, steps, 0.01) <= 0.01 for step in range(steps))
