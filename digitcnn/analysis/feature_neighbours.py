"""Nearest training digits as the network sees them: by distance in its penultimate features.

``neighbours`` asks the opposite question: it looks for label errors and duplicates, so it must not
follow the network and compares pixels. The last layer reads nothing but these features, so the
images near a sketch in them are those that the network classifies alike (the hidden layer's
embedding of Krizhevsky et al. 2012, section 6.1). So the index repeats the network's errors, and
makes them visible.

    FeatureIndex     the features of the training images; one query is one matrix product
    FeatureIndexes   those of several networks: built in the background, stored on disk
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from cachetools import LRUCache
from torch import Tensor

from digitcnn.analysis.disk_cache import DiskCache
from digitcnn.analysis.predictions import predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.network.classifier import Classifier
from digitcnn.network.model import FEATURES, Network
from digitcnn.shared_cache import Progress, unwatched

NEAREST = 9
# MNIST's 55,000 training images take 70 MB, on disk and in memory.
CACHE_BYTES = 200_000_000
INDEXES_HELD = 2
# Images per block: a fifth of a second of one core, so that predictions on the pad get their turn.
BLOCK = 1000
# Seconds for which a failure is reported before the next try.
SECONDS_BETWEEN_TRIES = 3.0
# First bytes of a cache file.
MAGIC = b"digitcnn features 2\n"
# Rounding in the product may swap nearly equal distances, so this many times k are measured again.
CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class FeatureIndex:
    """The features of the images that a network was trained on.

    training: those images. features: float32 [N, F].
    """

    training: DigitSet
    features: Tensor

    @cached_property
    def squares(self) -> Tensor:
        """The square of each row's length: float32 [N]."""
        return self.features.square().sum(dim=1)

    def nearest(self, query: Tensor, k: int = NEAREST) -> tuple[Tensor, Tensor]:
        """Return the ``k`` nearest images and their Euclidean distances, the nearest first.

        query: the features of one image, float32 [F]. Returns places among the training images,
        int64 [k], and distances, float32 [k]; fewer where the set is smaller. Exact: it compares
        every image, 12 ms for 55,000 on one core.
        """
        k = min(k, len(self.squares))
        # |f - q|^2 without |q|^2, which is the same for all.
        approximate = torch.addmv(self.squares, self.features, query, alpha=-2)
        places = approximate.topk(min(CANDIDATES * k, len(approximate)), largest=False).indices
        distances = (self.features[places] - query).norm(dim=1)
        distances, order = distances.sort(stable=True)
        return places[order[:k]], distances[:k]


def build_index(
    classifier: Classifier,
    training: DigitSet,
    *,
    block: int = BLOCK,
    progress: Progress = unwatched,
    sleep: Callable[[float], None] = time.sleep,
) -> FeatureIndex:
    """Build the index at half speed: it runs while someone draws.

    block: images at a time; after each block it sleeps for as long as the block took. progress:
    called with images done and images in all. Raises CapabilityError for a classifier without
    features, CheckpointError for features that are not finite.
    """
    parts = []
    for start in range(0, len(training), block):
        began = time.perf_counter()
        images = training.take(slice(start, min(start + block, len(training))))
        parts.append(predict(classifier, images, keep_features=True).features)
        sleep(time.perf_counter() - began)
        progress(start + len(images), len(training))
    features = torch.cat([part for part in parts if part is not None])
    if not bool(features.isfinite().all()):
        raise CheckpointError(
            "The features of this model contain NaN or infinity, so they have no nearest images; "
            "choose another model."
        )
    return FeatureIndex(training, features)


@dataclass(frozen=True)
class UnderWay:
    """An index that is not ready yet.

    mine: whether it is the requested one, and not another that is built before it. done, total:
    images; total is 0 until they are loaded.
    """

    mine: bool
    done: int = 0
    total: int = 0


class FeatureIndexes:
    """The indexes used last: two in memory, at most ``limit`` bytes on disk. Thread-safe.

    A background thread loads or builds one at a time; see ``DiskCache`` for the files.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit: int = CACHE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.files = DiskCache(folder, ".features", MAGIC, limit, "features")
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        # Guarded by the lock: what is ready, what is being built, what failed last and when.
        self._ready: LRUCache[str, FeatureIndex] = LRUCache(INDEXES_HELD)
        self._building: str | None = None
        self._step = (0, 0)
        self._failed: tuple[str, float, Exception] | None = None

    def ask(
        self, key: str, digest: str, classifier: Classifier, training: Callable[[], DigitSet]
    ) -> FeatureIndex | UnderWay:
        """Return the index if it is ready, else how far it is; never waits.

        key: identifies the classifier and its training images. digest: of the classifier.
        training: opens the images, in the background thread. Raises, for a few seconds, what made
        the last try fail: DigitSetError from ``training``, CapabilityError or CheckpointError.
        """
        with self._lock:
            index = self._ready.get(key)
            if index is not None:
                return index
            if self._failed is not None and self._failed[0] == key:
                if self._clock() - self._failed[1] < SECONDS_BETWEEN_TRIES:
                    raise self._failed[2]
                self._failed = None
            if self._building is None:
                self._building, self._step = key, (0, 0)
                threading.Thread(
                    target=self._load_or_fail,
                    args=(key, digest, classifier, training),
                    name="feature-index",
                    daemon=True,
                ).start()
            return UnderWay(self._building == key, *self._step)

    def _load_or_fail(
        self, key: str, digest: str, classifier: Classifier, training: Callable[[], DigitSet]
    ) -> None:
        result: FeatureIndex | Exception
        try:
            result = self._load(digest, classifier, training())
        except Exception as error:  # raised by the next request, in its own thread
            result = error
        with self._lock:
            self._building = None
            if isinstance(result, Exception):
                self._failed = key, self._clock(), result
            else:
                self._ready[key] = result

    def _load(self, digest: str, classifier: Classifier, training: DigitSet) -> FeatureIndex:
        name = f"{digest}-{training.fingerprint}"
        count = classifier.feature_count if isinstance(classifier, Network) else FEATURES
        features = self.files.read(name, len(training), count)
        if features is not None:
            return FeatureIndex(training, features)

        def progress(done: int, total: int) -> None:
            with self._lock:
                self._step = done, total

        index = build_index(classifier, training, progress=progress, sleep=self._sleep)
        self.files.write(name, index.features)
        return index
