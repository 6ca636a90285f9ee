"""Get the predictions for a whole digit set, from a cache or from one forward pass."""

from __future__ import annotations

from typing import Protocol

from digitcnn.analysis import predictions
from digitcnn.analysis.events import ImagesProcessed, Notify, ignore
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.shared_cache import Progress


class Predictor(Protocol):
    """A function that computes predictions or reads them from a cache."""

    def __call__(
        self,
        checkpoint: Checkpoint,
        digit_set: DigitSet,
        *,
        progress: Progress | None = None,
        features: bool = False,
    ) -> Predictions:
        """Return the predictions.

        progress: called with images done and in all; an exception from it ends the work.
        features: whether ``Predictions.features`` is needed.
        """


def predict_uncached(
    checkpoint: Checkpoint,
    digit_set: DigitSet,
    *,
    progress: Progress | None = None,
    features: bool = False,
) -> Predictions:
    """Compute predictions on the device that the checkpoint's network is on. A ``Predictor``."""
    return predictions.predict(
        checkpoint.classifier,
        digit_set,
        digest=checkpoint.key,
        progress=progress,
        keep_features=True if features else None,
    )


def classify(
    predict: Predictor,
    checkpoint: Checkpoint,
    digit_set: DigitSet,
    *,
    features: bool = False,
    name: str | None = None,
    notify: Notify = ignore,
) -> Predictions:
    """Return the predictions of a model for a digit set, with its progress as events.

    name: what the events call the model; None: the checkpoint's name.
    """
    task = f"{name or checkpoint.name} on {digit_set.title}"
    return predict(
        checkpoint,
        digit_set,
        features=features,
        progress=lambda done, total: notify(ImagesProcessed(task, done, total)),
    )
