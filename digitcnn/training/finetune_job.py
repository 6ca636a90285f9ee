"""One background tuning on feedback, which takes turns with trainings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.device import Compute
from digitcnn.training.background import BackgroundJob, BackgroundView, ExclusiveLock
from digitcnn.training.events import Phase, StepProgress
from digitcnn.training.finetune import FineTuningConfig, FineTuningEnd, fine_tune, original_images
from digitcnn.training.session import StopSignal
from digitcnn.training.sketches import Sketches, check_sketches


@dataclass(frozen=True)
class FineTuningView(BackgroundView):
    """What a watcher sees of the tuning at one moment.

    base: name of the network that is tuned. ended: how the last tuning of this process ended.
    """

    base: str = ""
    progress: StepProgress | None = None
    ended: FineTuningEnd | None = None


class FineTuningJob(BackgroundJob[FineTuningView]):
    """Starts, stops and watches the one tuning that this process may run at a time.

    checkpoints: the folder that a kept network goes to. exclusive: the training's.
    """

    name = "tuning"
    unexpected = "Learning failed unexpectedly; the terminal that runs digitcnn shows the report."
    nothing = "Nothing is being learned from feedback."

    def __init__(
        self,
        catalog: Catalog,
        checkpoints: Path,
        compute: Compute,
        exclusive: ExclusiveLock,
        settings: FineTuningConfig = FineTuningConfig(),  # noqa: B008
    ) -> None:
        super().__init__(FineTuningView(), exclusive)
        self._catalog, self._checkpoints = catalog, checkpoints
        self._compute, self._settings = compute, settings

    def start(self, base: Checkpoint, sketches: Sketches) -> None:
        """Begin to tune a copy of ``base`` in the background.

        Raises RunError while a training or another tuning runs, FeedbackError for too few
        sketches, CheckpointError or DigitSetError without the images that ``base`` was trained on.
        """
        with self._lock:
            self.exclusive.require()
        # Outside the lock: a large set takes seconds to read, and watchers must not wait for it.
        check_sketches(sketches)
        original_images(base, self._catalog)
        with self._lock:
            self.exclusive.require()
            view = FineTuningView(
                base=base.name,
                compute=str(self._compute),
                started=datetime.now(timezone.utc),
                phase="starting",
                ended=self._view.ended,
            )
            self._launch(view, lambda stop: self._work(base, sketches, stop))

    def _refusal(self, view: FineTuningView, since: str) -> str:
        return (
            f"{view.base} has been learning from feedback since {since}; stop it on the Sketchpad "
            "tab or wait for its end."
        )

    def _work(self, base: Checkpoint, sketches: Sketches, stop: StopSignal) -> None:
        for progress in fine_tune(
            base,
            sketches,
            catalog=self._catalog,
            checkpoints=self._checkpoints,
            compute=self._compute,
            stop=stop,
            settings=self._settings,
        ):
            if isinstance(progress, StepProgress):
                self._change(progress=progress, phase="learning")
            elif isinstance(progress, Phase):
                self._change(phase=progress.text)
            else:
                self._change(
                    state=progress.state, message=progress.message, ended=progress, stopping=False
                )
