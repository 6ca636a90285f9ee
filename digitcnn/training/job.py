"""One background training of the process, and what any number of watchers see of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.errors import RunError
from digitcnn.network.device import Compute
from digitcnn.training import runs
from digitcnn.training.background import BackgroundJob, BackgroundView, ExclusiveLock
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import (
    EpochEnd,
    EpochResult,
    Phase,
    RunEnd,
    StepProgress,
    TrainingEvent,
)
from digitcnn.training.replay import TrainingReplay
from digitcnn.training.runs import Run, RunStore
from digitcnn.training.session import StopSignal, open_training_set, run_training

# More points than a chart has pixels show nothing more.
MOST_LOSSES = 600

UNEXPECTED = "The training failed unexpectedly; the terminal that runs digitcnn shows the report."


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
class JobView(BackgroundView):
    """What a watcher sees of the training at one moment.

    replay: the networks after the epochs that this process trained of the run.
    ended: how the last run of this process ended.
    """

    run: str = ""
    config: TrainingConfig | None = None
    progress: StepProgress | None = None
    losses: LossCurve = LossCurve()
    history: tuple[EpochResult, ...] = ()
    replay: TrainingReplay = field(default_factory=TrainingReplay)
    ended: RunEnd | None = None


class TrainingJob(BackgroundJob[JobView]):
    """Starts, stops and watches the one training that this process may run at a time.

    exclusive: shared with other jobs that a training must not run beside.
    """

    name = "training"
    unexpected = UNEXPECTED
    nothing = "No training is running."

    def __init__(
        self,
        catalog: Catalog,
        run_store: RunStore,
        checkpoints: Path,
        compute: Compute,
        closing: PostTrainingConfig = PostTrainingConfig(),  # noqa: B008
        exclusive: ExclusiveLock | None = None,
    ) -> None:
        super().__init__(JobView(), exclusive or ExclusiveLock())
        self._closing = closing
        self._catalog, self._runs = catalog, run_store
        self._checkpoints, self._compute = checkpoints, compute

    def start(
        self, config: TrainingConfig, name: str | None = None, compute: Compute | None = None
    ) -> str:
        """Begin a new run in the background; returns its name.

        Raises RunError when a training is running already or the run's folder cannot be made,
        DigitSetError when there is nothing to train on.
        """
        with self._lock:
            self.exclusive.require()
        # Outside the lock: a large set takes seconds to read, and watchers must not wait for it.
        open_training_set(config, self._catalog)
        with self._lock:
            self.exclusive.require()
            run = self._runs.create(config, name, closing=self._closing)
            self._begin(run, config, (), compute or self._compute)
        return run.name

    def resume(self, name: str) -> str:
        """Go on with a stopped, interrupted or failed run after its last finished epoch.

        A run without a finished epoch starts over. Raises RunError when a training is running,
        or the run is finished or kept nothing.
        """
        with self._lock:
            self.exclusive.require()
            run = resumable(self._runs, name)
            self._begin(run, run.record().config, run.history(), self._compute)
        return run.name

    def rename(self, name: str, new: str) -> str:
        """Give a run another name; what is said of the last training follows. Returns the name.

        Raises RunError as ``RunStore.rename`` does.
        """
        renamed = self._runs.rename(name, new).name
        self._say_instead(name, lambda view: dataclasses.replace(view, run=renamed))
        return renamed

    def delete(self, name: str) -> None:
        """Delete a run; nothing is said any more of a training that is gone.

        Raises RunError as ``RunStore.delete`` does.
        """
        self._runs.delete(name)
        self._say_instead(name, lambda view: JobView())

    def _say_instead(self, name: str, instead: Callable[[JobView], JobView]) -> None:
        """Change what is said of the run ``name``, unless one that began meanwhile has the name."""
        with self._lock:
            if self._view.run == name and self._view.state != runs.RUNNING:
                version = self._view.version + 1
                self._view = dataclasses.replace(instead(self._view), version=version)

    def _refusal(self, view: JobView, since: str) -> str:
        return (
            f"The run '{view.run}' has been training since {since}; stop it or wait for its "
            "end before starting another."
        )

    def _begin(
        self, run: Run, config: TrainingConfig, history: tuple[EpochResult, ...], compute: Compute
    ) -> None:
        view = JobView(
            run=run.name,
            config=config,
            compute=str(compute),
            started=datetime.now(timezone.utc),
            phase="starting",
            history=history,
        )
        self._launch(view, lambda stop: self._work(run, compute, stop))

    def _work(self, run: Run, compute: Compute, stop: StopSignal) -> None:
        for progress in run_training(
            run, catalog=self._catalog, checkpoints=self._checkpoints, compute=compute, stop=stop
        ):
            self._see(progress)

    def _see(self, progress: TrainingEvent) -> None:
        if isinstance(progress, StepProgress):
            losses = self._view.losses.with_losses(progress.losses)
            self._change(progress=progress, losses=losses, phase="training")
        elif isinstance(progress, EpochEnd):
            snapshot = progress.snapshot
            replay = self._view.replay.with_epoch(snapshot.epoch, snapshot.averaged)
            self._change(history=snapshot.history, replay=replay)
        elif isinstance(progress, Phase):
            self._change(phase=progress.text)
        else:
            self._change(
                state=progress.state, message=progress.message, ended=progress, stopping=False
            )


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
