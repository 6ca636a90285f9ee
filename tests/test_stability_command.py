"""``stability`` and the end of ``train`` as a script uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from digitcnn.analysis import stability
from digitcnn.analysis.predictions import predict
from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN

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


@pytest.mark.parametrize("masks", stability.MASKS)
def test_the_json_is_the_contract_and_the_analysis(
    commands: Commands, masks: stability.Masks
) -> None:
    found = commands.json("--digits", "small", "--passes", "4", "--masks", masks)
    assert list(found) == ["passes", "masks", "accuracies", "mean", "std", "min", "max"]
    loaded = checkpoint.load(commands.network)
    predictions = predict(loaded.network, Catalog(commands.data).open("small", "test"))
    expected = stability.measure(loaded.network, predictions, 4, masks=masks, temperature=0.8)
    assert found == expected.to_json()


def test_without_options_masks_are_independent_and_passes_are_the_epochs(
    commands: Commands,
) -> None:
    found = commands.json()
    assert (found["masks"], found["passes"]) == ("independent", 3)


def test_without_mnist_the_networks_own_set_is_taken_and_said(commands: Commands) -> None:
    assert "mnist is not on this machine; small is taken" in commands.stability()[2]
    commands.network.unlink()
    checkpoint.save(commands.network, DigitCNN(), Details(digits="elsewhere"))
    status, out, err = commands.stability("--passes", "2")
    assert status == 0
    assert "synthetic is taken instead" in err
    assert out.startswith("synthetic test")


def test_the_text_shows_bound_and_chance_or_the_verdict(commands: Commands) -> None:
    _, independent, _ = commands.stability("--digits", "small")
    assert "chance alone" in independent
    assert "for any network at most 5.00" in independent
    _, shared, _ = commands.stability("--digits", "small", "--masks", "shared")
    assert "at most" not in shared
    assert "stable" in shared or "leaning" in shared
    for text in (independent, shared):
        assert "on 100 images" in text
        assert "change their answer in any pass" in text


def test_one_pass_has_no_deviation(commands: Commands) -> None:
    assert commands.json("--digits", "small", "--passes", "1")["std"] is None
    assert "nan" not in commands.stability("--digits", "small", "--passes", "1")[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--passes", "0"], "0 passes"),
        (["--passes", "201"], "201 passes"),
        (["--passes", "many"], "many"),
        (["--masks", "some"], "some"),
        (["--digits", "nonsense"], "nonsense"),
        (["--digits", "../etc"], "etc"),
        (["--checkpoint", "gone.pt"], "gone.pt"),
    ],
)
def test_unusable_arguments_are_one_sentence(
    commands: Commands, arguments: list[str], named: str
) -> None:
    status, out, err = commands.stability(*arguments)
    assert (status, out) == (2, "")
    assert named in err
    assert len(err.splitlines()) == 1


def test_train_ends_with_its_stability(commands: Commands) -> None:
    train = [
        *("train", "--digits", "small", "--epochs", "1", "--batch-size", "64", "--name", "mine"),
        *("--output-dir", str(commands.folder / "out"), "--checkpoint-dir", str(commands.folder)),
        *("--no-viz", "--stability-passes", "4", "--train-images", "64"),
    ]
    status, out, err = commands(*train)
    assert status == 0, err
    kept = json.loads((commands.folder / "out" / "mine" / "stability.json").read_text())
    commands.network = commands.folder / "mine.pt"
    for masks in stability.MASKS:
        found = commands.json("--digits", "small", "--passes", "4", "--masks", masks)
        assert kept[masks].items() >= found.items()
        assert f"mean {100 * found['mean']:.2f} %" in out
    assert not (commands.folder / "out" / "mine" / "figures").exists()
    assert "making 4 passes" in err


def test_a_wrong_number_of_passes_is_refused_before_a_training_begins(commands: Commands) -> None:
    status, out, err = commands(
        *("train", "--digits", "small", "--stability-passes", "0"),
        *("--output-dir", str(commands.folder / "out"), "--checkpoint-dir", str(commands.folder)),
    )
    assert (status, out) == (2, "")
    assert err.startswith("0 passes were asked for")
    assert not (commands.folder / "out").exists()


def test_the_shipped_network_on_mnist_is_stable(
    real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[1] / "checkpoints" / "digitcnn-mnist.pt"
    status = main(
        [
            *("stability", "--checkpoint", str(shipped), "--data-dir", str(real_data), "--json"),
            *("--masks", "shared", "--device", "cpu"),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert (status, found["passes"]) == (0, checkpoint.load(shipped).details.epochs)
    assert found["mean"] > 0.99
    assert found["std"] < stability.STABLE_BELOW
