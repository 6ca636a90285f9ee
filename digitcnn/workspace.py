"""The page's folders and device, and the stores and jobs that work on them."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from digitcnn.analysis.predictions import PredictionCache, Predictions
from digitcnn.analysis.robustness import Robustness, measure
from digitcnn.digits.catalog import Catalog, LiveSet
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import DigitSetError
from digitcnn.experiments.groups import GroupStore, PeoplesPredictions
from digitcnn.experiments.job import ExperimentJob
from digitcnn.experiments.running import ExperimentRunner
from digitcnn.feedback.store import FeedbackStore
from digitcnn.network.checkpoint import Checkpoint, generated_digits
from digitcnn.network.checkpoint_folder import CheckpointFolder
from digitcnn.network.classifier import Classifier
from digitcnn.network.device import Compute, choose
from digitcnn.network.rebuild import IMAGES
from digitcnn.shared_cache import Progress, SharedCache, unwatched
from digitcnn.training.finetune_job import FineTuningJob
from digitcnn.training.job import TrainingJob
from digitcnn.training.runs import RunStore

# Robustness of whole classifiers in memory, less than 10 KB each.
RESULTS_HELD = 256


def catalog_with_feedback(data: Path, store: FeedbackStore) -> Catalog:
    """Return the digit sets of a data folder, and ``feedback``: labelled sketches."""
    live = LiveSet(
        count=store.count_labelled,
        read=lambda: store.labelled()[:2],
        how="draw digits on the Sketchpad and label them",
    )
    return Catalog(data, live={"feedback": live})


def scoring_digits(catalog: Catalog) -> DigitSet:
    """Return training digits to score rebuilt networks on: MNIST's, else generated ones."""
    try:
        return catalog.open("mnist", "train").take(slice(0, IMAGES))
    except DigitSetError:
        return generated_digits()


class Workspace:
    """What all handlers share. Created once at startup; opens each part on first use."""

    def __init__(
        self,
        data: Path,
        outputs: Path,
        checkpoints: Path,
        feedback: Path | str,
        device: str = "auto",
        *,
        shipped: Path | None = None,
    ) -> None:
        """Describe the workspace; nothing is opened yet.

        feedback: a file, or the address of a database. shipped: a second, read-only folder of
        checkpoints. Raises ConfigError for an invalid address.
        """
        self.outputs, self.checkpoints_folder = outputs, checkpoints
        self.feedback = FeedbackStore(feedback)
        self.catalog = catalog_with_feedback(data, self.feedback)
        self.runs = RunStore(outputs)
        self.groups = GroupStore(outputs / ".experiments", self.runs, checkpoints)
        self.peoples_predictions = PeoplesPredictions(outputs / ".experiments" / "people.json")
        self.checkpoints = CheckpointFolder(checkpoints, also=shipped, digits=self.scoring_digits)
        self._predictions = PredictionCache(outputs / ".predictions")
        self._robustness: SharedCache[tuple[str, str], Robustness] = SharedCache(RESULTS_HELD)
        self._device = device

    @cached_property
    def compute(self) -> Compute:
        """The device, tried on first use. Raises ConfigError where a named one fails."""
        return choose(self._device)

    @cached_property
    def job(self) -> TrainingJob:
        """The one training at a time."""
        return TrainingJob(self.catalog, self.runs, self.checkpoints_folder, self.compute)

    @cached_property
    def fine_tuning(self) -> FineTuningJob:
        """The one fine-tuning at a time, never while a run trains."""
        return FineTuningJob(
            self.catalog, self.checkpoints_folder, self.compute, self.job.exclusive
        )

    @cached_property
    def experiment_job(self) -> ExperimentJob:
        """The one experiment at a time, never while a run trains."""
        runner = ExperimentRunner(
            catalog=self.catalog,
            runs=self.runs,
            groups=self.groups,
            checkpoints=self.checkpoints_folder,
            compute=self.compute,
            people=self.peoples_predictions,
        )
        return ExperimentJob(runner, self.job.exclusive)

    @property
    def processor_busy(self) -> bool:
        """Whether training occupies the processor that everything else runs on."""
        return self.compute.device.type == "cpu" and not self.job.exclusive.free

    def predict(
        self,
        checkpoint: Checkpoint,
        digit_set: DigitSet,
        progress: Progress = unwatched,
        features: bool = False,
    ) -> Predictions:
        """Return a model's predictions for a digit set, computed on the device and cached on disk.

        progress: called with images done and images in all. features: whether the penultimate
        features are needed.
        """
        return self._predictions.get(
            self._classifier(checkpoint),
            checkpoint.key,
            digit_set,
            progress=progress,
            features=features,
        )

    def robustness(
        self, checkpoint: Checkpoint, digit_set: DigitSet, *, progress: Progress = unwatched
    ) -> Robustness:
        """Return a model's accuracy under distortions and corruptions, cached in memory."""
        result = self._robustness.get(
            (checkpoint.key, digit_set.fingerprint),
            lambda report: measure(self._classifier(checkpoint), digit_set, progress=report),
            progress=progress,
        )
        # The same images may be known under another name or split.
        return replace(result, digits=digit_set.name, split=digit_set.split)

    def scoring_digits(self) -> DigitSet:
        """Return the digits to score rebuilt networks on."""
        return scoring_digits(self.catalog)

    def _classifier(self, checkpoint: Checkpoint) -> Classifier:
        """Return the checkpoint's classifier on the workspace's device."""
        classifier = checkpoint.classifier
        if self.compute.device.type == "cpu":
            return classifier
        # A copy: the pad uses the checkpoint's own classifier, on the CPU.
        moved: Classifier = copy.deepcopy(classifier).to(self.compute.device)
        return moved
