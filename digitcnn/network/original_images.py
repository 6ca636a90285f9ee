"""Open the images that a model was trained on."""

from __future__ import annotations

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.names import listed
from digitcnn.digits.training_images import TrainingImages, open_training_images
from digitcnn.errors import DigitSetError
from digitcnn.network.checkpoint import Checkpoint

# The fingerprints in digitcnn-hands, and those of today's images. When it was trained, the rounding
# of generated images depended on the processor: every hundredth has a pixel that is a level off.
_SAME_BUT_FOR_ROUNDING = {
    "d07034b2f96a23524cd0db16551f21d804e18098e1ecdf467398daebf65bdd52": (
        "8687de36ece6d22b555f4e0df4895a37ce88e97b8dce0c8035f1fa5a6a9d3600"
    ),
    "86e5a9ce68daff4ed00b8032dae3fb29a6b5fce039bc7f86ddf2c6798424b3b0": (
        "ee45470226b325e37caa8496bb0c074a5627e538e269cd26d1ed48043cfb35f7"
    ),
}


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
        recorded = details.fingerprints.get(part, here.fingerprint)
        if _SAME_BUT_FOR_ROUNDING.get(recorded, recorded) != here.fingerprint:
            raise DigitSetError(
                f"The {listed(details.digits)} images differ from those {checkpoint.name} was "
                "trained on; restore them, or choose another model."
            )
    return images
