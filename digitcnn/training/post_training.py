"""The work after the last epoch: evaluation, then the other digit set, dropout passes and figures.

Once its own evaluation is stored the run stays finished, whatever happens here. A killed process
only leaves fewer files, which ``python -m digitcnn figures`` and ``stability`` can make at any
time. One forward pass per digit set serves metrics, passes and figures.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import torch

from digitcnn.analysis.calibration import fit_temperature
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.predictions import predict
from digitcnn.analysis.stability import stability_text
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.names import set_names
from digitcnn.digits.training_images import TrainingImages
from digitcnn.errors import CapabilityError, DigitCNNError, DigitSetError
from digitcnn.network.classifier import require
from digitcnn.network.details import Details
from digitcnn.network.model import Network
from digitcnn.options import FIGURES, STABILITY_FIGURE, usual_passes
from digitcnn.process import release_freed_memory
from digitcnn.training.background import StoppedError, StopSignal
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import Phase, Snapshot
from digitcnn.training.run import Run
from digitcnn.training.run_record import RunRecord, versions


def evaluate_run(
    record: RunRecord,
    network: Network,
    images: TrainingImages,
    snapshot: Snapshot,
    catalog: Catalog,
    progress: Callable[..., None],
) -> tuple[Findings, dict[str, Any]]:
    """Evaluate the held-out images, which the temperature is fitted to, and the test sets.

    progress: called after each batch; what it raises ends the evaluation.
    Returns the findings for post-training and the metrics by set.
    """
    digits = record.config.digits
    predictions = partial(
        predict, network, keep_features=record.post_training.stability, progress=progress
    )
    held_out = predictions(images.held_out)
    temperature = fit_temperature(held_out.logits, held_out.labels)
    metrics = {"held_out": evaluate(held_out, temperature).to_json()}
    if len(images.held_out_of) > 1:
        for part in images.held_out_of:
            evaluation = evaluate(predictions(part), temperature)
            metrics[f"held_out {part.name}"] = evaluation.to_json()
    names = set_names(digits) if record.post_training.test_sets else []
    own_sets = [catalog.open(name, "test") for name in names if catalog.has(name, "test")]
    own = [predictions(own_set) for own_set in own_sets]
    if not own_sets:
        # Figures must not call these images by the name of a whole training file.
        own_sets = [dataclasses.replace(images.held_out, split="held-out")]
        own = [dataclasses.replace(held_out, split="held-out")]
    findings = Findings(
        record.name,
        network,
        own_sets,
        own,
        temperature=temperature,
        calibrated=True,
        history=_rows(snapshot),
        trained_on=digits,
    )
    for own_set, evaluation in zip(own_sets, findings.evaluations, strict=True):
        if own_set.split == "test":
            metrics[own_set.name] = evaluation.to_json()
    return findings, metrics


def details_of(
    config: TrainingConfig,
    snapshot: Snapshot,
    images: TrainingImages,
    metrics: dict[str, Any],
    temperature: float | None = None,
) -> Details:
    """Return the details of a run that ended after ``snapshot``, for its checkpoint."""
    done, planned = snapshot.epoch, config.epochs
    return Details(
        digits=config.digits,
        epochs=done,
        planned_epochs=planned,
        state="finished" if done == planned else f"stopped at epoch {done} of {planned}",
        seed=config.seed,
        config=config.to_json(),
        history=_rows(snapshot),
        fingerprints={
            "train": images.training.fingerprint,
            "held_out": images.held_out.fingerprint,
        },
        metrics=metrics,
        temperature=temperature,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=versions(),
    )


def _rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [dataclasses.asdict(result) for result in snapshot.history]


def other_test_set(digits: str) -> str:
    """Return the set by other writers that tests a network trained on ``digits``."""
    names = set_names(digits)
    others = () if names == ["synthetic"] else ("emnist-digits", "mnist")
    return next((name for name in others if name not in names), "synthetic-other-writers")


@dataclass(eq=False)
class PostTraining:
    """The post-training work of one run, and its results.

    findings: of the run's own test set, or of its held-out images where it has none. Its network
    is not used elsewhere and ends up on the CPU. metrics: the content of metrics.json, to which
    those of the other set are added. stop: skips the rest. stability: one sentence per mask type.
    problem: sentences on what is missing, or empty.
    """

    run: Run
    config: PostTrainingConfig
    findings: Findings
    catalog: Catalog
    metrics: dict[str, Any]
    stop: StopSignal
    stability: tuple[str, ...] = ()
    problem: str = ""

    def events(self) -> Iterator[Phase]:
        """Do the work and yield its phases. Raises no Exception."""
        try:
            if self.config.test_sets:
                yield from self._evaluate_other_set()
            if self.config.stability:
                yield from self._make_passes()
            if self.config.figures:
                yield from self._draw()
        except StoppedError:
            self._add_problem(
                "The remaining figures and dropout passes were skipped because the run was stopped."
            )
        except Exception as error:
            # On a full disk the log cannot be written either; the sentence is still shown.
            with contextlib.suppress(OSError):
                self.run.log_error(error)
            self._add_problem(_sentence(error, self.run.name))

    def _evaluate_other_set(self) -> Iterator[Phase]:
        trained_on = self.findings.trained_on or ""
        for own in set_names(trained_on):
            self._add_problem(self.catalog.entry(own, "test").problem or "")
        name = other_test_set(trained_on)
        entry = self.catalog.entry(name, "test")
        if not entry.present and entry.problem is None:
            return
        yield Phase(f"evaluating {name}")
        try:
            digit_set = self.catalog.open(name, "test")
        except DigitSetError as error:
            # A damaged file: figures and passes of the run's own set do not depend on it.
            self._add_problem(f"{name} was skipped: {error}")
            return
        predictions = predict(
            self.findings.classifier,
            digit_set,
            keep_features=self.config.stability,
            progress=self.stop.check,
        )
        self.findings = dataclasses.replace(
            self.findings,
            digit_sets=[*self.findings.digit_sets, digit_set],
            predictions=[*self.findings.predictions, predictions],
        )
        self.metrics = {**self.metrics, name: self.findings.evaluations[-1].to_json()}
        self.run.results.write_metrics(self.metrics)

    def _make_passes(self) -> Iterator[Phase]:
        """Make both types over the last set, as figure 9 and the stability command do."""
        try:
            require(self.findings.classifier, "dropout", "no dropout passes were made")
        except CapabilityError as error:
            self._add_problem(str(error))
            return
        count = self.config.passes or usual_passes(len(self.findings.history))
        yield Phase(f"running {count} dropout passes per mask type")
        self.findings = self.findings.with_stability(count, notify=self.stop.check)
        self.run.results.write_stability(self.findings.stabilities)
        self.stability = tuple(map(stability_text, self.findings.stabilities))
        for text in self.stability:
            self.run.log(text)

    def _draw(self) -> Iterator[Phase]:
        from digitcnn.analysis import figures  # here, because it imports matplotlib

        self.findings.classifier.to(torch.device("cpu"))
        release_freed_memory()  # figures take 60 MB, as much as evaluation and passes have freed
        measured = bool(self.findings.stabilities)
        lacking = ""  # the same sentence for figures 5 and 6
        names = [name for name in FIGURES if measured or name != STABILITY_FIGURE]
        for number, name in enumerate(names, 1):
            self.stop.check()
            done = (number - 1) / len(names)
            yield Phase(f"drawing figures, {number} of {len(names)}", done)
            try:
                figures.save(name, self.findings, self.run.folder / "figures")
            except CapabilityError as error:
                lacking = str(error)
        self._add_problem(lacking)

    def _add_problem(self, problem: str) -> None:
        self.problem = f"{self.problem} {problem}".strip()


def _sentence(error: Exception, run: str) -> str:
    what = "Some figures or dropout passes could not be made"
    if isinstance(error, DigitCNNError):
        return f"{what}: {error}"
    if isinstance(error, OSError):
        return f"{what} ({error.strerror or error}); free some space or choose another folder."
    return f"{what} (unexpected {type(error).__name__}); see log.txt of run '{run}'."
