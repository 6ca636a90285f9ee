"""Advise on digit sets that are stored sideways, mirrored or with ink and paper exchanged.

The shipped model classifies some of the images as they are and changed in each way; a set that it
reads far better when changed is most likely stored that way. This is advice only: it changes no
set and chooses nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache

import torch
from cachetools import LRUCache
from torch import Tensor

from digitcnn.analysis.comparison import Counts
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.classifier import Classifier

# The number of images, evenly spaced in a set, that are classified in each way.
IMAGES = 300
# With fewer images, the best of several ways may be right by chance.
FEWEST = 10

# "Far better": at least this much more accurate, and right more often than not.
MARGIN, GOOD = 0.2, 0.5


# Ways to change images uint8 [N, 28, 28], and how a person does it.
CHANGES: Mapping[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "transposed": (lambda images: images.transpose(1, 2), "add it with --transpose"),
    "mirrored": (
        lambda images: images.flip(2),
        "mirror the images left to right, images[:, :, ::-1], and add it again",
    ),
    "upside down": (
        lambda images: images.flip(1),
        "mirror the images top to bottom, images[:, ::-1], and add it again",
    ),
    "rotated by 180°": (
        lambda images: images.flip(1, 2),
        "rotate the images by 180°, images[:, ::-1, ::-1], and add it again",
    ),
    "rotated by 90° clockwise": (
        lambda images: images.rot90(-1, (1, 2)),
        "rotate the images clockwise, numpy.rot90(images, -1, (1, 2)), and add it again",
    ),
    "rotated by 90° counter-clockwise": (
        lambda images: images.rot90(1, (1, 2)),
        "rotate the images counter-clockwise, numpy.rot90(images, 1, (1, 2)), and add it again",
    ),
    "transposed and rotated by 180°": (
        lambda images: images.transpose(1, 2).flip(1, 2),
        "rotate the images by 180°, images[:, ::-1, ::-1], and add it with --transpose",
    ),
    "with ink and paper exchanged": (
        lambda images: 255 - images,
        "invert the images, 255 - images, and add it again",
    ),
}


def orientation_advice(classifier: Classifier, digit_set: DigitSet) -> str | None:
    """Return advice on a set that is classified far better when changed, None for other sets.

    A sentence such as "11% as it is, 98% transposed: add it with --transpose." The difference has
    to be large, and larger than chance (its paired 95% interval).
    """
    if len(digit_set) < FEWEST:
        return None
    chosen = torch.linspace(0, len(digit_set) - 1, min(IMAGES, len(digit_set))).long()
    images, labels = digit_set.images[chosen], digit_set.labels[chosen]

    def right(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits = classifier.logits(images.contiguous().to(classifier.device))
        return logits.argmax(1).cpu() == labels

    classifier = classifier.inference_copy()
    as_is = right(images)
    if float(as_is.float().mean()) > 1 - MARGIN:
        return None
    results = {name: right(apply(images)) for name, (apply, _) in CHANGES.items()}
    best = max(results, key=lambda name: int(results[name].sum()))
    before, after = float(as_is.double().mean()), float(results[best].double().mean())
    low, _ = Counts.of(results[best], as_is).interval
    if low <= 0 or after < max(GOOD, before + MARGIN):
        return None
    return f"{before:.0%} as it is, {after:.0%} {best}: {CHANGES[best][1]}."


class OrientationChecks:
    """Advice of the shipped model on digit sets, computed once for each; safe for many threads.

    model: reads the model; called when the first set is checked.
    """

    def __init__(self, model: Callable[[], Classifier]) -> None:
        self._model = cache(model)
        self._lock = threading.Lock()
        # Guarded by _lock, as is the computation: one at a time leaves the processor to others.
        self._advice: LRUCache[str, str | None] = LRUCache(256)

    def advice(self, digit_set: DigitSet) -> str | None:
        """Return ``orientation_advice`` for the set. Raises CheckpointError without the model."""
        with self._lock:
            if digit_set.fingerprint not in self._advice:
                advice = orientation_advice(self._model(), digit_set)
                self._advice[digit_set.fingerprint] = advice
            return self._advice[digit_set.fingerprint]
