"""The one experiment that runs in the background of the process, never during a training."""

from __future__ import annotations

from dataclasses import dataclass, replace

from digitcnn.errors import RunError
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.outcome import Key
from digitcnn.experiments.running import (
    ExperimentEnd,
    ExperimentEvent,
    ExperimentRunner,
    available_digits,
)
from digitcnn.training.background import BackgroundJob, BackgroundView, ExclusiveLock
from digitcnn.training.events import EpochResult, RunStart
from digitcnn.training.run_record import RUNNING
from digitcnn.training.view import TrainingView

# The first seed of each arm; only the command line offers others.
SEED = 0


@dataclass(frozen=True)
class ExperimentView(BackgroundView):
    """The state of an experiment at one moment.

    training: of the current run. histories: the finished epochs by arm and seed.
    """

    experiment: Experiment | None = None
    group: str = ""
    training: TrainingView = TrainingView()  # noqa: RUF009
    histories: tuple[tuple[Key, tuple[EpochResult, ...]], ...] = ()

    @property
    def _sizes(self) -> list[float]:
        """How many images each training sees."""
        if self.experiment is None:
            return []
        return [
            arm.settings.get("train_images", self.experiment.images) * arm.settings["epochs"]
            for arm, _ in self.experiment.trainings(SEED)
        ]

    @property
    def share(self) -> float:
        """How much of all trainings is done, 0 to 1, by their images."""
        sizes = self._sizes
        if not sizes:
            return 0.0
        before, progress = self.training.number - 1, self.training.progress
        current = progress.step / progress.steps if progress else 0.0
        return (sum(sizes[:before]) + current * sizes[before]) / sum(sizes)

    def seconds_left(self, elapsed: float) -> float | None:
        """Return about how long the trainings still take; None until the current one has a speed.

        elapsed: seconds since the experiment started. Each training takes its images at that speed
        and, for loading, evaluation and tests, as long as those so far on average.
        """
        progress, number, sizes = self.training.progress, self.training.number, self._sizes
        if progress is None or not sizes:
            return None
        learning = self.share * sum(sizes) / progress.images_per_second
        besides = max(0.0, elapsed - learning) / number
        later = sum(sizes[number:]) / progress.images_per_second
        return progress.seconds_left + later + besides * (len(sizes) - number)

    def after(self, event: ExperimentEvent) -> ExperimentView:
        """Return the view after one more event."""
        if isinstance(event, ExperimentEnd):
            return replace(self, state=event.state, message=event.message, stopping=False)
        training = self.training.after(event)
        view = replace(self, training=training, phase=training.phase)
        if isinstance(event, RunStart):
            return replace(view, phase="starting")
        if training.history and self.experiment is not None:
            arm, seed = self.experiment.trainings(SEED)[training.number - 1]
            histories = {**dict(self.histories), (arm.label, seed): training.history}
            view = replace(view, histories=tuple(histories.items()))
        return view


class ExperimentJob(BackgroundJob[ExperimentView]):
    """Starts, stops and watches the one experiment that this process may run at a time.

    exclusive: shared with the other jobs that must not run meanwhile.
    """

    name = "experiment"
    not_running = "No experiment is running."
    how_to_stop = "stop it in Experiments"

    def __init__(self, runner: ExperimentRunner, exclusive: ExclusiveLock) -> None:
        super().__init__(ExperimentView(), exclusive)
        self._runner = runner

    def start(self, experiment: Experiment, digits: str | None = None) -> str:
        """Start an experiment in the background; returns the name of its group.

        digits: the set to train on; None for MNIST, or synthetic without it. Raises RunError while
        a training or another experiment runs, DigitSetError where the set cannot be used.
        """
        with self._lock:
            self.exclusive.require_free()
        # Outside the lock: a large set takes seconds to load, and watchers must not wait for it.
        digits = digits or available_digits(self._runner.catalog)
        for split in ("train", "test"):
            self._runner.catalog.open(digits, split)
        groups = self._runner.groups
        earlier = groups.latest(experiment.name)
        with self._lock:
            self.exclusive.require_free()
            if self._runner.people and earlier is not None and earlier.outcome is not None:
                # Those predictions were about the earlier outcome, which has their counts.
                self._runner.people.clear(experiment.name)
            group = groups.create(experiment.name, digits, SEED)
            view = ExperimentView(
                experiment=experiment, group=group.name, compute=str(self._runner.compute)
            )
            self._launch(view, lambda stop: self._runner.events(experiment, group, stop))
        return group.name

    def delete(self, group: str) -> None:
        """Delete a group with its runs and checkpoints. Raises RunError while it runs."""
        view = self.view()
        if view.group == group and view.state == RUNNING:
            raise RunError("This experiment is running; stop it first.")
        self._runner.groups.delete(group)
        self._change(
            lambda view: ExperimentView() if view.group == group and view.state != RUNNING else view
        )

    def _running_text(self, view: ExperimentView, since: str) -> str:
        name = view.experiment.name if view.experiment else ""
        return f"Experiment {name} has been running since {since}"
