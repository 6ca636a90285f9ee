"""The choice of test sets: damaged and sideways ones are named, and nothing takes their place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from digitcnn.analysis.orientation import OrientationChecks
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.errors import CheckpointError
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import load
from digitcnn.network.classifier import Classifier
from digitcnn.ui.set_chooser import advice, defaults, explained, set_choices
from digitcnn.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folders = [tmp_path / name for name in ("data", "outputs", "checkpoints")]
    return Workspace(*folders, tmp_path / "feedback.sqlite3", device="cpu")


def add(workspace: Workspace, name: str, stem: str, digits: DigitSet, *, cut: int = 0) -> None:
    folder = workspace.catalog.data_dir / name
    folder.mkdir(parents=True)
    write_idx(folder / f"{stem}-images-idx3-ubyte", digits.images)
    write_idx(folder / f"{stem}-labels-idx1-ubyte", digits.labels)
    if cut:
        images = folder / f"{stem}-images-idx3-ubyte"
        images.write_bytes(images.read_bytes()[:-cut])


def test_a_damaged_set_is_listed_with_its_problem_and_stays_the_default(
    workspace: Workspace, drawn: DigitSet
) -> None:
    assert defaults(workspace) == ["synthetic", "synthetic-other-writers"]
    add(workspace, "mnist", "t10k", drawn, cut=5)
    assert ("MNIST (damaged)", "mnist") in set_choices(workspace, "test")
    (label,) = [label for label, name in explained(workspace) if name == "mnist"]
    assert re.search(r"^MNIST \(damaged\)\n\(test\) cannot be used: .* is truncated", label)
    assert defaults(workspace) == ["mnist"]
    add(workspace, "emnist-digits", "emnist-digits-test", drawn)
    assert defaults(workspace) == ["emnist-digits"]
    # Whoever reads it: visitors did not add it.
    add(workspace, "letters", "test", drawn)
    (label,) = [label for label, name in explained(workspace) if name == "letters"]
    assert label.endswith("\nAdded to the data folder")


def test_a_sideways_set_gets_advice(workspace: Workspace, drawn: DigitSet) -> None:
    few = drawn.take(slice(0, 100))
    sideways = DigitSet(few.images.transpose(1, 2).contiguous(), few.labels, "", "")
    add(workspace, "upright", "test", few)
    add(workspace, "sideways", "test", sideways)
    add(workspace, "damaged", "test", few, cut=5)
    sentences = advice(workspace, OrientationChecks(lambda: load(SHIPPED_FILE).classifier))
    assert list(sentences) == ["sideways"]
    assert re.search(
        r"The shipped model reads \d+% as it is, \d+% transposed: add it with --transpose\.",
        sentences["sideways"],
    )


def test_without_the_shipped_model_there_is_no_advice(
    workspace: Workspace, drawn: DigitSet
) -> None:
    def missing() -> Classifier:
        raise CheckpointError("It is gone.")

    add(workspace, "mine", "test", drawn)
    assert advice(workspace, OrientationChecks(missing)) == {}
