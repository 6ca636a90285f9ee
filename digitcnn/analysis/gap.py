"""Divide the cross-dataset gap into framing, near duplicates and a remainder.

The other set is evaluated as it is, then in MNIST framing, then without the near duplicates of
training images. The order is fixed, because the share of each step depends on it. The
remainder is due to writers, label noise and everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from digitcnn.analysis.metrics import Evaluation, Gap, evaluate, gap
from digitcnn.analysis.neighbours import near_duplicates
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.framing import frame_mnist
from digitcnn.digits.names import set_names, written
from digitcnn.errors import DigitSetError
from digitcnn.shared_cache import Progress, unwatched


def own_kind_first(names: Sequence[str], trained_on: str | None) -> list[str]:
    """Return the names without repetition, the sets that the model was trained on first.

    trained_on: names separated by commas. The gaps to all others are measured from the first.
    """
    own = set_names(trained_on or "")
    return sorted(dict.fromkeys(names), key=lambda name: name not in own)


@dataclass(frozen=True)
class Waterfall:
    """The gap of another set to ``reference`` in its parts; points are percentage points.

    reference: on the test set of the training set's kind. as_is, framed, without_duplicates: on the
    other set, step by step. duplicates: number of images that the last step leaves out.
    total, remains: gaps at the start and at the end, each with its 95% interval.
    framing: points that MNIST framing explains. near_duplicates: points that near duplicates
    explain; negative where they hide a part of the gap.
    ``total.points == framing + near_duplicates + remains.points``.
    """

    reference: Evaluation
    as_is: Evaluation
    framed: Evaluation
    without_duplicates: Evaluation
    duplicates: int

    @property
    def total(self) -> Gap:
        """Return the whole gap, before anything is corrected."""
        return gap(self.reference, self.as_is)

    @property
    def framing(self) -> float:
        """Return the points that framing the digits as in MNIST gains."""
        return 100 * (self.framed.accuracy - self.as_is.accuracy)

    @property
    def near_duplicates(self) -> float:
        """Return the points, mostly negative, that removing near duplicates gains."""
        return 100 * (self.without_duplicates.accuracy - self.framed.accuracy)

    @property
    def remains(self) -> Gap:
        """Return the gap that framing and near duplicates do not explain."""
        return gap(self.reference, self.without_duplicates)


def waterfall(
    predict: Callable[[DigitSet], Predictions],
    reference: DigitSet,
    other: DigitSet,
    training: DigitSet,
    *,
    temperature: float = 1.0,
    progress: Progress = unwatched,
) -> Waterfall:
    """Compute the waterfall of one model.

    predict: returns its predictions for a set. reference: the test set of the training set's kind.
    training: the images it was trained on, at least two. progress: called with images searched for
    near duplicates, the longest step, and images in all.
    Raises DigitSetError when every image is a near duplicate, as when the sets are the same.
    """
    name = written(other.name)
    framed = replace(other, images=frame_mnist(other.images), name=f"{name} (MNIST framing)")
    duplicates = near_duplicates(framed.images, training.images, progress=progress)
    if bool(duplicates.all()):
        raise DigitSetError(
            f"Every image of {name} is a near duplicate of one in {written(training.name)}, so "
            "nothing is left to compare; choose another digit set."
        )
    predictions = predict(framed)
    originals = replace(
        predictions.take(~duplicates), digits=f"{name} (MNIST framing, no near duplicates)"
    )
    return Waterfall(
        reference=evaluate(predict(reference), temperature),
        as_is=evaluate(predict(other), temperature),
        framed=evaluate(predictions, temperature),
        without_duplicates=evaluate(originals, temperature),
        duplicates=int(duplicates.sum()),
    )
