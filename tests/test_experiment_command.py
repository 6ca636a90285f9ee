"""``python -m digitcnn experiment``: the list, one experiment in small, and unusable arguments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from experiments_in_small import in_small

from digitcnn import cli
from digitcnn.commands.experiment import run_one
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.experiments import catalogue
from digitcnn.files import without_nan
from digitcnn.network import checkpoint


@pytest.fixture
def folders(tmp_path: Path, drawn: DigitSet) -> list[str]:
    """Options that name folders; the digits drawn by the program stand in for MNIST's."""
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for stem in ("train", "t10k"):
        write_idx(tmp_path / "data" / "mnist" / f"{stem}-images-idx3-ubyte", drawn.images)
        write_idx(tmp_path / "data" / "mnist" / f"{stem}-labels-idx1-ubyte", drawn.labels)
    return [
        *("--data-dir", str(tmp_path / "data"), "--device", "cpu"),
        *("--output-dir", str(tmp_path / "outputs")),
        *("--checkpoint-dir", str(tmp_path / "checkpoints")),
    ]


def test_list_names_each_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["experiment", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["experiments"]
    assert [one["name"] for one in listed["experiments"]] == catalogue.names()
    assert all(one["question"].endswith("?") for one in listed["experiments"])
    assert cli.main(["experiment", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(catalogue.names())


def test_experiment_prints_its_verdict_as_json(folders: list[str], tmp_path: Path) -> None:
    args = cli.parser().parse_args(["experiment", "augmentation", "--seed", "4", *folders])
    result, text, status = run_one(in_small(catalogue.find("augmentation")), args)
    assert status == 0
    json.dumps(without_nan(result), allow_nan=False)
    assert list(result)[:1] == ["experiment"]
    assert {"experiment", "runs", "verdict", "difference", "low", "high"} <= set(result)
    assert result["low"] <= result["difference"] <= result["high"]
    assert {run["seed"] for run in result["runs"]} == {4, 5}
    assert result["verdict"] in text
    for run in result["runs"]:
        assert checkpoint.load(Path(run["checkpoint"])).digest == run["digest"]
        assert (tmp_path / "outputs" / run["run"] / "run.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["nonsense"], "There is no experiment 'nonsense'"), (["luck", "--seed", "-1"], "seed is -1")],
)
def test_unusable_arguments_are_refused_before_anything_is_written(
    folders: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    assert cli.main(["experiment", *arguments, *folders]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
