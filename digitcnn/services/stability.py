"""Measure how the accuracy of a model varies while dropout stays on."""

from __future__ import annotations

from collections.abc import Sequence

from digitcnn.analysis.events import Notify, ignore
from digitcnn.analysis.findings import measure_stabilities
from digitcnn.analysis.stability import MASKS, Masks, Stability, check_passes
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.classifier import require
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
    check_passes(passes)
    require(checkpoint.classifier, "dropout", "its stability cannot be measured")
    predictions = classify(predict, checkpoint, digit_set, features=True, notify=notify)
    return measure_stabilities(
        checkpoint.classifier,
        predictions,
        passes,
        masks=masks,
        temperature=checkpoint.details.temperature,
        notify=notify,
    )
