"""A named set of labelled 28x28 digit images, and the split into training and held-out images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from digitcnn.digits.names import listed, set_title
from digitcnn.errors import DigitSetError

if TYPE_CHECKING:
    import torch

SIDE = 28
CLASSES = 10

# The last twelfth of a training file is held out: the last 5,000 of MNIST's 60,000.
HELD_OUT_SHARE = 12


@dataclass(frozen=True, eq=False)
class DigitSet:
    """Images and labels of one split of one set; never changed once made.

    images: uint8 [N, 28, 28], ink high, paper 0, upright.
    labels: uint8 [N], each 0 to 9.
    name: the set's name in the catalogue, such as ``mnist``.
    split: ``train`` or ``test``.

    Raises DigitSetError when shapes, dtypes or labels are wrong.
    """

    images: torch.Tensor
    labels: torch.Tensor
    name: str
    split: str

    def __post_init__(self) -> None:
        import torch  # here, so that listing sets does without

        if self.images.dtype != torch.uint8 or self.images.shape[1:] != (SIDE, SIDE):
            raise DigitSetError(
                f"The images of {self.name} are {self.images.dtype} {list(self.images.shape)}, "
                f"but uint8 [N, {SIDE}, {SIDE}] is expected; check the images file."
            )
        if self.labels.dtype != torch.uint8 or self.labels.shape != self.images.shape[:1]:
            raise DigitSetError(
                f"{self.name} has {len(self.images)} images but {len(self.labels)} labels; "
                "get both files from the same place."
            )
        if len(self.labels) == 0:
            raise DigitSetError(f"{self.name} ({self.split}) has no images; replace its files.")
        if int(self.labels.max()) >= CLASSES:
            raise DigitSetError(
                f"{self.name} contains the label {int(self.labels.max())}; labels must be 0 to 9, "
                "so check the labels file."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def title(self) -> str:
        """The set and its split, such as ``MNIST test``."""
        return set_title(self.name, self.split)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256, in hex, of the images and labels (not of the name)."""
        digest = hashlib.sha256()
        digest.update(str(len(self)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def take(self, indices: torch.Tensor | slice) -> DigitSet:
        """Return the images at ``indices`` as a set of the same name and split."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])


def union(sets: Sequence[DigitSet]) -> DigitSet:
    """Return the images of several sets as one, named ``mnist,synthetic``.

    They are mixed evenly, each set in its own order: the first N images, for any N, are of the
    sets in their proportions. A single set stays as it is.
    """
    import torch

    if len(sets) == 1:
        return sets[0]
    places = torch.cat([(torch.arange(len(each)) + 0.5) / len(each) for each in sets])
    order = places.argsort(stable=True)
    return DigitSet(
        images=torch.cat([each.images for each in sets])[order],
        labels=torch.cat([each.labels for each in sets])[order],
        name=",".join(each.name for each in sets),
        split=sets[0].split,
    )


def split_held_out(training_file: DigitSet) -> tuple[DigitSet, DigitSet]:
    """Return the images to train on and the held-out images, the same for every seed.

    The last twelfth is held out (MNIST: the last 5,000). Raises DigitSetError for a single image.
    """
    held_out = max(1, len(training_file) // HELD_OUT_SHARE)
    available = len(training_file) - held_out
    if available < 1:
        raise DigitSetError(
            f"{training_file.name} has {len(training_file)} training images; at least 2 are needed."
        )
    return training_file.take(slice(0, available)), training_file.take(slice(available, None))


def first_images(training: DigitSet, count: int | None) -> DigitSet:
    """Return the first ``count`` training images; None: all. Raises DigitSetError for too many."""
    if count is None:
        return training
    if not 1 <= count <= len(training):
        raise DigitSetError(
            f"{listed(training.name)} has {len(training)} images to train on, "
            f"but {count} were requested; choose 1 to {len(training)}.",
            field="train-images",
        )
    return training.take(slice(0, count))
