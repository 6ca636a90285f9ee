"""Two processes started by ``torchrun`` train as one does, and print and write as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from running_app import ROOT

from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import split_held_out
from digitcnn.digits.idx import write_idx
from digitcnn.errors import ConfigError
from digitcnn.intervals import wilson_interval
from digitcnn.network import checkpoint
from digitcnn.network.device import Compute
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.distributed import ALONE, Processes, joined
from digitcnn.training.events import EpochEnd, EpochResult
from digitcnn.training.loop import train
from digitcnn.training.runs import RunStore

CONFIG = TrainingConfig(digits="pair", epochs=3, batch_size=32, learning_rate=0.004)
SECONDS = 100


@dataclass
class Trial:
    """A run whose first epoch one process trained, and two the others.

    alone: the same training by one process. json, messages: what the two processes printed.
    """

    folder: Path
    alone: list[EpochResult]
    json: dict[str, Any]
    messages: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the set ``pair``: 1,000 digits to train on, 60 to test on."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "data" / "pair").mkdir(parents=True)
    for split, images in (("train", 1000), ("test", 60)):
        digits = synthetic.draw("synthetic", split, images=images)
        write_idx(folder / "data" / "pair" / f"{split}-images-idx3-ubyte", digits.images)
        write_idx(folder / "data" / "pair" / f"{split}-labels-idx1-ubyte", digits.labels)
    return folder


@pytest.fixture(scope="module")
def trial(folder: Path, cpu: Compute) -> Trial:
    sets = split_held_out(Catalog(folder / "data").open("pair", "train"))
    ends = [end for end in train(CONFIG, *sets, cpu) if isinstance(end, EpochEnd)]
    skip = PostTrainingConfig(figures=False, stability=False)
    run = RunStore(folder / "outputs").create(CONFIG, "two", post_training=skip)
    run.results.write_snapshot(ends[0].snapshot)
    run.results.write_history(ends[0].snapshot.history)
    output, messages = launched(folder, "--resume", "two")
    return Trial(folder, [end.result for end in ends], output, messages)


def launched(
    folder: Path,
    *arguments: str,
    when: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> tuple[dict[str, Any], str]:
    """Return the JSON and the messages of two processes; ``when`` gets their launcher at once."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "digitcnn", "train", *arguments, "--json"]
    command += ["--data-dir", str(folder / "data"), "--device", "cpu"]
    command += ["--output-dir", str(folder / "outputs")]
    command += ["--checkpoint-dir", str(folder / "checkpoints")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        when(process)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.terminate()  # the launcher passes it on
    assert out, err
    return json.loads(out), err


def interrupt(process: subprocess.Popen[str], snapshot: Path) -> None:
    """Send Ctrl-C once the first epoch is saved; the launcher passes it on to both."""
    deadline = time.monotonic() + SECONDS
    while not snapshot.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)


@pytest.mark.long
def test_two_processes_reach_the_accuracy_of_one(trial: Trial) -> None:
    rows = RunStore(trial.folder / "outputs").open("two").results.history()
    last, alone = rows[-1], trial.alone[-1]
    assert rows[0] == trial.alone[0]
    assert len(rows) == CONFIG.epochs == trial.json["epochs"]
    low, high = wilson_interval(round(alone.accuracy * alone.held_out), alone.held_out)
    assert low <= last.accuracy <= high
    assert last.held_out == alone.held_out
    assert last.learning_rate == alone.learning_rate
    # They saw the same images in the same batches, augmented in another way.
    assert last.loss == pytest.approx(alone.loss, rel=0.1)
    assert last.loss != alone.loss


@pytest.mark.long
def test_two_processes_leave_one_run_and_one_checkpoint(trial: Trial) -> None:
    assert [path.name for path in (trial.folder / "outputs").iterdir()] == ["two"]
    assert [path.name for path in (trial.folder / "checkpoints").iterdir()] == ["two.pt"]
    record = RunStore(trial.folder / "outputs").open("two").record()
    found = checkpoint.load(trial.folder / "checkpoints" / "two.pt").digest
    assert record.state == "finished"
    assert record.device.startswith("2 processes, each on CPU")
    assert record.digest == found == trial.json["digest"]


@pytest.mark.long
def test_only_the_first_process_prints(trial: Trial) -> None:
    assert trial.messages.count("Training on 2 processes") == 1
    assert trial.messages.count(f"epoch {CONFIG.epochs}: loss") == 1


@pytest.mark.long
def test_ctrl_c_stops_both_and_saves_the_finished_epochs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(folder / "data")
    new = ["--name", "two", "--digits", "pair", "--epochs", "20", "--batch-size", "32"]
    snapshot = tmp_path / "outputs" / "two" / "resume.pt"
    output, _ = launched(tmp_path, *new, when=lambda launcher: interrupt(launcher, snapshot))
    assert 1 <= output["epochs"] < 20
    assert checkpoint.load(Path(output["checkpoint"])).digest == output["digest"]
    assert RunStore(tmp_path / "outputs").open("two").record().state == "stopped"


def test_shares_of_all_processes_make_up_the_batch() -> None:
    batch = torch.arange(11)
    parts = [Processes(rank, 4).part(batch) for rank in range(4)]
    assert sorted(torch.cat(parts).tolist()) == batch.tolist()
    assert ALONE.part(batch) is batch


def test_batches_divide_into_equal_shares() -> None:
    assert Processes(0, 3).whole_batches(256) == 255
    assert ALONE.whole_batches(256) == 256
    with pytest.raises(ConfigError, match="8 processes cannot share 5 images"):
        Processes(0, 8).whole_batches(5)


def test_mps_is_refused_for_several_processes() -> None:
    with pytest.raises(ConfigError, match="mps"):
        Processes(0, 2).together(Compute(torch.device("mps"), None, "Apple GPU"))


def test_without_launcher_a_process_is_alone() -> None:
    without = {name: value for name, value in os.environ.items() if "TORCHELASTIC" not in name}
    with joined(without) as processes:
        assert processes is ALONE
