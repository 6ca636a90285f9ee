"""Evaluate a finished run, and describe a run for its checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any

from digitcnn.analysis.calibration import fit_temperature
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.names import set_names
from digitcnn.digits.training_images import TrainingImages
from digitcnn.network.details import Details
from digitcnn.network.model import Network
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import Snapshot
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
