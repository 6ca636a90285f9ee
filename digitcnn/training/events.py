"""The events of a training: what ``run_training`` yields to the page and the command line.

``view.TrainingView.after`` is the one place that handles each kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from digitcnn.options import NETWORKS


@dataclass(frozen=True)
class RunStart:
    """A run starts: ``number``, from 1, of ``of`` requested runs."""

    run: str
    number: int
    of: int


@dataclass(frozen=True)
class StepProgress:
    """Training steps were made.

    epoch, step: counted from 1; ``step`` runs over the whole training, to ``steps``.
    losses: the training loss (mean cross-entropy, nats) of each step since the last event.
    images_per_second: of the steps alone; seconds_left: with the evaluation after each epoch.
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

    loss, training_accuracy: of the network while it learned, on augmented training images.
    held_out_loss, accuracy: of the averaged weights, on the held-out images.
    held_out: number of held-out images.
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

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: loss {self.loss:.4f}, held-out accuracy "
            f"{100 * self.accuracy:.2f}%, {self.seconds:.1f} s"
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a training needs to resume after ``epoch``; tensors on the CPU.

    weights: of the network that learns. averaged: of the averaged copy, with its batch-norm
    statistics estimated. moments: AdamW's state. history: one result per epoch.
    """

    epoch: int
    weights: dict[str, Tensor]
    averaged: dict[str, Tensor]
    moments: dict[str, Any]
    history: tuple[EpochResult, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """A held-out image, uint8 [28, 28] on the CPU, and its prediction.

    confidence: the probability of the prediction, 0 to 1, uncalibrated.
    """

    image: Tensor
    label: int
    prediction: int
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label


@dataclass(frozen=True)
class Samples:
    """The first image of each digit, the same in every epoch, and the most confident errors."""

    digits: tuple[Sample, ...] = ()
    errors: tuple[Sample, ...] = ()


@dataclass(frozen=True, eq=False)
class EpochEnd:
    """An epoch is finished; ``snapshot`` ends with its result.

    network: its architecture. samples: held-out images with its predictions.
    """

    snapshot: Snapshot
    network: str = NETWORKS[0]
    samples: Samples = field(default_factory=Samples)

    @property
    def result(self) -> EpochResult:
        """Return the epoch's result."""
        return self.snapshot.history[-1]


@dataclass(frozen=True)
class Phase:
    """Work other than training steps begins.

    text: for people; what follows a comma changes within a phase. done: its share so far, 0 to 1.
    """

    text: str
    done: float = 0.0


@dataclass(frozen=True)
class RunEnd:
    """The run ended.

    state: finished, stopped or interrupted. epochs: finished ones. message: sentences for people.
    checkpoint, digest: None where no checkpoint was written.
    metrics: ``held_out`` and one entry per test set, each as ``Evaluation.to_json``.
    stability: one sentence per mask type; empty where no passes were made.
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


TrainingEvent = RunStart | StepProgress | EpochEnd | Phase | RunEnd
