"""The events of a training: what ``run_training`` yields to the page and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class StepProgress:
    """Where a training stands between two epochs' ends.

    epoch, step: counted from 1; ``step`` runs over the whole training, to ``steps``.
    losses: the training loss (mean cross-entropy, nats) of each step since the last record.
    images_per_second, seconds_left: NaN until the first step of this process is done.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: tuple[float, ...]
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class EpochResult:
    """One finished epoch. Accuracies are fractions, losses mean cross-entropies in nats.

    loss, training_accuracy: of the network as it learned, on the changed training images.
    held_out_loss, accuracy: of the averaged weights, on the held-out images.
    held_out: how many images those are.
    learning_rate: at the epoch's last step.
    """

    epoch: int
    loss: float
    training_accuracy: float
    held_out_loss: float
    accuracy: float
    held_out: int
    learning_rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that is needed to go on after ``epoch``; tensors on the CPU.

    weights: of the network that learns. averaged: of the averaged copy, with its batch-norm
    statistics re-estimated. moments: AdamW's, by parameter. history: one result per epoch.
    """

    epoch: int
    weights: dict[str, Tensor]
    averaged: dict[str, Tensor]
    moments: dict[str, Any]
    history: tuple[EpochResult, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class EpochEnd:
    """A finished epoch and what a resume after it needs."""

    result: EpochResult
    snapshot: Snapshot


@dataclass(frozen=True)
class Phase:
    """What a run does besides steps, in words for people."""

    text: str


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    state: finished, stopped or interrupted. epochs: finished ones.
    checkpoint, digest: None where none was written.
    metrics: ``held_out`` and one entry per test set, each as ``Evaluation.to_json``.
    stability: a sentence per kind of pass; empty where none were made.
    """

    run: str
    state: str
    epochs: int
    seconds: float
    message: str
    checkpoint: Path | None = None
    digest: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    stability: tuple[str, ...] = ()


TrainingEvent = StepProgress | EpochEnd | Phase | RunEnd
