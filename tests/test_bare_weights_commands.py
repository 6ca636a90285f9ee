"""Every command reads bare weights under the input scaling they were trained with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from digitcnn.cli import main
from digitcnn.digits import synthetic
from digitcnn.network.checkpoint import Details, save
from digitcnn.network.model import DigitCNN


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One network for inputs of -1 to 1: as bare weights, and as a checkpoint that says so."""
    folder = tmp_path_factory.mktemp("twins")
    learner = DigitCNN(0.5, 0.5, generator=torch.Generator().manual_seed(1)).train()
    drawn = synthetic.draw("synthetic", "train", images=100).images
    with torch.no_grad():
        for _ in range(40):  # moves the statistics of batch norm to those of this scaling
            learner(learner.prepare(drawn))
    save(folder / "bare.pt", learner, Details())
    save(folder / "told.pt", learner, Details(digits="small", epochs=2))
    return folder / "bare.pt", folder / "told.pt"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--digits", "small"),
        ("stability", "--digits", "small", "--passes", "3"),
        ("predict", "IMAGE"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_weights_only_predict_as_their_checkpoint_does(
    twins: tuple[Path, Path],
    arguments: tuple[str, ...],
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = tmp_path / "digit.png"
    Image.fromarray(synthetic.draw("synthetic", "test", images=1).images[0].numpy()).save(image)
    words = [str(image) if word == "IMAGE" else word for word in arguments]
    bare, told = (
        call(capsys, *words, "--checkpoint", path, "--data-dir", data_dir, "--device", "cpu")
        for path in twins
    )
    assert bare == told


def test_an_exported_page_is_of_the_same_network(
    twins: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    bare, told = (call(capsys, "export", "--checkpoint", path, "--page", page) for path in twins)
    assert bare["digest"] == told["digest"]


def test_comparing_weights_only_with_their_checkpoint_finds_one_network(
    twins: tuple[Path, Path], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = call(capsys, "compare", *twins, "--digits", "small", "--data-dir", data_dir)
    (pair,) = found["pairs"]
    assert pair["only_a_right"] == pair["only_b_right"] == 0
    assert found["models"][0]["digest"] == found["models"][1]["digest"]


@pytest.mark.long
def test_the_figures_name_the_scaling_that_was_inferred(
    twins: tuple[Path, Path], data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["figures", "--checkpoint", str(twins[0]), "--digits", "small", "--passes", "2"]
    folder = tmp_path / "figures"
    assert main([*arguments, "--data-dir", str(data_dir), "--output-dir", str(folder)]) == 0
    assert "detected input scaling -1 to 1" in capsys.readouterr().err
    assert len(list(folder.iterdir())) == 9
