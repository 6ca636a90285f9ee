"""Nearest training digits: for suspected label errors, and for images that nearly repeat another.

Nearness is the cosine of two images' pixels, 1 for equal up to brightness. Pixels, not features:
the network's features put near each other what the network takes for the same digit, so they
would agree with its errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import DigitSet

# 500 queries against 5,000 references are 10 MB of cosines; neither side is held whole as floats.
QUERIES, REFERENCES = 500, 5000
NEAREST_FOR_SUSPECTS = 5

# An image nearly repeats its nearest training digit when that is this much nearer than the second
# (the ratio test of Lowe 2004, section 7.1). Of 1,000 MNIST test digits put into EMNIST framing and
# back, 50% were found among 60,000 others at 0.75, a hard trial since it blurs twice; without
# themselves to be found, 0.6% were. A threshold on the nearness alone takes four in five ones,
# which all look alike, before it finds as many.
REPEAT_RATIO = 0.75


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest references of each query, nearest first.

    indices: int64 [Q, k], places among the references. cosines: float32 [Q, k], 0 to 1.
    """

    indices: Tensor
    cosines: Tensor


@dataclass(frozen=True)
class LabelSuspect:
    """An image whose label both the network and the nearest training digits contradict.

    index: its place in the digit set. answer: of the network, and of all its nearest training
    digits. confidence: the network's. nearest: places of those digits among the training images.
    cosine: of the nearest.
    """

    index: int
    label: int
    answer: int
    confidence: float
    nearest: tuple[int, ...]
    cosine: float


def nearest(
    queries: Tensor,
    references: Tensor,
    k: int = 1,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """The ``k`` references with the largest cosine to each query, exactly: every pair is looked at.

    queries [Q, ...], references [R, ...]: of one shape but for the first dimension, any dtype, not
    negative; a blank has a cosine of 0 to everything. Takes about 2 Q R D
    operations and 30 MB besides its result. progress: called with queries done and queries in all.
    Raises ValueError when there are fewer than ``k`` references.
    """
    if not 1 <= k <= len(references):
        raise ValueError(f"{k} neighbours of {len(references)} references were asked for")
    indices, cosines = [], []
    for start in range(0, len(queries), QUERIES):
        block = _unit(queries[start : start + QUERIES])
        best = torch.full((len(block), k), -torch.inf)
        place = torch.zeros(len(block), k, dtype=torch.int64)
        for first in range(0, len(references), REFERENCES):
            found = block @ _unit(references[first : first + REFERENCES]).T
            top, where = found.topk(min(k, found.shape[1]), dim=1)
            merged, order = torch.cat([best, top], dim=1).topk(k, dim=1)
            place = torch.cat([place, where + first], dim=1).gather(1, order)
            best = merged
        indices.append(place)
        cosines.append(best)
        if progress is not None:
            progress(min(start + QUERIES, len(queries)), len(queries))
    empty = torch.zeros(0, k)
    return Neighbours(torch.cat([empty.long(), *indices]), torch.cat([empty, *cosines]))


def near_repeats(
    images: Tensor,
    training: Tensor,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Which images nearly repeat a training image: bool [N].

    images: uint8 [N, 28, 28]. training: uint8 [R, 28, 28], at least two, in the same framing.
    It finds about half of the repeats and few others: a lower bound on what repeats hide.
    """
    found = nearest(images, training, 2, progress=progress)
    # Distance on the unit sphere; rounding may take a cosine just above 1.
    distances = (2 - 2 * found.cosines).clamp(min=0).sqrt()
    return distances[:, 0] <= REPEAT_RATIO * distances[:, 1]


def label_suspects(
    predictions: Predictions,
    digit_set: DigitSet,
    training: DigitSet,
    *,
    temperature: float = 1.0,
    k: int = NEAREST_FOR_SUSPECTS,
) -> tuple[LabelSuspect, ...]:
    """Images whose label is suspected to be wrong, the most confident answer first.

    The network answers another digit than the label, and the ``k`` nearest training digits all
    show that other digit. Both may still be wrong: a person has to look.
    """
    errors = (~predictions.right).nonzero().squeeze(1)
    found = nearest(digit_set.images[errors], training.images, k)
    answers = predictions.answers[errors]
    agree = (training.labels[found.indices] == answers[:, None]).all(dim=1)
    confidence = predictions.probabilities(temperature)[errors].max(dim=1).values
    order = [i for i in confidence.argsort(descending=True, stable=True).tolist() if bool(agree[i])]
    return tuple(
        LabelSuspect(
            index=int(errors[i]),
            label=int(predictions.labels[errors[i]]),
            answer=int(answers[i]),
            confidence=float(confidence[i]),
            nearest=tuple(found.indices[i].tolist()),
            cosine=float(found.cosines[i, 0]),
        )
        for i in order
    )


def _unit(vectors: Tensor) -> Tensor:
    """Each on the unit sphere, blanks at its centre: float32 [N, D]."""
    return torch.nn.functional.normalize(vectors.flatten(1).float(), dim=1)
