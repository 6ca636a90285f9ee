"""The images that a model was trained on, found again on another machine."""

from pathlib import Path

import pytest

from digitcnn.digits.catalog import Catalog
from digitcnn.folders import FIRST_CHOICES, SHIPPED_FOLDER
from digitcnn.network.checkpoint import load
from digitcnn.network.original_images import original_images


@pytest.mark.parametrize("name", FIRST_CHOICES)
def test_the_shipped_models_know_their_training_images_on_any_machine(
    real_data: Path, name: str
) -> None:
    images = original_images(load(SHIPPED_FOLDER / f"{name}.pt"), Catalog(real_data))
    assert len(images.training) + len(images.held_out) >= 60_000
