"""What the page says of a model beside its answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from digitcnn.errors import CheckpointError
from digitcnn.folders import SHIPPED, SHIPPED_FILE
from digitcnn.network.checkpoint import Details, save
from digitcnn.network.model import DigitCNN
from digitcnn.ui.models import Models
from digitcnn.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, data_dir: Path) -> Workspace:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    shutil.copy(SHIPPED_FILE, checkpoints)
    untrained = DigitCNN(generator=torch.Generator().manual_seed(0)).eval()
    save(checkpoints / "untrained.pt", untrained, Details(digits="synthetic", seed=0))
    return Workspace(
        data_dir, tmp_path / "outputs", checkpoints, tmp_path / "feedback.sqlite3", "cpu"
    )


def test_only_a_model_that_misreads_drawings_is_warned_of(workspace: Workspace) -> None:
    models = Models(workspace)
    assert models.default == SHIPPED
    assert models.drawing_warning(SHIPPED) == ""
    assert models.drawing_warning("untrained").startswith("untrained misreads 1")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        models.drawing_warning("another")
