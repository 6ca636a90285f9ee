"""Open the images that a model was trained on."""

from __future__ import annotations

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import listed
from digitcnn.digits.training_images import open_training_images
from digitcnn.errors import DigitSetError
from digitcnn.network.checkpoint import Checkpoint


def training_images(catalog: Catalog, checkpoint: Checkpoint) -> DigitSet:
    """Return the images that a model was trained on.

    Raises DigitSetError where they are unknown, not available, or differ from those.
    """
    details = checkpoint.details
    if details.digits is None:
        raise DigitSetError(
            f"{checkpoint.name} does not record its training set, so its training images cannot be "
            "compared; choose another model."
        )
    count = details.config.get("train_images")
    training = open_training_images(
        catalog, details.digits, count if type(count) is int else None
    ).training
    if details.fingerprints.get("train", training.fingerprint) != training.fingerprint:
        raise DigitSetError(
            f"The {listed(details.digits)} images differ from those {checkpoint.name} was trained "
            "on; restore them, or choose another model."
        )
    return training
