"""``train --seeds``: runs of several seeds, summarised over the finished ones."""

from __future__ import annotations

import json
import signal
import statistics
import time
from pathlib import Path

import pytest
from warm_process import WarmCommand

from digitcnn.cli import main
from digitcnn.network import checkpoint

TINY = ["--digits", "small", "--epochs", "1", "--batch-size", "64", "--no-viz", "--no-stability"]
TINY += ["--train-images", "128"]


class Series:
    def __init__(self, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.folders = ["--output-dir", str(folder / "outputs"), "--data-dir", str(data)]
        self.folders += ["--checkpoint-dir", str(folder / "checkpoints"), "--device", "cpu"]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        status = main(["train", *TINY, *self.folders, *arguments])
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err

    def runs(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "outputs").glob("*"))


@pytest.fixture
def series(tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Series:
    return Series(tmp_path, data_dir, capsys)


def test_each_seed_is_a_run_and_metrics_are_summarised(series: Series) -> None:
    status, out, _ = series.run("--seeds", "3", "--seed", "4", "--name", "mine", "--json")
    result = json.loads(out)
    assert (status, set(result)) == (0, {"runs", "mean", "std"})
    assert [run["run"] for run in result["runs"]] == ["mine-seed4", "mine-seed5", "mine-seed6"]
    for seed, run in enumerate(result["runs"], 4):
        assert checkpoint.load(Path(run["checkpoint"])).details.seed == seed
    for name in ("held_out", "small"):
        for key in ("accuracy", "nll", "ece", "brier", "macro_f1"):
            values = [run["metrics"][name][key] for run in result["runs"]]
            assert result["mean"][name][key] == pytest.approx(sum(values) / 3)
            assert result["std"][name][key] == pytest.approx(statistics.stdev(values))
    assert len({run["digest"] for run in result["runs"]}) == 3


def test_run_of_a_series_equals_a_single_run_with_its_seed(series: Series) -> None:
    _, out, _ = series.run("--seeds", "2", "--name", "both", "--json")
    _, alone, _ = series.run("--seed", "1", "--name", "alone", "--json")
    assert json.loads(out)["runs"][1]["digest"] == json.loads(alone)["digest"]
    assert set(json.loads(alone)) == {
        "run", "checkpoint", "digest", "epochs", "seconds", "metrics"
    }  # fmt: skip


def test_text_gives_mean_and_deviation(series: Series) -> None:
    _, out, _ = series.run("--seeds", "2")
    assert "Accuracy, mean and standard deviation over 2 seeds:\nheld-out images: " in out
    assert out.rstrip().endswith(" points")
    assert [name[-6:] for name in series.runs()] == ["-seed0", "-seed1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--seeds", "2", "--seed", str(2**31 - 1)], "seed is 2147483648"),
        (["--seeds", "2", "--name", "x" * 56], "is not valid"),
        (["--seeds", "2", "--resume", "mine"], "leave out --seeds or --resume"),
    ],
)
def test_invalid_series_is_refused_in_one_sentence(
    series: Series, arguments: list[str], message: str
) -> None:
    status, out, err = series.run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert series.runs() == []


def test_existing_name_is_refused_before_the_first_run_starts(series: Series) -> None:
    (series.folder / "outputs" / "mine-seed1").mkdir(parents=True)
    status, _, err = series.run("--seeds", "2", "--name", "mine")
    assert status == 2
    assert "'mine-seed1' already exists" in err
    assert series.runs() == ["mine-seed1"]


@pytest.mark.long
def test_ctrl_c_stops_the_series_and_reports_what_finished(series: Series) -> None:
    command = ["train", *TINY, *series.folders, "--json"]
    command += ["--epochs", "6", "--batch-size", "16", "--seeds", "3", "--name", "mine"]
    process = WarmCommand(*command, folder=series.folder)
    deadline = time.monotonic() + 90
    while not (series.folder / "outputs" / "mine-seed1" / "resume.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert process.poll() == 130
    assert "Traceback" not in err
    assert [run["run"] for run in result["runs"]] == ["mine-seed0", "mine-seed1"]
    assert result["runs"][1]["epochs"] < 6
    assert series.runs() == ["mine-seed0", "mine-seed1"]
    first = result["runs"][0]["metrics"]["small"]["accuracy"]
    assert result["mean"]["small"]["accuracy"] == first
    assert result["std"]["small"]["accuracy"] is None
