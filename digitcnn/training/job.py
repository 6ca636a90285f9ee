"""The one background training of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.training_images import open_training_images
from digitcnn.errors import RunError
from digitcnn.network.device import Compute
from digitcnn.training.background import BackgroundJob, ExclusiveLock
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import EpochEnd, EpochResult, TrainingEvent
from digitcnn.training.run import Run
from digitcnn.training.run_record import FINISHED, RUNNING
from digitcnn.training.run_work import RunWork
from digitcnn.training.runs import RunStore
from digitcnn.training.session import run_training
from digitcnn.training.view import TrainingView


class TrainingJob(BackgroundJob[TrainingView]):
    """Starts, stops and watches the one training that this process may run at a time.

    ``exclusive`` is for the other jobs, which must not run during a training.
    """

    name = "training"
    not_running = "No training is running."

    def __init__(
        self,
        catalog: Catalog,
        run_store: RunStore,
        checkpoints: Path,
        compute: Compute,
        post_training: PostTrainingConfig = PostTrainingConfig(),  # noqa: B008
    ) -> None:
        super().__init__(TrainingView(), ExclusiveLock())
        self._post_training = post_training
        self._catalog, self._runs = catalog, run_store
        self._checkpoints, self._compute = checkpoints, compute

    def start(
        self, config: TrainingConfig, name: str | None = None, compute: Compute | None = None
    ) -> str:
        """Start a new run in the background; returns its name.

        Raises RunError when a training is running or the run's folder cannot be created,
        DigitSetError when the digit set is not available.
        """
        with self._lock:
            self.exclusive.require_free()
        # Outside the lock: a large set takes seconds to load, and watchers must not wait for it.
        open_training_images(self._catalog, config.digits, config.train_images)
        with self._lock:
            self.exclusive.require_free()
            run = self._runs.create(config, name, post_training=self._post_training)
            self._begin(run, config, (), compute or self._compute)
        return run.name

    def resume(self, name: str) -> str:
        """Resume a stopped, interrupted or failed run after its last finished epoch.

        A run without a finished epoch starts over. Raises RunError when a training is running, or
        the run is finished or has no resume state.
        """
        with self._lock:
            self.exclusive.require_free()
            run = resumable(self._runs, name)
            self._begin(run, run.record().config, run.results.history(), self._compute)
        return run.name

    def rename(self, name: str, new: str) -> str:
        """Rename a run, in the view of the last training as well. Returns the new name.

        Raises RunError as ``RunStore.rename`` does.
        """
        renamed = self._runs.rename(name, new).name
        self._change_ended(name, lambda view: replace(view, run=renamed))
        return renamed

    def delete(self, name: str) -> None:
        """Delete a run, from the view of the last training as well.

        Raises RunError as ``RunStore.delete`` does, and for a run of a group.
        """
        if group := self._runs.open(name).record().group:
            raise RunError(
                f"Run '{name}' belongs to experiment {group}; delete its outcome in Experiments."
            )
        self._runs.delete(name)
        self._change_ended(name, lambda view: TrainingView())

    def _change_ended(self, name: str, change: Callable[[TrainingView], TrainingView]) -> None:
        """Change the view of the ended run ``name``, unless a new run has started."""
        self._change(
            lambda view: change(view) if view.run == name and view.state != RUNNING else view
        )

    def _after(self, view: TrainingView, event: TrainingEvent) -> TrainingView:
        now = datetime.now(timezone.utc)
        # An event that makes the time left longer must not make the bar shorter.
        after = replace(view.after(event), least_share=view.remaining(now)[0])
        if isinstance(event, EpochEnd):
            # Only the page replays a training; elsewhere the networks would just take memory.
            epoch, weights = event.snapshot.epoch, event.snapshot.averaged
            after = replace(after, replay=view.replay.with_epoch(epoch, weights, event.network))
        # "drawing figures, 2 of 9" is still the phase of "drawing figures, 1 of 9".
        if after.phase.partition(",")[0] != view.phase.partition(",")[0]:
            after = replace(after, phase_started=now)
        return after

    def _running_text(self, view: TrainingView, since: str) -> str:
        return f"Run '{view.run}' has been training since {since}"

    def _begin(
        self, run: Run, config: TrainingConfig, history: tuple[EpochResult, ...], compute: Compute
    ) -> None:
        view = TrainingView(
            run=run.name,
            config=config,
            compute=str(compute),
            history=history,
            work=RunWork.of(config, run.record().post_training, self._catalog),
        )
        self._launch(
            view,
            lambda stop: run_training(
                run,
                catalog=self._catalog,
                checkpoints=self._checkpoints,
                compute=compute,
                stop=stop,
            ),
        )


def resumable(run_store: RunStore, name: str) -> Run:
    """Return the run to resume. Raises RunError with the reason where it cannot be resumed."""
    run = run_store.open(name)
    record = run.record()
    if record.state == FINISHED:
        raise RunError(f"Run '{name}' is finished; start a new one.")
    if record.state == RUNNING:
        raise RunError(f"Run '{name}' is already running.")
    if not record.saves:
        raise RunError(f"Run '{name}' has no resume state (--no-save); start a new run.")
    return run
