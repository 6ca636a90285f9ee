"""What the Evaluate tab shows now, opened again for a closer look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.models import Models
from digitcnn.workspace import Workspace


@dataclass(frozen=True)
class Shown:
    """Names of the model and the test sets, and the network's digest; all empty at first."""

    model: str = ""
    digest: str = ""
    sets: tuple[str, ...] = ()


def opened(
    workspace: Workspace, models: Models, now: Shown, name: Any
) -> tuple[Checkpoint, DigitSet]:
    """The network and one of the sets. Raises DigitCNNError where it is no longer there."""
    if not now.sets or name not in now.sets:
        raise DigitSetError("That set was not evaluated on this page; press Evaluate first.")
    checkpoint = models.get(now.model)
    if checkpoint.digest != now.digest:
        raise CheckpointError(f"{now.model} is another network by now; press Evaluate again.")
    return checkpoint, workspace.catalog.open(name, "test")


def training_images(workspace: Workspace, checkpoint: Checkpoint) -> DigitSet:
    """The images that a network was trained on. Raises DigitSetError where they are not here."""
    details = checkpoint.details
    if details.digits is None:
        raise DigitSetError(
            f"{checkpoint.name} does not say what it was trained on, so its training images cannot "
            "be compared; choose another model."
        )
    wanted = details.config.get("train_images")
    training, _ = split_held_out(
        workspace.catalog.open(details.digits, "train"), wanted if type(wanted) is int else None
    )
    if details.fingerprints.get("train", training.fingerprint) != training.fingerprint:
        raise DigitSetError(
            f"The images of {details.digits} here are not those that {checkpoint.name} was trained "
            "on; restore them, or choose another model."
        )
    return training
