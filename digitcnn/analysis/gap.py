"""Where the cross-dataset gap comes from: framing, near repeats, and what remains.

The other set is evaluated as it is, then in MNIST framing, then without the images that nearly
repeat a training image, in that fixed order: the order decides how much each step is given.
What remains is writers, label noise and everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from digitcnn.analysis.metrics import Evaluation, Gap, evaluate, gap
from digitcnn.analysis.neighbours import near_repeats
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.framing import frame_mnist
from digitcnn.errors import DigitSetError


def own_kind_first(names: Sequence[str], trained_on: str | None) -> list[str]:
    """The names of digit sets in their order, but first the one that a network was trained on.

    The first is what the gaps to all others are measured from.
    """
    return sorted(dict.fromkeys(names), key=lambda name: name != trained_on)


@dataclass(frozen=True)
class Waterfall:
    """The gap of ``other`` to ``reference`` in its parts; points are percentage points.

    reference: on the test set of the network's own kind. as_is, framed, without_repeats: on the
    other set, step by step. repeats: how many images the last step left out.
    total, remains: gaps at the start and at the end, each with its 95% interval.
    framing: points that MNIST framing closes. near_repeats: points that near repeats seem to
    close; negative when they hide a part of the gap.
    ``total.points == framing + near_repeats + remains.points``.
    """

    reference: Evaluation
    as_is: Evaluation
    framed: Evaluation
    without_repeats: Evaluation
    repeats: int

    @property
    def total(self) -> Gap:
        return gap(self.reference, self.as_is)

    @property
    def framing(self) -> float:
        return 100 * (self.framed.accuracy - self.as_is.accuracy)

    @property
    def near_repeats(self) -> float:
        return 100 * (self.without_repeats.accuracy - self.framed.accuracy)

    @property
    def remains(self) -> Gap:
        return gap(self.reference, self.without_repeats)


def waterfall(
    predict: Callable[[DigitSet], Predictions],
    reference: DigitSet,
    other: DigitSet,
    training: DigitSet,
    *,
    temperature: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Waterfall:
    """The waterfall of one network.

    predict: its predictions for a set, from a cache where there is one. reference: the test set of
    the training's kind. training: the images it was trained on, at least two. progress: called
    with images searched for near repeats and images in all; that is the longest step.
    Raises DigitSetError when every image is a near repeat, as when the sets are the same.
    """
    framed = replace(other, images=frame_mnist(other.images), name=f"{other.name} (MNIST framing)")
    repeats = near_repeats(framed.images, training.images, progress=progress)
    if bool(repeats.all()):
        raise DigitSetError(
            f"Every image of {other.name} nearly repeats one of {training.name}, so nothing "
            "remains to compare; choose another digit set."
        )
    found = predict(framed)
    kept = replace(
        found,
        digits=f"{other.name} (MNIST framing, no near repeats)",
        fingerprint="",
        logits=found.logits[~repeats],
        features=None,
        labels=found.labels[~repeats],
    )
    return Waterfall(
        reference=evaluate(predict(reference), temperature),
        as_is=evaluate(predict(other), temperature),
        framed=evaluate(found, temperature),
        without_repeats=evaluate(kept, temperature),
        repeats=int(repeats.sum()),
    )
