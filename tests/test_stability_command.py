"""The ``stability`` command, and the stability that ``train`` measures at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dropout_passes import measure

from digitcnn.analysis.predictions import predict
from digitcnn.analysis.stability import STABLE_BELOW, stability_text
from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.intervals import percent
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN
from digitcnn.options import MASKS, Masks

Run = tuple[int, str, str]


class Commands:
    """The command line on one untrained network that claims three epochs on ``small``."""

    def __init__(self, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.data, self.capsys = folder, data, capsys
        self.network = folder / "net.pt"
        torch.manual_seed(0)
        details = Details(
            digits="small", epochs=3, planned_epochs=3, state="finished", temperature=0.8
        )
        checkpoint.save(self.network, DigitCNN(), details)

    def __call__(self, *arguments: str) -> Run:
        try:
            status = main([*arguments, "--data-dir", str(self.data), "--device", "cpu"])
        except SystemExit as leaving:
            status = int(str(leaving.code))
        out, err = self.capsys.readouterr()
        return status, out, err

    def stability(self, *arguments: str) -> Run:
        return self("stability", "--checkpoint", str(self.network), *arguments)

    def json(self, *arguments: str) -> Any:
        status, out, err = self.stability(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def commands(tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(tmp_path, data_dir, capsys)


@pytest.mark.parametrize("masks", MASKS)
def test_json_and_text_match_the_analysis(commands: Commands, masks: Masks) -> None:
    arguments = ["--digits", "small", "--passes", "4", "--masks", masks]
    result = commands.json(*arguments)
    assert list(result) == ["passes", "masks", "accuracies", "mean", "std", "min", "max"]
    loaded = checkpoint.load(commands.network)
    predictions = predict(loaded.network, Catalog(commands.data).open("small", "test"))
    expected = measure(loaded.network, predictions, 4, masks=masks, temperature=0.8)
    assert result == expected.to_json()
    _, text, _ = commands.stability(*arguments)
    assert stability_text(expected) in text
    assert f"{percent(expected.flipped)} of the images change their prediction" in text
    assert "on 100 images" in text


def test_defaults_are_independent_masks_and_as_many_passes_as_epochs(commands: Commands) -> None:
    result = commands.json()
    assert (result["masks"], result["passes"]) == ("independent", 3)


def test_without_mnist_the_models_own_set_is_used_and_named(commands: Commands) -> None:
    assert "mnist is not available; using small." in commands.stability()[2]
    commands.network.unlink()
    checkpoint.save(commands.network, DigitCNN(), Details(digits="elsewhere"))
    status, out, err = commands.stability("--passes", "2")
    assert status == 0
    assert "using synthetic" in err
    assert out.startswith("synthetic digits test")


def test_one_pass_has_no_deviation(commands: Commands) -> None:
    assert commands.json("--digits", "small", "--passes", "1")["std"] is None
    assert "nan" not in commands.stability("--digits", "small", "--passes", "1")[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--passes", "0"], "0 passes"),
        (["--passes", "many"], "many"),
        (["--masks", "some"], "some"),
        (["--digits", "nonsense"], "nonsense"),
        (["--checkpoint", "gone.pt"], "gone.pt"),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(
    commands: Commands, arguments: list[str], named: str
) -> None:
    status, out, err = commands.stability(*arguments)
    assert (status, out) == (2, "")
    assert named in err
    assert len(err.splitlines()) == 1


def test_train_measures_stability_at_the_end(commands: Commands) -> None:
    train = [
        *("train", "--digits", "small", "--epochs", "1", "--batch-size", "64", "--name", "mine"),
        *("--output-dir", str(commands.folder / "out"), "--checkpoint-dir", str(commands.folder)),
        *("--no-viz", "--stability-passes", "4", "--train-images", "64"),
    ]
    status, out, err = commands(*train)
    assert status == 0, err
    saved = json.loads((commands.folder / "out" / "mine" / "stability.json").read_text())
    commands.network = commands.folder / "mine.pt"
    for masks in MASKS:
        result = commands.json("--digits", "small", "--passes", "4", "--masks", masks)
        assert saved[masks].items() >= result.items()
        assert f"mean {percent(result['mean'])}" in out
    assert not (commands.folder / "out" / "mine" / "figures").exists()
    assert "running 4 dropout passes" in err


def test_a_wrong_number_of_passes_is_refused_before_training_starts(commands: Commands) -> None:
    status, out, err = commands(
        *("train", "--digits", "small", "--stability-passes", "0"),
        *("--output-dir", str(commands.folder / "out"), "--checkpoint-dir", str(commands.folder)),
    )
    assert (status, out) == (2, "")
    assert err.startswith("0 passes were requested")
    assert not (commands.folder / "out").exists()


@pytest.mark.long
def test_the_shipped_model_is_stable_on_mnist(
    real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[1] / "checkpoints" / "digitcnn-mnist.pt"
    status = main(
        [
            *("stability", "--checkpoint", str(shipped), "--data-dir", str(real_data), "--json"),
            *("--masks", "shared", "--device", "cpu"),
        ]
    )
    result = json.loads(capsys.readouterr().out)
    assert (status, result["passes"]) == (0, checkpoint.load(shipped).details.epochs)
    assert result["mean"] > 0.99
    assert result["std"] < STABLE_BELOW
