"""Settings in the page's address: checked one by one; they only fill in fields."""

from __future__ import annotations

import pytest

from digitcnn.training.config import TrainingConfig
from digitcnn.ui.link_settings import link_parameters, linked_config

USUAL = TrainingConfig(digits="synthetic")
SETS = ["synthetic", "small"]


def test_settings_of_a_link_fill_in_the_configuration() -> None:
    query = {"tab": "train", "epochs": "8", "network": "mlp", "augmentation": "off"}
    linked = linked_config(query, USUAL, SETS)
    assert linked == TrainingConfig(digits="synthetic", epochs=8, network="mlp", augmentation=False)


def test_a_configuration_travels_in_a_link() -> None:
    config = TrainingConfig(
        digits="synthetic,small", epochs=3, batch_size=32, learning_rate=0.004, seed=7,
        train_images=500, augmentation=False, network="lenet",
    )  # fmt: skip
    assert linked_config(link_parameters(config), USUAL, SETS) == config


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epochs", "0"),
        ("epochs", "1e3"),
        ("epochs", "9" * 300),
        ("learning-rate", "nan"),
        ("network", "resnet"),
        ("network", "<b>"),
        ("digits", "../../etc"),
        ("digits", "mnist"),
        ("augmentation", "true"),
        ("name", "x"),
        ("owner", "secret"),
        ("train-images", "-1"),
    ],
)
def test_a_value_that_the_field_does_not_accept_is_ignored(name: str, text: str) -> None:
    assert linked_config({name: text}, USUAL, SETS) is None
    linked = linked_config({name: text, "seed": "5"}, USUAL, SETS)
    assert linked == TrainingConfig(digits="synthetic", seed=5)
