"""The ``compare`` command: its JSON, its text, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digitcnn.analysis.predictions import predict
from digitcnn.analysis.significance import mcnemar
from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.network.checkpoint import load, save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN

Change = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for seed in range(3):
        network = DigitCNN(generator=torch.Generator().manual_seed(seed)).eval()
        save(folder / f"m{seed}.pt", network, Details(digits="synthetic", seed=seed))
        paths.append(str(folder / f"m{seed}.pt"))
    return paths


def test_json_counts_the_right_predictions_of_every_pair(
    files: list[str], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--digits", "small", "--data-dir", str(data_dir), "--device", "cpu", "--json"]
    assert main(["compare", *files, *where]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["digits"] == "small"
    assert [model["name"] for model in result["models"]] == ["m0", "m1", "m2"]
    digits = Catalog(data_dir).open("small", "test")
    right = {f"m{i}": predict(load(Path(files[i])).network, digits).right for i in range(3)}
    assert [(pair["a"], pair["b"]) for pair in result["pairs"]] == [
        ("m0", "m1"), ("m0", "m2"), ("m1", "m2"),
    ]  # fmt: skip
    for pair in result["pairs"]:
        a, b = right[pair["a"]], right[pair["b"]]
        assert pair["both_right"] == int((a & b).sum())
        assert pair["only_a_right"] == int((a & ~b).sum())
        assert pair["only_b_right"] == int((~a & b).sum())
        assert pair["both_wrong"] == int((~a & ~b).sum())
        assert pair["p_value"] == mcnemar(pair["only_a_right"], pair["only_b_right"])
        assert pair["p_holm"] >= pair["p_value"]


def test_text_names_the_set_and_every_pair(
    files: list[str], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--digits", "small", "--data-dir", str(data_dir), "--device", "cpu"]
    assert main(["compare", files[0], files[1], *where]) == 0
    text = capsys.readouterr().out
    assert "small test, 100 images" in text
    assert "m0 and m1: both right" in text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda files: files[:1], "Models chosen: 1"),
        (lambda files: files * 3, "Models chosen: 9"),
        (lambda files: [files[0], files[1], "--digits", "small,synthetic"], "2 sets"),
        (lambda files: [files[0], "nothing.pt"], "nothing.pt"),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(
    files: list[str],
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    problem: str,
) -> None:
    arguments = change(files)
    if "--digits" not in arguments:
        arguments = [*arguments, "--digits", "small"]
    assert main(["compare", *arguments, "--data-dir", str(data_dir), "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert problem in captured.err
