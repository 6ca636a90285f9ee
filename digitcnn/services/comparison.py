"""Compare several models on the same images."""

from __future__ import annotations

from collections.abc import Sequence

from digitcnn.analysis.comparison import Comparison, check_number, compare, unique_names
from digitcnn.analysis.events import Notify, ignore
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.predictors import Predictor, classify


def compare_models(
    checkpoints: Sequence[Checkpoint],
    digit_set: DigitSet,
    *,
    predict: Predictor,
    names: Sequence[str] = (),
    notify: Notify = ignore,
) -> Comparison:
    """Classify the set with every model and compare them in pairs.

    names: of the models, for people; default: those of ``names_of``. Raises ConfigError unless two
    to eight models are given.
    """
    check_number(len(checkpoints))
    names = names or names_of(checkpoints)
    predictions = [
        classify(predict, checkpoint, digit_set, name=name, notify=notify)
        for name, checkpoint in zip(names, checkpoints, strict=True)
    ]
    return compare(names, predictions, [c.temperature for c in checkpoints])


def names_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Return the models' names for people, told apart by digest where several are the same."""
    return unique_names([c.name for c in checkpoints], [c.digest for c in checkpoints])
