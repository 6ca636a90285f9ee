"""Measure how the accuracy of a model varies while dropout stays on."""

from __future__ import annotations

from collections.abc import Sequence

from digitcnn.analysis.events import Notify, ignore
from digitcnn.analysis.findings import measure_stabilities
from digitcnn.analysis.stability import Stability
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.classifier import require
from digitcnn.options import MASKS, Masks, check_passes
from digitcnn.services.predictors import Predictor, classify


def measure_stability(
    checkpoint: Checkpoint,
    digit_set: DigitSet,
    passes: int,
    *,
    predict: Predictor,
    masks: Sequence[Masks] = MASKS,
    notify: Notify = ignore,
) -> list[Stability]:
    """Classify the set ``passes`` times per mask type with dropout on; one result per mask type.

    notify: gets the progress of computing the features, then every ``PassResult``.
    Raises ConfigError for a wrong number of passes and CapabilityError for a model without dropout,
    before anything is computed.
    """
    check_measurable(checkpoint, passes)
    predictions = classify(predict, checkpoint, digit_set, features=True, notify=notify)
    return measure_stabilities(
        checkpoint.classifier,
        predictions,
        passes,
        masks=masks,
        temperature=checkpoint.temperature,
        notify=notify,
    )


def check_measurable(checkpoint: Checkpoint, passes: object) -> None:
    """Raise ConfigError for a wrong number of passes, CapabilityError without dropout."""
    check_passes(passes)
    require(checkpoint.classifier, "dropout", "its stability cannot be measured")
