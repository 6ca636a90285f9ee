"""The one background fine-tuning of the process, which never runs during a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from digitcnn.digits.catalog import Catalog
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.device import Compute
from digitcnn.network.original_images import original_images
from digitcnn.training.background import BackgroundJob, BackgroundView, ExclusiveLock
from digitcnn.training.events import Phase, StepProgress
from digitcnn.training.finetune import FineTuningEnd, FineTuningEvent, fine_tune
from digitcnn.training.finetune_training import FineTuningConfig, Sketches, check_sketches


@dataclass(frozen=True)
class FineTuningView(BackgroundView):
    """The state of a fine-tuning at one moment.

    base: name of the model. ended: how the last fine-tuning of this process ended.
    """

    base: str = ""
    progress: StepProgress | None = None
    ended: FineTuningEnd | None = None

    def after(self, event: FineTuningEvent) -> FineTuningView:
        """Return the view after one more event."""
        match event:
            case StepProgress():
                return replace(self, progress=event, phase="fine-tuning")
            case Phase(text=text):
                return replace(self, phase=text)
            case FineTuningEnd():
                return replace(
                    self, state=event.state, message=event.message, ended=event, stopping=False
                )


class FineTuningJob(BackgroundJob[FineTuningView]):
    """Starts, stops and watches the one fine-tuning that this process may run at a time.

    checkpoints: the folder for a new model. exclusive: the training job's.
    """

    name = "fine-tuning"
    not_running = "Fine-tuning is not running."
    how_to_stop = "stop it on the Sketchpad tab"

    def __init__(
        self,
        catalog: Catalog,
        checkpoints: Path,
        compute: Compute,
        exclusive: ExclusiveLock,
        config: FineTuningConfig = FineTuningConfig(),  # noqa: B008
    ) -> None:
        super().__init__(FineTuningView(), exclusive)
        self._catalog, self._checkpoints = catalog, checkpoints
        self._compute, self._config = compute, config

    def start(self, base: Checkpoint, sketches: Sketches) -> None:
        """Start to fine-tune a copy of ``base`` in the background.

        Raises RunError during a training or another fine-tuning, FeedbackError for too few
        sketches, DigitSetError without the training images of ``base``.
        """
        with self._lock:
            self.exclusive.require_free()
        # Outside the lock: a large set takes seconds to load, and watchers must not wait for it.
        check_sketches(sketches)
        original_images(base, self._catalog)
        with self._lock:
            self.exclusive.require_free()
            view = FineTuningView(
                base=base.name, compute=str(self._compute), ended=self._view.ended
            )
            work = partial(
                fine_tune,
                base,
                sketches,
                catalog=self._catalog,
                checkpoints=self._checkpoints,
                compute=self._compute,
                config=self._config,
            )
            self._launch(view, lambda stop: work(stop=stop))

    def _running_text(self, view: FineTuningView, since: str) -> str:
        return f"Fine-tuning of {view.base} has been running since {since}"
