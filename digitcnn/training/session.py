"""One run from its configuration to its checkpoint: ``run_training`` yields its events.

The order at the end: evaluation, OOD detector, checkpoint, run marked finished, post-training. A
process that is killed anywhere in between leaves a run that is finished or resumable. A stop after
the last epoch skips post-training only. When the process is about to end, evaluation and OOD
detector are skipped too, until the run is resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import listed
from digitcnn.digits.training_images import TrainingImages, open_training_images
from digitcnn.errors import DigitCNNError, RunError, TrainingError
from digitcnn.network import checkpoint
from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.details import Details
from digitcnn.network.device import Compute
from digitcnn.network.filenames import numbered, save_under_free_name
from digitcnn.network.model import Network
from digitcnn.network.ood import OODDetector, shipped_detector
from digitcnn.training.background import StoppedError, StopSignal
from digitcnn.training.distributed import ALONE, Processes
from digitcnn.training.events import EpochEnd, Phase, RunEnd, Snapshot, TrainingEvent
from digitcnn.training.loop import train
from digitcnn.training.post_training import PostTraining, details_of, evaluate_run
from digitcnn.training.report import REPORT, write_report
from digitcnn.training.run import Run
from digitcnn.training.run_record import FAILED, FINISHED, INTERRUPTED, RUNNING, versions


def run_training(
    run: Run,
    *,
    catalog: Catalog,
    checkpoints: Path,
    compute: Compute,
    stop: StopSignal,
    processes: Processes = ALONE,
) -> Iterator[TrainingEvent]:
    """Start the run, or resume it after its last finished epoch; the last event is RunEnd.

    checkpoints: folder for the checkpoint. processes: those that train together; the first one
    calls this, the others ``assist_training``.
    Raises a DigitCNNError for whatever went wrong; the run is then marked failed and its log holds
    the traceback.
    """
    with run.held():
        session = TrainingSession(run, catalog, checkpoints, compute, stop, processes)
        try:
            for event in session.events():
                if isinstance(event, RunEnd):
                    session.report()  # before the last event: its consumer may exit on it
                yield event
        except Exception as error:
            raise session.failed(error) from error


def assist_training(
    processes: Processes, *, catalog: Catalog, compute: Compute, stop: StopSignal
) -> None:
    """Train along with the first process, run after run, until it sends ``None`` or has ended.

    Raises RunError where this machine has other images, DigitSetError where they cannot be read.
    """
    while (message := processes.receive()) is not None:
        config, fingerprint, snapshot = message
        images = open_training_images(catalog, config.digits, config.train_images)
        if images.training.fingerprint != fingerprint:
            raise RunError(
                f"The images of {listed(config.digits)} in {catalog.data_dir} are not those that "
                "the first process trains on; give every machine the same files."
            )
        for _ in train(
            config,
            images.training,
            images.held_out,
            compute,
            resume=snapshot,
            stopped=_stopped_in_any(processes, stop),
            processes=processes,
        ):
            pass


def _stopped_in_any(processes: Processes, stop: StopSignal) -> Callable[[], bool]:
    """Return a function that returns whether to stop: all processes stop if one is to stop."""

    def stopped() -> bool:
        # All act on the shared result, so they stop after the same batch.
        any_stopped = processes.any(stop.is_set())
        if any_stopped and not stop.is_set():
            stop.stop()
        return any_stopped

    return stopped


@dataclass(eq=False)
class TrainingSession:
    """One run in progress; its lock is held."""

    run: Run
    catalog: Catalog
    checkpoints: Path
    compute: Compute
    stop: StopSignal
    processes: Processes

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.record = self.run.record()
        self.config = self.record.config

    def events(self) -> Iterator[TrainingEvent]:
        """Train, finish the run and yield each event; the record is written before the last."""
        snapshot = self.run.results.snapshot()
        yield Phase(f"loading {listed(self.config.digits)}")
        images = open_training_images(self.catalog, self.config.digits, self.config.train_images)
        self._begin(images.training, snapshot)
        self.processes.notify((self.config, images.training.fingerprint, snapshot))
        for event in train(
            self.config,
            images.training,
            images.held_out,
            self.compute,
            resume=snapshot,
            stopped=_stopped_in_any(self.processes, self.stop),
            processes=self.processes,
        ):
            if isinstance(event, EpochEnd):
                snapshot = event.snapshot
                self._store(event)
            yield event
        if snapshot is not None and snapshot.epoch == self.config.epochs:
            yield from self._finish(snapshot, images)
        else:
            yield self._end_early(snapshot, images)

    def _begin(self, training: DigitSet, snapshot: Snapshot | None) -> None:
        if self.record.fingerprint not in (None, training.fingerprint):
            raise RunError(
                f"The images of {listed(self.config.digits)} are not those that run "
                f"'{self.run.name}' was trained on; restore them or start a new run."
            )
        self._write(
            state=RUNNING,
            fingerprint=training.fingerprint,
            device=str(self.compute),
            versions=versions(),
            message="",
        )
        where = "from the start" if snapshot is None else f"after epoch {snapshot.epoch}"
        self.run.log(f"training {where} on {self.compute}: {self.config.to_json()}")

    def _store(self, end: EpochEnd) -> None:
        if self.record.saves:
            self.run.results.write_snapshot(end.snapshot)
        self.run.results.write_history(end.snapshot.history)
        self.run.log(str(end.result))

    def _finish(self, snapshot: Snapshot, images: TrainingImages) -> Iterator[TrainingEvent]:
        yield Phase("evaluating the held-out and test images")
        network = _averaged_network(snapshot, self.config.network).to(self.compute.device)
        ood = None
        try:
            findings, metrics = evaluate_run(
                self.record, network, images, snapshot, self.catalog, self._check_interrupted
            )
            if self.record.saves and self.record.post_training.ood_detector:
                yield Phase("fitting the OOD detector's threshold")
                ood = shipped_detector().fitted(images.held_out.images)
                self._check_interrupted()
        except StoppedError:
            yield self._end_early(snapshot, images)
            return
        self.run.results.write_metrics(metrics)
        details = details_of(self.config, snapshot, images, metrics, findings.temperature)
        epochs = f"{snapshot.epoch} epoch{'s' * (snapshot.epoch != 1)}"
        end = self._end(FINISHED, f"Finished {epochs}.", snapshot, details, ood)
        post_training = PostTraining(
            self.run, self.record.post_training, findings, self.catalog, metrics, self.stop
        )
        yield from post_training.events()
        message = f"{end.message} {post_training.problem}".rstrip()
        if post_training.problem:
            # On a full disk the record keeps the earlier sentence; this one is still shown.
            with contextlib.suppress(OSError):
                self._write(message=message)
                self.run.log(post_training.problem)
        yield dataclasses.replace(
            end,
            seconds=time.monotonic() - self.started,
            message=message,
            metrics=post_training.metrics,
            stability=post_training.stability,
        )

    def _check_interrupted(self, *_: int) -> None:
        if self.stop.interrupted:
            raise StoppedError

    def _end_early(self, snapshot: Snapshot | None, images: TrainingImages) -> RunEnd:
        state, saves = self.stop.reason, self.record.saves
        if snapshot is None:
            note = "; resuming starts it over" if saves else ""
            return self._end(state, f"{state.capitalize()} before the first epoch finished{note}.")
        note = "; it can be resumed" if saves else ""
        message = f"{state.capitalize()} at epoch {snapshot.epoch} of {self.config.epochs}{note}."
        if state == INTERRUPTED:
            return self._end(state, message, snapshot)
        accuracy = snapshot.history[-1].accuracy
        metrics = {"held_out": {"n": len(images.held_out), "accuracy": accuracy}}
        details = details_of(self.config, snapshot, images, metrics)
        return self._end(state, message, snapshot, details)

    def _end(
        self,
        state: str,
        message: str,
        snapshot: Snapshot | None = None,
        details: Details | None = None,
        ood: OODDetector | None = None,
    ) -> RunEnd:
        """Write the checkpoint, where there are details of it and the run saves, and the record.

        The resume state is deleted last, so a process killed in between leaves a run that is
        finished or resumable.
        """
        path = digest = None
        if snapshot is not None and details is not None and self.record.saves:
            network = _averaged_network(snapshot, self.config.network)
            name = self.run.name
            if state != FINISHED:
                name += f"-epoch{snapshot.epoch}"
            path = save_under_free_name(self.checkpoints, numbered(name), network, details, ood)
            digest = checkpoint.digest(network.state_dict())
        self._write(
            state=state, checkpoint=path.name if path else None, digest=digest, message=message
        )
        if state == FINISHED:
            self.run.results.delete_snapshot()
        self.run.log(message)
        return RunEnd(
            run=self.run.name,
            state=state,
            epochs=0 if snapshot is None else snapshot.epoch,
            seconds=time.monotonic() - self.started,
            message=message,
            checkpoint=path,
            digest=digest,
            metrics={} if details is None else details.metrics,
        )

    def _write(self, **changes: Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)
        self.run.write(self.record)

    def report(self) -> None:
        """Write ``report.html``; the run's end does not depend on it."""
        try:
            write_report(self.run)
        except (OSError, RunError) as error:
            with contextlib.suppress(OSError):
                self.run.log(f"{REPORT} could not be written: {error}")

    def failed(self, error: Exception) -> DigitCNNError:
        """Mark the run failed; returns the error with a sentence for people."""
        explained = _explain(error, self.run.name, self.config.batch_size)
        # On a full disk the log cannot be written either; the sentence is still shown.
        with contextlib.suppress(OSError):
            self.run.log_error(error)
            self._write(state=FAILED, message=str(explained))
            self.report()
        return explained


def _averaged_network(snapshot: Snapshot, name: str) -> Network:
    network = ARCHITECTURES[name]()
    network.load_state_dict(snapshot.averaged)
    return network.eval().requires_grad_(False)


def _explain(error: Exception, run: str, batch_size: int) -> DigitCNNError:
    """Return the error with a sentence for whatever ended a training."""
    if isinstance(error, DigitCNNError):
        return error
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return TrainingError(
            f"Out of memory with batches of {batch_size}; use a smaller batch size."
        )
    if isinstance(error, OSError):
        return TrainingError(
            f"The files of run '{run}' could not be written ({error.strerror or error}); free some "
            "space or choose another folder."
        )
    return TrainingError(
        f"Training failed with an unexpected {type(error).__name__}; see log.txt of run '{run}'."
    )
