"""The images of a training: those of one digit set or of several, or changed for an experiment.

A *variant* is named by its set and its changes: ``mnist~12000~wrong-20`` are 12,000 images of
MNIST's training file, a fifth of them with wrong labels. Only images to train on change. The
held-out images stay right, and the test split stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from digitcnn.digits.digit_set import (
    CLASSES,
    HELD_OUT_SHARE,
    DigitSet,
    first_images,
    split_held_out,
    union,
)
from digitcnn.digits.names import SEPARATOR, set_names
from digitcnn.errors import DigitSetError

if TYPE_CHECKING:
    from digitcnn.digits.catalog import Catalog


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

    train_images: use only this many, of each set in proportion; None uses all. Raises DigitSetError
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


# N: only N images. wrong-P: P percent of the labels are another digit. keep-D-N: of digit D, only
# the first N images.
_CHANGE = re.compile(r"(\d{1,8})|wrong-(\d{1,2})|keep-(\d)-(\d{1,6})")


def variant(digit_set: DigitSet, name: str) -> DigitSet:
    """Return the variant ``name`` of a training file, or its test split as it is.

    The same name always gives the same images and labels. Raises DigitSetError for a change that
    is not known or not possible.
    """
    if digit_set.split != "train":
        return digit_set
    training, held_out = split_held_out(digit_set)
    for change in name.split(SEPARATOR)[1:]:
        match = _CHANGE.fullmatch(change)
        if match is None:
            raise DigitSetError(
                f"{name!r:.80} contains an unknown change; use N, wrong-PERCENT or keep-DIGIT-N."
            )
        size, percent, digit, most = match.groups()
        if size is not None:
            training = first_images(training, int(size) - int(size) // HELD_OUT_SHARE)
        elif percent is not None:
            training = replace(training, labels=_with_errors(training.labels, int(percent)))
        else:
            same = training.labels == int(digit)
            training = training.take(~same | (same.cumsum(0) <= int(most)))
    # So that the last twelfth of the new file is held out again, and nothing else.
    count = len(training) // (HELD_OUT_SHARE - 1)
    if not 1 <= count <= len(held_out):
        raise DigitSetError(
            f"{name!r:.80} needs 11 to {11 * len(held_out):,} images; choose another number."
        )
    held_out = held_out.take(slice(len(held_out) - count, None))
    return DigitSet(
        torch.cat((training.images, held_out.images)),
        torch.cat((training.labels, held_out.labels)),
        name,
        digit_set.split,
    )


def _with_errors(labels: torch.Tensor, percent: int) -> torch.Tensor:
    """Return the labels, uint8 [N], with this share of them replaced by another random digit."""
    random = torch.Generator().manual_seed(percent)
    changed = torch.randperm(len(labels), generator=random)[: len(labels) * percent // 100]
    step = torch.randint(1, CLASSES, (len(changed),), generator=random, dtype=torch.uint8)
    labels = labels.clone()
    labels[changed] = (labels[changed] + step) % CLASSES
    return labels
