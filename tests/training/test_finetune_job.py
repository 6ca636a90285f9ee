"""The background job that fine-tunes: one at a time, and never during a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import FeedbackError, RunError
from digitcnn.network.checkpoint import Checkpoint, Details
from digitcnn.network.device import Compute
from digitcnn.network.model import DigitCNN
from digitcnn.training.background import IDLE, BackgroundView
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.finetune_job import FineTuningJob
from digitcnn.training.finetune_training import FineTuningConfig, Sketches
from digitcnn.training.job import TrainingJob
from digitcnn.training.run_record import RUNNING
from digitcnn.training.runs import RunStore

# Until somebody stops it.
LONG = FineTuningConfig(epochs=10_000, batch_size=32, originals=300)
# A stop acts between two batches; the bound is generous for a busy machine.
STOP_SECONDS = 10
SHORT = FineTuningConfig(epochs=1, batch_size=32, originals=64)


@pytest.fixture
def training(tmp_path: Path, data_dir: Path, cpu: Compute) -> TrainingJob:
    return TrainingJob(
        Catalog(data_dir),
        RunStore(tmp_path / "outputs"),
        tmp_path / "checkpoints",
        cpu,
        PostTrainingConfig(figures=False, stability=False),
    )


@pytest.fixture
def fine_tuning(
    tmp_path: Path, data_dir: Path, cpu: Compute, training: TrainingJob
) -> Callable[[FineTuningConfig], FineTuningJob]:
    def make(settings: FineTuningConfig) -> FineTuningJob:
        return FineTuningJob(
            Catalog(data_dir), tmp_path / "checkpoints", cpu, training.exclusive, settings
        )

    return make


@pytest.fixture(scope="module")
def base(drawn: DigitSet) -> Checkpoint:
    """An untrained network, as if it had been trained on ``small``."""
    kept, held_out = split_held_out(drawn)
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    prints = {"train": kept.fingerprint, "held_out": held_out.fingerprint}
    details = Details(digits="small", seed=0, fingerprints=prints)
    return Checkpoint(details, "mine", "0" * 64, 0, held=network)


@pytest.fixture(scope="module")
def sketches() -> Sketches:
    found = synthetic.draw("synthetic-other-writers", "test", images=40)
    return Sketches(found.images, found.labels, ["somebody"] * 40)


def wait(
    job: FineTuningJob | TrainingJob, until: Callable[[BackgroundView], bool]
) -> BackgroundView:
    deadline = time.monotonic() + 60
    while not until(job.view()):
        assert time.monotonic() < deadline, job.view()
        time.sleep(0.01)
    return job.view()


def ended(view: BackgroundView) -> bool:
    return view.state not in (IDLE, RUNNING)


def test_training_and_fine_tuning_exclude_each_other(
    training: TrainingJob,
    fine_tuning: Callable[[FineTuningConfig], FineTuningJob],
    base: Checkpoint,
    sketches: Sketches,
) -> None:
    job = fine_tuning(LONG)
    assert training.exclusive.free
    job.start(base, sketches)
    assert not training.exclusive.free
    short = TrainingConfig(digits="small", epochs=200, batch_size=16)
    with pytest.raises(RunError, match=r"Fine-tuning of mine has been running since \d\d:\d\d"):
        training.start(short)
    with pytest.raises(RunError, match="Fine-tuning of mine has been running"):
        job.start(base, sketches)
    job.stop()
    wait(job, ended)
    training.start(short, "busy")
    with pytest.raises(RunError, match="Run 'busy' has been training since"):
        job.start(base, sketches)
    training.stop()
    wait(training, ended)
    assert training.exclusive.free


def test_stop_acts_soon_and_leaves_nothing(
    fine_tuning: Callable[[FineTuningConfig], FineTuningJob],
    base: Checkpoint,
    sketches: Sketches,
    tmp_path: Path,
) -> None:
    job = fine_tuning(LONG)
    with pytest.raises(RunError, match="Fine-tuning is not running"):
        job.stop()
    job.start(base, sketches)
    wait(job, lambda view: view.phase == "fine-tuning")
    asked = time.monotonic()
    job.stop()
    assert job.view().stopping
    view = wait(job, ended)
    assert time.monotonic() - asked < STOP_SECONDS
    assert (view.state, view.message) == ("stopped", "Stopped; nothing was saved.")
    assert not (tmp_path / "checkpoints").exists()


def test_shutdown_marks_it_interrupted(
    fine_tuning: Callable[[FineTuningConfig], FineTuningJob], base: Checkpoint, sketches: Sketches
) -> None:
    job = fine_tuning(LONG)
    job.start(base, sketches)
    job.shutdown(10)
    view = job.view()
    assert (view.state, view.message) == ("interrupted", "Interrupted; nothing was saved.")


def test_result_stays_visible_while_the_next_one_runs(
    fine_tuning: Callable[[FineTuningConfig], FineTuningJob], base: Checkpoint, sketches: Sketches
) -> None:
    job = fine_tuning(SHORT)
    job.start(base, sketches)
    view = wait(job, ended)
    # 40 held-out images are too few to rule out a loss.
    assert view.state == "finished"
    assert view.message.startswith("Not saved, because ")
    assert job.view().ended is not None
    assert [row.n for row in job.view().ended.rows] == [20, 40, 40, 100]
    job.start(base, sketches)
    assert job.view().ended is not None
    wait(job, ended)


def test_refused_start_leaves_the_job_idle(
    fine_tuning: Callable[[FineTuningConfig], FineTuningJob], base: Checkpoint, sketches: Sketches
) -> None:
    job = fine_tuning(SHORT)
    with pytest.raises(FeedbackError, match="fine-tuning needs 40"):
        job.start(base, sketches.take(range(5)))
    assert job.view().state == IDLE


def test_failure_gives_one_sentence_and_frees_the_lock(
    training: TrainingJob,
    fine_tuning: Callable[[FineTuningConfig], FineTuningJob],
    base: Checkpoint,
    sketches: Sketches,
) -> None:
    job = fine_tuning(FineTuningConfig(epochs=1, batch_size=32, originals=64, learning_rate=1e30))
    job.start(base, sketches)
    view = wait(job, ended)
    assert view.state == "failed"
    assert view.message.startswith("The loss became")
    assert training.exclusive.free
