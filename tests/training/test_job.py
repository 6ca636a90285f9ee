from __future__ import annotations

import dataclasses
import json
import math
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digitcnn.digits.catalog import Catalog
from digitcnn.errors import RunError
from digitcnn.network import checkpoint
from digitcnn.network.device import Compute
from digitcnn.training.background import IDLE
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.job import TrainingJob
from digitcnn.training.run_record import RUNNING
from digitcnn.training.runs import RunStore
from digitcnn.training.view import LossCurve, TrainingView

SHORT = TrainingConfig(
    digits="small", epochs=2, batch_size=32, learning_rate=0.004, train_images=64
)
LONG = TrainingConfig(digits="small", epochs=200, batch_size=16)


@pytest.fixture
def job(tmp_path: Path, data_dir: Path, cpu: Compute) -> TrainingJob:
    return TrainingJob(
        Catalog(data_dir),
        RunStore(tmp_path / "outputs"),
        tmp_path / "checkpoints",
        cpu,
        PostTrainingConfig(figures=False, stability=False),
    )


def wait(job: TrainingJob, until: Callable[[TrainingView], bool]) -> TrainingView:
    deadline = time.monotonic() + 60
    while not until(job.view()):
        assert time.monotonic() < deadline, job.view()
        time.sleep(0.01)
    return job.view()


def ended(view: TrainingView) -> bool:
    return view.state not in (IDLE, RUNNING)


def test_training_ends_with_a_checkpoint_and_its_metrics(
    job: TrainingJob, tmp_path: Path, data_dir: Path
) -> None:
    assert job.view().state == IDLE
    name = job.start(SHORT, "first")
    view = wait(job, ended)
    assert (view.state, view.run, name) == ("finished", "first", "first")
    assert view.ended is not None
    loaded = checkpoint.load(tmp_path / "checkpoints" / "first.pt")
    assert loaded.digest == view.ended.digest
    assert loaded.details.state == "finished"
    test = loaded.details.metrics["small"]
    assert test["n"] == 100
    images = Catalog(data_dir).open("small", "test")
    answers = loaded.network(loaded.network.prepare(images.images)).argmax(1)
    assert test["accuracy"] == pytest.approx(float((answers == images.labels).float().mean()))
    folder = tmp_path / "outputs" / "first"
    assert json.loads((folder / "metrics.json").read_text())["small"]["n"] == 100
    assert len(json.loads((folder / "history.json").read_text())) == 2
    assert not (folder / "resume.pt").exists()


def test_view_follows_a_renamed_run_and_forgets_a_deleted_one(job: TrainingJob) -> None:
    job.start(SHORT, "first")
    before = wait(job, ended)
    job.shutdown(10)  # the run is in use until the thread has closed it, after its last event
    assert job.rename("first", "second") == "second"
    renamed = job.view()
    assert (renamed.run, renamed.state, renamed.history) == ("second", "finished", before.history)
    with pytest.raises(RunError, match="There is no run 'first'"):
        job.delete("first")
    job.delete("second")
    gone = job.view()
    assert dataclasses.replace(gone, version=0) == dataclasses.replace(
        TrainingView(), replay=gone.replay
    )
    assert gone.replay.frames == ()
    assert before.version < renamed.version < gone.version


def test_all_watchers_see_the_same_training(job: TrainingJob) -> None:
    job.start(SHORT, "watched")
    seen: list[list[int]] = [[] for _ in range(4)]

    def watch(versions: list[int]) -> None:
        while not ended(job.view()):
            versions.append(job.view().version)
            time.sleep(0.005)
        versions.append(job.view().version)

    threads = [threading.Thread(target=watch, args=(versions,)) for versions in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(versions == sorted(versions) for versions in seen)
    assert {versions[-1] for versions in seen} == {job.view().version}


def test_second_start_is_refused_with_name_and_time_of_the_first(job: TrainingJob) -> None:
    job.start(LONG, "busy")
    with pytest.raises(RunError, match=r"'busy' has been training since \d\d:\d\d:\d\d"):
        job.start(SHORT)
    with pytest.raises(RunError, match="'busy' has been training"):
        job.resume("busy")
    job.stop()
    wait(job, ended)


def test_stop_saves_a_checkpoint_and_resume_finishes(job: TrainingJob, tmp_path: Path) -> None:
    job.start(TrainingConfig(digits="small", epochs=4, batch_size=16), "halved")
    wait(job, lambda view: len(view.history) >= 1)
    asked = time.monotonic()
    job.stop()
    assert job.view().stopping
    view = wait(job, ended)
    # A stop acts between two batches; the bound is generous for a busy machine.
    assert time.monotonic() - asked < 10
    assert view.state == "stopped"
    done = len(view.history)
    assert view.message == f"Stopped at epoch {done} of 4; it can be resumed."
    half = checkpoint.load(tmp_path / "checkpoints" / f"halved-epoch{done}.pt")
    assert half.details.state == f"stopped at epoch {done} of 4"
    job.resume("halved")
    view = wait(job, ended)
    assert view.state == "finished"
    assert [result.epoch for result in view.history] == [1, 2, 3, 4]
    with pytest.raises(RunError, match="finished; start a new one"):
        job.resume("halved")


def test_stop_before_the_first_epoch_saves_nothing(job: TrainingJob, tmp_path: Path) -> None:
    job.start(LONG, "short")
    job.stop()
    view = wait(job, ended)
    assert view.message == "Stopped before the first epoch finished; resuming starts it over."
    assert not list(tmp_path.glob("checkpoints/*.pt"))


def test_shutdown_marks_the_run_interrupted_and_keeps_the_resume_state(
    job: TrainingJob, tmp_path: Path
) -> None:
    job.start(LONG, "cut")
    wait(job, lambda view: len(view.history) >= 1)
    job.shutdown(10)
    assert job.view().state == "interrupted"
    run = RunStore(tmp_path / "outputs").open("cut")
    assert run.record().state == "interrupted"
    assert run.results.snapshot() is not None
    assert not list(tmp_path.glob("checkpoints/*.pt"))


def test_failure_gives_one_sentence_with_a_traceback_in_the_log(
    job: TrainingJob, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    job.start(SHORT, "doomed")
    view = wait(job, ended)
    assert view.state == "failed"
    assert "cannot be written" in view.message
    assert "Traceback" in (tmp_path / "outputs" / "doomed" / "log.txt").read_text()
    job.start(LONG, "after")
    assert job.view().state == "running"
    job.stop()
    wait(job, ended)


def test_another_networks_checkpoint_is_never_overwritten(job: TrainingJob, tmp_path: Path) -> None:
    job.start(SHORT, "same")
    first = wait(job, ended).ended
    assert first is not None
    shutil.rmtree(tmp_path / "outputs")
    job.start(dataclasses.replace(SHORT, seed=7), "same")
    second = wait(job, ended).ended
    assert second is not None
    assert first.checkpoint is not None
    assert second.checkpoint == first.checkpoint.with_name("same-2.pt")
    assert checkpoint.load(first.checkpoint).digest == first.digest
    shutil.rmtree(tmp_path / "outputs")
    job.start(SHORT, "same")
    third = wait(job, ended).ended
    assert third is not None
    assert third.checkpoint == first.checkpoint


def test_stop_without_a_training_is_refused(job: TrainingJob) -> None:
    with pytest.raises(RunError, match="No training is running"):
        job.stop()


def test_failed_run_resumes_once_the_cause_is_gone(job: TrainingJob, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    job.start(SHORT, "again")
    wait(job, ended)
    (tmp_path / "checkpoints").unlink()
    job.resume("again")
    assert wait(job, ended).state == "finished"


@pytest.mark.parametrize("count", [0, 1, 599, 601, 602, 1203, 5000])
def test_thinned_loss_curve_keeps_the_mean_of_all_losses(count: int) -> None:
    losses = torch.rand(count, generator=torch.Generator().manual_seed(0)).tolist()
    curve = LossCurve()
    for start in range(0, count, 7):
        curve = curve.with_losses(tuple(losses[start : start + 7]))
    assert len(curve.means) <= 600
    assert len(curve.means) * curve.group + len(curve.rest) == count
    total = sum(curve.means) * curve.group + sum(curve.rest)
    assert math.isclose(total, sum(losses), rel_tol=1e-6, abs_tol=1e-9)
