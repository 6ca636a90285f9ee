"""One run from its configuration to its checkpoint: what the page and the command line iterate.

How the network learns is left to ``loop``, what a file holds to ``runs`` and ``checkpoint``, what
a finished run does besides to ``closing``. The order at the end: scores, what is no digit,
checkpoint, run marked finished, then the closing, so that a process killed anywhere in between
leaves a run that is finished or can go on. A stop after the last epoch cuts the closing short; the
scores of the run's own sets and what is no digit are completed, unless the process ends, and are
then made when the run goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from digitcnn.analysis import metrics as metrics_of
from digitcnn.analysis.calibration import fit_temperature
from digitcnn.analysis.ood import fit_ood_detector
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import DigitCNNError, RunError, TrainingError
from digitcnn.network import checkpoint
from digitcnn.network.device import Compute
from digitcnn.network.filenames import numbered, save_under_free_name
from digitcnn.network.model import DigitCNN
from digitcnn.network.ood import OODDetector
from digitcnn.training import runs
from digitcnn.training.config import TrainingConfig
from digitcnn.training.distributed import ALONE, Processes
from digitcnn.training.events import EpochEnd, Phase, RunEnd, Snapshot, TrainingEvent
from digitcnn.training.loop import train
from digitcnn.training.post_training import PostTraining, PostTrainingResult, Scored, score
from digitcnn.training.runs import Run


def open_training_set(config: TrainingConfig, catalog: Catalog) -> tuple[DigitSet, DigitSet]:
    """The images to train on and the held-out images. Raises DigitSetError where there are none."""
    return split_held_out(catalog.open(config.digits, "train"), config.train_images)


class StopSignal:
    """Asks a training to end between two batches, and says how it then ended."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = runs.STOPPED

    def stop(self, reason: str = runs.STOPPED) -> None:
        """``stopped``: a person asked, a checkpoint is kept. ``interrupted``: the process ends."""
        # The reason first: the training looks at it as soon as the event is set.
        self.reason = reason
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()


def run_training(
    run: Run,
    *,
    catalog: Catalog,
    checkpoints: Path,
    compute: Compute,
    stop: StopSignal,
    processes: Processes = ALONE,
) -> Iterator[TrainingEvent]:
    """Do the run, or go on with it where its last finished epoch ended; the last item is RunEnd.

    processes: those that train together; the first runs this, the others ``assist_training``.
    Raises a DigitCNNError with a sentence for whatever went wrong; the run is then marked failed
    and its log holds the traceback.
    """
    with run.held():
        performance = TrainingSession(run, catalog, checkpoints, compute, stop, processes)
        with performance.failures_recorded():
            for progress in performance.steps():
                if isinstance(progress, RunEnd):
                    performance.report()  # before it is told: who hears of the end may go
                yield progress


def assist_training(
    processes: Processes, *, catalog: Catalog, compute: Compute, stop: StopSignal
) -> None:
    """Train along with the first process, run after run, until
    the first one tells ``None`` or has ended.

    Raises RunError where the digit set is another one here than there, DigitSetError where it
    cannot be read.
    """
    while (told := processes.receive()) is not None:
        config, fingerprint, snapshot = told
        training, held_out = open_training_set(config, catalog)
        if training.fingerprint != fingerprint:
            raise RunError(
                f"The images of {config.digits} in {catalog.data_dir} are not those that the first "
                "process trains on; give every machine the same files."
            )
        for _ in train(
            config,
            training,
            held_out,
            compute,
            resume=snapshot,
            stopped=_stopped_in_any(processes, stop),
            processes=processes,
        ):
            pass


def _stopped_in_any(processes: Processes, stop: StopSignal) -> Callable[[], bool]:
    """Whether one of the processes was asked to stop; then all of them are."""

    def stopped() -> bool:
        # What they agree on is the answer: one that is asked a moment later stops with the others.
        answer = processes.any(stop.is_set())
        if answer and not stop.is_set():
            stop.stop()
        return answer

    return stopped


class TrainingSession:
    def __init__(
        self,
        run: Run,
        catalog: Catalog,
        checkpoints: Path,
        compute: Compute,
        stop: StopSignal,
        processes: Processes,
    ) -> None:
        self.run, self.catalog, self.compute, self.stop = run, catalog, compute, stop
        self.checkpoints, self.processes = checkpoints, processes
        self.started = time.monotonic()
        # While the lock is held, record() says what the file says.
        self.record = run.record()
        self.config = self.record.config

    def steps(self) -> Iterator[TrainingEvent]:
        snapshot = self.run.snapshot()
        yield Phase(f"reading {self.config.digits}")
        training, held_out = open_training_set(self.config, self.catalog)
        self._begin(training, snapshot)
        self.processes.notify((self.config, training.fingerprint, snapshot))
        for progress in train(
            self.config,
            training,
            held_out,
            self.compute,
            resume=snapshot,
            stopped=_stopped_in_any(self.processes, self.stop),
            processes=self.processes,
        ):
            if isinstance(progress, EpochEnd):
                snapshot = progress.snapshot
                self._keep(progress)
            yield progress
        epochs = 0 if snapshot is None else snapshot.epoch
        if epochs == self.config.epochs and snapshot is not None:
            yield from self._finish(snapshot, training, held_out)
        else:
            yield from self._stop(snapshot, epochs, training, held_out)

    def _begin(self, training: DigitSet, snapshot: Snapshot | None) -> None:
        if self.record.fingerprint not in (None, training.fingerprint):
            raise RunError(
                f"The images of {self.config.digits} are not those that the run "
                f"'{self.run.name}' was trained on; restore them or start a new run."
            )
        self._write(
            state=runs.RUNNING,
            fingerprint=training.fingerprint,
            device=str(self.compute),
            versions=runs.versions(),
            message="",
        )
        where = "from the start" if snapshot is None else f"after epoch {snapshot.epoch}"
        self.run.log(f"training {where} on {self.compute}: {self.config.to_json()}")

    def _keep(self, end: EpochEnd) -> None:
        if self.record.saves:
            self.run.write_snapshot(end.snapshot)
        self.run.write_history(end.snapshot.history)
        result = end.result
        self.run.log(
            f"epoch {result.epoch}: loss {result.loss:.4f}, held-out accuracy "
            f"{100 * result.accuracy:.2f} %, {result.seconds:.1f} s"
        )

    def _finish(
        self, snapshot: Snapshot, training: DigitSet, held_out: DigitSet
    ) -> Iterator[TrainingEvent]:
        yield Phase("scoring the held-out and test images")
        network = _averaged_network(snapshot, self.compute)
        try:
            own, metrics, temperature = self._score(network, held_out)
            ood = None
            if self.record.saves:
                ood = yield from self._fit_ood_detector(network, training, held_out)
        except _InterruptedError:
            yield from self._stop(snapshot, snapshot.epoch, training, held_out)
            return
        self.run.write_metrics(metrics)
        details = self._details(snapshot, training, held_out, metrics, temperature)
        count = f"{snapshot.epoch} epoch{'s' * (snapshot.epoch != 1)}"
        end = self._end(
            runs.FINISHED, snapshot, f"{self.run.name}.pt", f"Finished {count}.", details, ood
        )
        closing = PostTraining(
            self.run,
            self.record.closing,
            network,
            own,
            catalog=self.catalog,
            trained_on=self.config.digits,
            temperature=temperature,
            history=details.history,
            metrics=metrics,
            stopped=self.stop.is_set,
        )
        for step in closing.steps():
            yield self._closed(end, step) if isinstance(step, PostTrainingResult) else Phase(step)

    def _score(self, network: DigitCNN, held_out: DigitSet) -> tuple[Scored, dict[str, Any], float]:
        """The answers that the closing goes on with, the metrics by set, and the temperature.

        Raises _InterruptedError when the process is about to end.
        """
        features = self.record.closing.stability
        held = predict(network, held_out, keep_features=features, progress=self._unless_interrupted)
        temperature = fit_temperature(held.logits, held.labels)
        evaluation = metrics_of.evaluate(held, temperature)
        metrics = {"held_out": evaluation.to_json()}
        if self.catalog.has(self.config.digits, "test"):
            own = score(
                network,
                self.catalog.open(self.config.digits, "test"),
                temperature,
                features=features,
                progress=self._unless_interrupted,
            )
            metrics[self.config.digits] = own.evaluation.to_json()
        else:
            # Its figures must not call these images by the name of a whole training file.
            own = Scored(
                dataclasses.replace(held_out, split="held-out"),
                dataclasses.replace(held, split="held-out"),
                dataclasses.replace(evaluation, split="held-out"),
            )
        return own, metrics, temperature

    def _fit_ood_detector(
        self, network: DigitCNN, training: DigitSet, held_out: DigitSet
    ) -> Generator[TrainingEvent, None, OODDetector | None]:
        """What tells a digit from what is none. Raises _InterruptedError as ``_score`` does."""
        ood = None
        for step in fit_ood_detector(network, training, held_out, self.config.seed):
            self._unless_interrupted()
            if isinstance(step, OODDetector):
                ood = step
            else:
                yield Phase(step)
        return ood

    def _unless_interrupted(self, *_: int) -> None:
        if self.stop.is_set() and self.stop.reason == runs.INTERRUPTED:
            raise _InterruptedError

    def _closed(self, end: RunEnd, closed: PostTrainingResult) -> RunEnd:
        message = f"{end.message} {closed.problem}".rstrip()
        if closed.problem:
            # A disk that is full keeps the sentence of before; this one still goes out.
            with contextlib.suppress(OSError):
                self._write(message=message)
                self.run.log(closed.problem)
        return dataclasses.replace(
            end,
            seconds=time.monotonic() - self.started,
            message=message,
            metrics={**end.metrics, **closed.metrics},
            stability=closed.stability,
        )

    def _stop(
        self, snapshot: Snapshot | None, epochs: int, training: DigitSet, held_out: DigitSet
    ) -> Iterator[TrainingEvent]:
        state, total = self.stop.reason, self.config.epochs
        resumable = "; it can be resumed" if self.record.saves else ""
        at = f"{state.capitalize()} at epoch {epochs} of {total}{resumable}."
        if snapshot is None:
            anew = "; resumed, it begins anew" if self.record.saves else ""
            early = f"{state.capitalize()} before an epoch was finished{anew}."
            yield self._end(state, None, None, early, None)
        elif state == runs.INTERRUPTED:
            yield self._end(state, snapshot, None, at, None)
        else:
            last = snapshot.history[-1]
            metrics = {"held_out": {"n": len(held_out), "accuracy": last.accuracy}}
            yield self._end(
                state,
                snapshot,
                f"{self.run.name}-epoch{epochs}.pt",
                at,
                self._details(snapshot, training, held_out, metrics, None),
            )

    def _end(
        self,
        state: str,
        snapshot: Snapshot | None,
        file_name: str | None,
        message: str,
        details: checkpoint.Details | None,
        ood: OODDetector | None = None,
    ) -> RunEnd:
        path, digest = None, None
        if snapshot is not None and file_name and details and self.record.saves:
            network = _averaged_network(snapshot, None)
            digest = checkpoint.digest(network.state_dict())
            names = numbered(file_name.removesuffix(".pt"))
            path = save_under_free_name(self.checkpoints, names, network, details, ood)
        # In this order a process killed in between leaves a run that is finished or can go on.
        self._write(
            state=state, checkpoint=path.name if path else None, digest=digest, message=message
        )
        if state == runs.FINISHED:
            self.run.forget_snapshot()
        self.run.log(message)
        return RunEnd(
            self.run.name,
            state,
            0 if snapshot is None else snapshot.epoch,
            time.monotonic() - self.started,
            message,
            path,
            digest,
            {} if details is None else details.metrics,
        )

    def _details(
        self,
        snapshot: Snapshot,
        training: DigitSet,
        held_out: DigitSet,
        metrics: dict[str, Any],
        temperature: float | None,
    ) -> checkpoint.Details:
        done, planned = snapshot.epoch, self.config.epochs
        return checkpoint.Details(
            digits=self.config.digits,
            epochs=done,
            planned_epochs=planned,
            state="finished" if done == planned else f"stopped at epoch {done} of {planned}",
            seed=self.config.seed,
            config=self.config.to_json(),
            history=[dataclasses.asdict(result) for result in snapshot.history],
            fingerprints={"train": training.fingerprint, "held_out": held_out.fingerprint},
            metrics=metrics,
            temperature=temperature,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions=runs.versions(),
        )

    def _write(self, **changes: Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)
        self.run.write(self.record)

    def report(self) -> None:
        """Write ``report.html``; the run is over whether that can be done or not."""
        try:
            self.run.write_report()
        except (OSError, RunError) as error:
            with contextlib.suppress(OSError):
                self.run.log(f"{runs.REPORT} could not be written: {error}")

    @contextlib.contextmanager
    def failures_recorded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told = _explain(error, self.run.name, self.config.batch_size)
            try:
                self.run.log_error(error)
                self._write(state=runs.FAILED, message=str(told))
                self.report()
            except OSError:
                # The disk that failed the run fails its log as well; the sentence still goes out.
                raise told from error
            raise told from error


class _InterruptedError(Exception):
    """The process is about to end."""


def _averaged_network(snapshot: Snapshot, compute: Compute | None) -> DigitCNN:
    network = DigitCNN()
    network.load_state_dict(snapshot.averaged)
    network.eval().requires_grad_(False)
    return network if compute is None else network.to(compute.device)


def _explain(error: Exception, run: str, batch_size: int) -> DigitCNNError:
    """The sentence for whatever ended a training."""
    if isinstance(error, DigitCNNError):
        return error
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return TrainingError(
            f"The memory does not suffice for batches of {batch_size}; take a smaller batch size."
        )
    if isinstance(error, OSError):
        return TrainingError(
            f"The files of run '{run}' could not be written ({error.strerror or error}); free "
            "space or choose another folder."
        )
    return TrainingError(
        f"The training failed with an unexpected {type(error).__name__}; its report is in the "
        f"log.txt of run '{run}'."
    )
