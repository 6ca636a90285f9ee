"""Open the images that a model was trained on."""

from __future__ import annotations

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
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
    training, _ = split_held_out(
        catalog.open(details.digits, "train"), count if type(count) is int else None
    )
    if details.fingerprints.get("train", training.fingerprint) != training.fingerprint:
        raise DigitSetError(
            f"The {details.digits} images differ from those {checkpoint.name} was trained on; "
            "restore them, or choose another model."
        )
    return training
