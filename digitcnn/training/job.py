"""One background training of the process, and what any number of watchers see of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.errors import DigitCNNError, RunError
from digitcnn.network.device import Compute
from digitcnn.training import runs
from digitcnn.training.config import Closing, TrainingConfig
from digitcnn.training.loop import EpochEnd, EpochResult, StepProgress
from digitcnn.training.perform import (
    Phase,
    Progress,
    RunEnd,
    StopSignal,
    open_training_set,
    perform,
)
from digitcnn.training.runs import Run, RunStore

IDLE = "idle"

# More points than a chart has pixels show nothing more.
MOST_LOSSES = 600

UNEXPECTED = "The training failed unexpectedly; the terminal that runs digitcnn shows the report."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LossCurve:
    """Training loss over steps, thinned to at most ``MOST_LOSSES`` points.

    means: mean loss (nats) of each full group of ``group`` consecutive steps.
    rest: the losses of the steps after the last full group.
    """

    group: int = 1
    means: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()

    def with_losses(self, losses: tuple[float, ...]) -> LossCurve:
        group, means, rest = self.group, list(self.means), list(self.rest)
        for loss in losses:
            rest.append(loss)
            if len(rest) == group:
                means.append(sum(rest) / group)
                rest = []
            if len(means) > MOST_LOSSES:
                # The odd one out goes back to the rest as ``group`` equal losses.
                rest = [means.pop()] * group if len(means) % 2 else []
                means = [(a + b) / 2 for a, b in zip(means[::2], means[1::2], strict=True)]
                group *= 2
        return LossCurve(group, tuple(means), tuple(rest))


@dataclass(frozen=True)
class JobView:
    """What a watcher sees at one moment; ``version`` grows with every change.

    state: idle, running, stopped, finished, interrupted or failed.
    phase: in words, while running. stopping: Stop was pressed, a batch is still at work.
    ended: how the last run of this process ended.
    """

    version: int = 0
    state: str = IDLE
    run: str = ""
    config: TrainingConfig | None = None
    compute: str = ""
    started: datetime | None = None
    phase: str = ""
    stopping: bool = False
    message: str = ""
    progress: StepProgress | None = None
    losses: LossCurve = LossCurve()
    history: tuple[EpochResult, ...] = ()
    ended: RunEnd | None = None


class TrainingJob:
    """Starts, stops and watches the one training that this process may run at a time."""

    def __init__(
        self,
        catalog: Catalog,
        run_store: RunStore,
        checkpoints: Path,
        compute: Compute,
        closing: Closing = Closing(),  # noqa: B008
    ) -> None:
        self._closing = closing
        self._catalog, self._runs = catalog, run_store
        self._checkpoints, self._compute = checkpoints, compute
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = StopSignal()
        self._view = JobView()

    def view(self) -> JobView:
        with self._lock:
            return self._view

    def start(
        self, config: TrainingConfig, name: str | None = None, compute: Compute | None = None
    ) -> str:
        """Begin a new run in the background; returns its name.

        Raises RunError when a training is running already or the run's folder cannot be made,
        DigitSetError when there is nothing to train on.
        """
        with self._lock:
            self._refuse_second()
        # Outside the lock: a large set takes seconds to read, and watchers must not wait for it.
        open_training_set(config, self._catalog)
        with self._lock:
            self._refuse_second()
            run = self._runs.create(config, name, closing=self._closing)
            self._launch(run, config, (), compute or self._compute)
        return run.name

    def resume(self, name: str) -> str:
        """Go on with a stopped, interrupted or failed run after its last finished epoch.

        A run without a finished epoch starts over. Raises RunError when a training is running,
        or the run is finished or kept nothing.
        """
        with self._lock:
            self._refuse_second()
            run = resumable(self._runs, name)
            self._launch(run, run.record().config, run.history(), self._compute)
        return run.name

    def _refuse_second(self) -> None:
        view = self._view
        if view.state == runs.RUNNING and view.started is not None:
            since = view.started.astimezone().strftime("%H:%M:%S")
            raise RunError(
                f"The run '{view.run}' has been training since {since}; stop it or wait for its "
                "end before starting another."
            )

    def _launch(
        self, run: Run, config: TrainingConfig, history: tuple[EpochResult, ...], compute: Compute
    ) -> None:
        self._stop = StopSignal()
        self._view = JobView(
            version=self._view.version + 1,
            state=runs.RUNNING,
            run=run.name,
            config=config,
            compute=str(compute),
            started=datetime.now(timezone.utc),
            phase="starting",
            history=history,
        )
        self._thread = threading.Thread(
            target=self._work, args=(run, compute, self._stop), name="training", daemon=True
        )
        self._thread.start()

    def _work(self, run: Run, compute: Compute, stop: StopSignal) -> None:
        try:
            for progress in perform(
                run,
                catalog=self._catalog,
                checkpoints=self._checkpoints,
                compute=compute,
                stop=stop,
            ):
                self._see(progress)
        except Exception as error:
            log.error("The run %s failed: %s", run.name, error, exc_info=error)
            told = str(error) if isinstance(error, DigitCNNError) else UNEXPECTED
            self._change(state=runs.FAILED, message=told, stopping=False)

    def _see(self, progress: Progress) -> None:
        if isinstance(progress, StepProgress):
            losses = self._view.losses.with_losses(progress.losses)
            self._change(progress=progress, losses=losses, phase="training")
        elif isinstance(progress, EpochEnd):
            self._change(history=progress.snapshot.history)
        elif isinstance(progress, Phase):
            self._change(phase=progress.text)
        else:
            self._change(
                state=progress.state, message=progress.message, ended=progress, stopping=False
            )

    def _change(self, **changes: object) -> None:
        with self._lock:
            self._view = dataclasses.replace(
                self._view,
                version=self._view.version + 1,
                **changes,  # type: ignore[arg-type]
            )

    def stop(self, reason: str = runs.STOPPED) -> None:
        """Ask the running training to end between two batches. Raises RunError without one."""
        with self._lock:
            if self._view.state != runs.RUNNING:
                raise RunError("No training is running.")
            self._stop.stop(reason)
            self._view = dataclasses.replace(
                self._view, version=self._view.version + 1, stopping=True
            )

    def shutdown(self, timeout: float) -> None:
        """Mark a running training interrupted and wait up to ``timeout`` seconds for it."""
        with contextlib.suppress(RunError):
            self.stop(runs.INTERRUPTED)
        if self._thread is not None:
            self._thread.join(timeout)


def resumable(run_store: RunStore, name: str) -> Run:
    """The run to go on with. Raises RunError with the reason where it cannot go on."""
    run = run_store.open(name)
    record = run.record()
    if record.state == runs.FINISHED:
        raise RunError(f"The run '{name}' is finished; start a new one.")
    if record.state == runs.RUNNING:
        raise RunError(f"The run '{name}' is running already.")
    if not record.saves:
        raise RunError(f"The run '{name}' kept no resume state (--no-save); start a new one.")
    return run
