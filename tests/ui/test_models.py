"""What the page says of a model beside its predictions."""

from __future__ import annotations

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from digitcnn.analysis.drawing_check import DrawingCheck
from digitcnn.digits.hand_drawn import drawings
from digitcnn.errors import CheckpointError
from digitcnn.folders import SHIPPED, SHIPPED_FILE
from digitcnn.network.checkpoint import Checkpoint, Details, save
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


def test_only_a_model_that_misreads_sketches_has_a_warning(workspace: Workspace) -> None:
    models = Models(workspace)
    assert models.default == SHIPPED
    assert models.drawing_warning(SHIPPED) == ""
    assert models.drawing_warning("untrained").startswith("untrained misreads 1")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        models.drawing_warning("another")


def test_only_a_foreign_file_claims_its_accuracy(workspace: Workspace, tmp_path: Path) -> None:
    network = DigitCNN(generator=torch.Generator().manual_seed(1)).eval()
    metrics = {"mnist": {"n": 10_000, "accuracy": 0.9954}}
    save(
        workspace.checkpoints.folder / "foreign.pt",
        network,
        Details(digits="mnist", metrics=metrics),
    )
    labels = {name: label for label, name in Models(workspace).choices()}
    assert labels["foreign"] == "foreign · 99.54% on MNIST test (claimed)"
    assert re.fullmatch(rf"{SHIPPED} · 99\.\d\d% on MNIST test", labels[SHIPPED])


class AnyName(Models):
    """Finds a checkpoint of any name."""

    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval()

    def get(self, name: object) -> Checkpoint:
        return Checkpoint(details=Details(), name=str(name), digest="d", size=1, held=self.network)


def misread(checkpoint: Checkpoint) -> DrawingCheck:
    return DrawingCheck(checkpoint.name, 20, tuple((one, 0) for one in drawings()[1:7]))


def test_pages_that_ask_at_once_share_one_check(workspace: Workspace) -> None:
    both = threading.Barrier(2)
    checks: list[str] = []

    def check(checkpoint: Checkpoint) -> DrawingCheck:
        checks.append(checkpoint.name)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # passes at once where another check runs
        return misread(checkpoint)

    models = AnyName(workspace, check)
    with ThreadPoolExecutor(8) as pool:
        (warning,) = set(pool.map(models.drawing_warning, ["one"] * 8))
    assert warning.startswith("one misreads 6 of the 20")
    assert checks == ["one"]
