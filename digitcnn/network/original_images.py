"""Open the images that a model was trained on."""

from __future__ import annotations

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.names import listed
from digitcnn.digits.training_images import TrainingImages, open_training_images
from digitcnn.errors import DigitSetError
from digitcnn.network.checkpoint import Checkpoint


def original_images(checkpoint: Checkpoint, catalog: Catalog) -> TrainingImages:
    """Return the images of a model's training.

    Raises DigitSetError where the model does not record them, and where they are not available or
    have changed.
    """
    details = checkpoint.details
    if details.digits is None or "train" not in details.fingerprints:
        raise DigitSetError(
            f"{checkpoint.name} does not record its training images; choose a model trained here."
        )
    count = details.config.get("train_images")
    images = open_training_images(catalog, details.digits, count if type(count) is int else None)
    for part, here in (("train", images.training), ("held_out", images.held_out)):
        if details.fingerprints.get(part, here.fingerprint) != here.fingerprint:
            raise DigitSetError(
                f"The {listed(details.digits)} images differ from those {checkpoint.name} was "
                "trained on; restore them, or choose another model."
            )
    return images
