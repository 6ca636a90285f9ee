"""Run an experiment: one training after another, then the outcome."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from digitcnn.analysis.neighbours import label_suspects
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.training_images import open_training_images
from digitcnn.errors import DigitSetError
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.groups import Group, GroupStore, PeoplesPredictions
from digitcnn.experiments.measuring import shifted
from digitcnn.experiments.outcome import Key, Outcome, RunOutcome, Tested, conclude, test_images
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.device import Compute
from digitcnn.training.background import StopSignal
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import EpochEnd, EpochResult, Phase, RunEnd, RunStart, TrainingEvent
from digitcnn.training.run_record import FAILED, FINISHED, STOPPED
from digitcnn.training.runs import RunStore
from digitcnn.training.session import run_training

# Without the parts that would take longer than the trainings themselves.
POST_TRAINING = PostTrainingConfig(
    figures=False, stability=False, ood_detector=False, test_sets=False
)


@dataclass(frozen=True)
class ExperimentEnd:
    """An experiment ended: finished, stopped or interrupted. outcome: None unless finished."""

    state: str
    message: str
    outcome: Outcome | None = None


ExperimentEvent = TrainingEvent | ExperimentEnd


def available_digits(catalog: Catalog) -> str:
    """Return the set that experiments use: MNIST, or synthetic where MNIST is not downloaded.

    Raises DigitSetError where MNIST's files are damaged; they are never replaced.
    """
    complete = [catalog.check("mnist", split) for split in ("train", "test")]
    return "mnist" if all(complete) else "synthetic"


@dataclass(frozen=True, kw_only=True)
class ExperimentRunner:
    """What an experiment needs: digit sets, folders, a device, and where its outcome is stored.

    people: who predicted the outcome, stored with it; None on the command line.
    """

    catalog: Catalog
    runs: RunStore
    groups: GroupStore
    checkpoints: Path
    compute: Compute
    people: PeoplesPredictions | None = None

    def events(
        self, experiment: Experiment, group: Group, stop: StopSignal
    ) -> Iterator[ExperimentEvent]:
        """Train all arms with all seeds and yield every event; the last one is ExperimentEnd.

        The outcome is stored before the last event. Raises what ``run_training`` raises; the group
        is then marked failed.
        """
        try:
            for event in self._events(experiment, group, stop):
                if isinstance(event, ExperimentEnd):
                    counted = self.people.counts(experiment) if self.people else ()
                    self.groups.write(
                        dataclasses.replace(
                            group,
                            state=event.state,
                            message=event.message,
                            outcome=event.outcome,
                            predictions=counted if event.outcome else (),
                        )
                    )
                yield event
        except Exception as error:
            self.groups.write(dataclasses.replace(group, state=FAILED, message=str(error)))
            raise

    def _events(
        self, experiment: Experiment, group: Group, stop: StopSignal
    ) -> Iterator[ExperimentEvent]:
        test_sets = self._test_sets(experiment, group.digits)
        plan = experiment.trainings(group.seed)
        runs: list[RunOutcome] = []
        tested: dict[Key, list[Tested]] = {}
        histories: dict[Key, tuple[EpochResult, ...]] = {}
        errors = LabelErrors()
        for number, (arm, seed) in enumerate(plan, 1):
            config = experiment.config(arm, group.digits, seed)
            label = re.sub(r"[^A-Za-z0-9]+", "-", arm.label.replace(",", ""))[:20].strip("-")
            name = f"{group.name}-{label}-seed{seed}"
            run = self.runs.create(config, name, post_training=POST_TRAINING, group=group.name)
            yield RunStart(run.name, number, len(plan))
            end: RunEnd | None = None
            for event in run_training(
                run,
                catalog=self.catalog,
                checkpoints=self.checkpoints,
                compute=self.compute,
                stop=stop,
            ):
                if isinstance(event, EpochEnd):
                    histories[arm.label, seed] = event.snapshot.history
                if isinstance(event, RunEnd):
                    end = event
                yield event
            if end is None or end.state != FINISHED or end.checkpoint is None or stop.is_set():
                state = stop.reason if stop.is_set() else STOPPED
                text = f"{state.capitalize()} in run {number} of {len(plan)}"
                yield ExperimentEnd(state, f"{text}; run the experiment again.")
                return
            yield Phase("testing")
            model = checkpoint.load(end.checkpoint)
            model.classifier.to(self.compute.device)
            tested[arm.label, seed] = list(_test(experiment, model, test_sets))
            if arm.label == experiment.label_errors:
                errors.add(model, *self._noisy_and_right(config, experiment, group.digits))
            runs.append(
                {
                    "run": run.name,
                    "arm": arm.label,
                    "seed": seed,
                    "checkpoint": str(end.checkpoint),
                    "digest": model.digest,
                    "accuracy": float(tested[arm.label, seed][0].predictions.right.double().mean()),
                }
            )
        findings = [errors.text] if experiment.label_errors else []
        outcome = conclude(experiment, runs, tested, histories, findings)
        yield ExperimentEnd(FINISHED, f"Finished {len(plan)} runs.", outcome)

    def _test_sets(self, experiment: Experiment, digits: str) -> dict[int, DigitSet]:
        """Return the test split by the pixels that its images are shifted."""
        whole = self.catalog.open(digits, "test")
        sets = {}
        for test in experiment.tests:
            images = shifted(whole.images, test.shift)
            sets[test.shift] = dataclasses.replace(whole, images=images)
            if test.digit is not None and not bool((whole.labels == test.digit).any()):
                raise DigitSetError(f"{whole.title} has no images of {test.digit}; add some.")
        return sets

    def _noisy_and_right(
        self, config: TrainingConfig, experiment: Experiment, digits: str
    ) -> tuple[DigitSet, DigitSet]:
        """Return the images that a run learned from, and the same with their right labels."""
        noisy, right = (
            open_training_images(self.catalog, name, config.train_images).training
            for name in (config.digits, experiment.training_images(digits))
        )
        return noisy, right


def _test(
    experiment: Experiment, model: Checkpoint, test_sets: dict[int, DigitSet]
) -> Iterator[Tested]:
    predictions = {
        shift: predict(model.classifier, images, digest=model.digest, keep_features=False)
        for shift, images in test_sets.items()
    }
    for test in experiment.tests:
        yield test_images(test_sets[test.shift], test, predictions[test.shift], model.temperature)


class LabelErrors:
    """Counts how well models find the wrong labels among the images that they learned from."""

    def __init__(self) -> None:
        self.named = self.found = self.wrong = self.images = self.models = 0

    def add(self, model: Checkpoint, noisy: DigitSet, right: DigitSet) -> None:
        """Count for one model. right: the same images as ``noisy``, with their right labels."""
        predictions = predict(model.classifier, noisy, keep_features=False)
        is_wrong = noisy.labels != right.labels
        # Each half is judged by its neighbours in the other: an image would be its own nearest.
        for start in (0, 1):
            own, other = slice(start, None, 2), slice(1 - start, None, 2)
            suspects = label_suspects(
                predictions.take(own),
                noisy.take(own),
                noisy.take(other),
                temperature=model.temperature,
            )
            wrong = is_wrong[own]
            self.named += len(suspects)
            self.found += int(wrong[suspects].sum())
        self.wrong += int(is_wrong.sum())
        self.images += len(noisy)
        self.models += 1

    @property
    def text(self) -> str:
        """Return precision and recall in a sentence."""
        count = max(1, self.models)
        named, wrong = self.named / count, self.wrong / count
        if not self.named:
            return f"The list of label errors names none of the {wrong:,.0f} wrong labels."
        return (
            f"The list of label errors names {named:,.0f} of {self.images // count:,} training "
            f"images (mean of {count} models). {100 * self.found / self.named:.0f}% of the named "
            f"labels are wrong (precision), and {100 * self.found / max(1, self.wrong):.0f}% of "
            f"the {wrong:,.0f} wrong labels are named (recall)."
        )
