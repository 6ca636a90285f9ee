"""Open the images of a training: those of one digit set, or of several at once."""

from __future__ import annotations

from dataclasses import dataclass

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, first_images, split_held_out, union
from digitcnn.digits.names import set_names


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """What a network learns from, and what is held out.

    training, held_out: of all sets, each set in proportion to its size.
    held_out_of: the held-out images of each of the sets.
    """

    training: DigitSet
    held_out: DigitSet
    held_out_of: tuple[DigitSet, ...]


def open_training_images(
    catalog: Catalog, digits: str, train_images: int | None = None
) -> TrainingImages:
    """Open the training images of ``digits``, names separated by commas.

    train_images: use only so many, of each set in proportion; None uses all. Raises DigitSetError
    where a set is not available or there are too few images.
    """
    halves = [split_held_out(catalog.open(name, "train")) for name in set_names(digits)]
    held_out = tuple(held_out for _, held_out in halves)
    training = first_images(union([training for training, _ in halves]), train_images)
    return TrainingImages(training, union(held_out), held_out)


def missing_sets(catalog: Catalog, digits: str) -> list[str]:
    """Return those of the sets that have no training images here.

    Raises DigitSetError for a set with files that cannot be used.
    """
    return [name for name in set_names(digits) if not catalog.check(name, "train")]
