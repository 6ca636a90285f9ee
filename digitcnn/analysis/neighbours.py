"""Nearest training digits by pixels: for suspected label errors and near duplicates.

Similarity is the cosine of two images' pixels, 1 for equal up to brightness. Pixels and not
features: a network's features bring together what it classifies alike, so they would agree with
its errors (``feature_neighbours`` uses that).
"""

from __future__ import annotations

import torch
from torch import Tensor

from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import DigitSet
from digitcnn.shared_cache import Progress, unwatched

# 500 queries by 5,000 references are 10 MB of cosines; neither side is converted to floats whole.
QUERIES, REFERENCES = 500, 5000
NEAREST_FOR_SUSPECTS = 5

# An image is a near duplicate of its nearest training digit when that one is this much nearer than
# the second (the ratio test of Lowe 2004, section 7.1). Of 1,000 MNIST test digits converted to
# EMNIST framing and back, which blurs twice, 50% were found among 60,000 others at 0.75; with the
# originals absent, 0.6% were. A threshold on the similarity alone flags four in five ones, which
# all look alike, before it finds as many.
DUPLICATE_RATIO = 0.75


def nearest(
    queries: Tensor, references: Tensor, k: int = 1, *, progress: Progress = unwatched
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` references with the largest cosine to each query, the nearest first.

    Returns their places among the references, int64 [Q, k], and the cosines, float32 [Q, k].
    queries [Q, ...], references [R, ...]: any dtype, not negative, of one shape but for the first
    dimension; a blank image has a cosine of 0 to everything. Takes about 2 Q R D operations and
    30 MB besides its result. progress: called with queries done and queries in all.
    Raises ValueError when there are fewer than ``k`` references.
    """
    if not 1 <= k <= len(references):
        raise ValueError(f"expected 1 <= k <= {len(references)} references, got k = {k}")
    indices, cosines = [], []
    for start in range(0, len(queries), QUERIES):
        block = _unit(queries[start : start + QUERIES])
        best = torch.full((len(block), k), -torch.inf)
        place = torch.zeros(len(block), k, dtype=torch.int64)
        for first in range(0, len(references), REFERENCES):
            similar = block @ _unit(references[first : first + REFERENCES]).T
            top, where = similar.topk(min(k, similar.shape[1]), dim=1)
            merged, order = torch.cat([best, top], dim=1).topk(k, dim=1)
            place = torch.cat([place, where + first], dim=1).gather(1, order)
            best = merged
        indices.append(place)
        cosines.append(best)
        progress(min(start + QUERIES, len(queries)), len(queries))
    empty = torch.zeros(0, k)
    return torch.cat([empty.long(), *indices]), torch.cat([empty, *cosines])


def near_duplicates(images: Tensor, training: Tensor, *, progress: Progress = unwatched) -> Tensor:
    """Return whether each image is a near duplicate of a training image: bool [N].

    images: uint8 [N, 28, 28]. training: uint8 [R, 28, 28], at least two, in the same framing.
    It finds about half of the duplicates and few others: a lower bound on what duplicates hide.
    """
    _, cosines = nearest(images, training, 2, progress=progress)
    # Distance on the unit sphere; rounding may take a cosine just above 1.
    distances = (2 - 2 * cosines).clamp(min=0).sqrt()
    return distances[:, 0] <= DUPLICATE_RATIO * distances[:, 1]


def label_suspects(
    predictions: Predictions,
    digit_set: DigitSet,
    training: DigitSet,
    *,
    temperature: float = 1.0,
    k: int = NEAREST_FOR_SUSPECTS,
) -> list[int]:
    """Return the places of images whose label may be wrong, the most confident prediction first.

    The model predicts another digit than the label, and the ``k`` nearest training digits all show
    that other digit. Both may still be wrong: a person has to look.
    """
    errors = (~predictions.right).nonzero().squeeze(1)
    neighbours, _ = nearest(digit_set.images[errors], training.images, k)
    predicted = predictions.predicted[errors]
    suspects = errors[(training.labels[neighbours] == predicted[:, None]).all(dim=1)]
    confidence = predictions.probabilities(temperature)[suspects].max(dim=1).values
    places: list[int] = suspects[confidence.argsort(descending=True, stable=True)].tolist()
    return places


def _unit(vectors: Tensor) -> Tensor:
    """Return each vector at length 1, blanks at 0: float32 [N, D]."""
    return torch.nn.functional.normalize(vectors.flatten(1).float(), dim=1)
