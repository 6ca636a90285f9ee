"""Nearest training digits as the network sees them: by distance in its 320 penultimate features.

Here, and not in ``neighbours``, because the two ask opposite questions. ``neighbours`` looks for
label errors and repeats, so it must not follow the network and compares pixels. This one shows
what the network goes by: the last layer reads nothing but these features, so the images that lie
near a drawing in them are the ones it takes for the same (the hidden layer's embedding of
Krizhevsky et al. 2012, section 6.1). It therefore agrees with the network's errors, and shows them.

    FeatureIndex     the features of the training images; one query is one matrix product
    FeatureIndexes   those of several networks: built in the background, kept on disk
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from digitcnn.analysis.disk_cache import DiskCache
from digitcnn.analysis.predictions import Progress, predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.network.model import FEATURES, DigitCNN

log = logging.getLogger(__name__)

NEAREST = 9
# MNIST's 55,000 training images are 35 MB on disk, as float16, and 70 MB in memory.
CACHE_BYTES = 100_000_000
INDEXES_HELD = 2
# A fifth of a second of one core's work; the pad's answers find it free in between.
BUILD_BLOCK = 1000
# Seconds that a failure is told before the next try.
SECONDS_BETWEEN_TRIES = 3.0
# First bytes of a cache file; another number makes this version ignore what older ones wrote.
MAGIC = b"digitcnn features 1\n"
# The product's rounding may swap places that are nearly equal; so many are measured again.
CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class FeatureIndex:
    """The features of the images that a network was trained on.

    training: those images. features: float32 [N, 320], rounded to float16. squares: float32 [N],
    the square of each row's length.
    """

    training: DigitSet
    features: Tensor
    squares: Tensor

    def nearest(self, query: Tensor, k: int = NEAREST) -> tuple[Tensor, Tensor]:
        """The ``k`` nearest images and their Euclidean distances, the nearest first.

        query: the features of one image, float32 [320]. Returns places among the training images,
        int64 [k], and distances, float32 [k]; fewer where the set is smaller. Exact, up to the
        rounding of the features: every image is looked at, 12 ms for 55,000 on one core.
        """
        k = min(k, len(self.squares))
        # |f - q|^2 without |q|^2, which is the same for all.
        rough = torch.addmv(self.squares, self.features, query, alpha=-2)
        places = rough.topk(min(CANDIDATES * k, len(rough)), largest=False).indices
        distances = (self.features[places] - query).norm(dim=1)
        distances, order = distances.sort(stable=True)
        return places[order[:k]], distances[:k]


def build_index(
    network: DigitCNN,
    training: DigitSet,
    *,
    block: int = BUILD_BLOCK,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> FeatureIndex:
    """The index of a network in evaluation mode, made at half speed.

    block: images at a time; after each block it sleeps for as long as that took, for it is made
    while somebody draws. progress: called with images done and in all. Raises CheckpointError for
    features that are no numbers.
    """
    features = torch.empty(len(training), FEATURES)
    for start in range(0, len(training), block):
        began = time.perf_counter()
        stop = min(start + block, len(training))
        found = predict(network, training.take(slice(start, stop))).features
        assert found is not None
        features[start:stop] = found
        sleep(time.perf_counter() - began)
        if progress is not None:
            progress(stop, len(training))
    if not bool(features.isfinite().all()):
        raise CheckpointError(
            "The features of this network are not all numbers, so nothing is near to anything in "
            "them; choose another model."
        )
    scale, rounded = _rounded(features)
    return _index(training, rounded, scale)


def _rounded(features: Tensor) -> tuple[float, Tensor]:
    """Features as a scale and float16 [N, 320] from 0 to 1, whatever their size."""
    scale = float(features.abs().max()) or 1.0
    return scale, (features / scale).half()


def _index(training: DigitSet, rounded: Tensor, scale: float) -> FeatureIndex:
    features = rounded.float().mul_(scale)
    return FeatureIndex(training, features, features.square().sum(dim=1))


@dataclass(frozen=True)
class UnderWay:
    """An index that is not there yet.

    mine: whether it is the one that was asked for, and not another that is built before it.
    done, total: images; total is 0 until they are read.
    """

    mine: bool
    done: int = 0
    total: int = 0


class FeatureIndexes:
    """The indexes of networks that were asked for lately. Thread-safe.

    One at a time is built or read, in a background thread. In memory are the last two that were
    asked for; on disk, in ``folder``, at most ``limit`` bytes, those unused for longest go first.
    A file that cannot be read is made again; a folder that cannot be written costs time later and
    leaves a line in the log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit: int = CACHE_BYTES,
        held: int = INDEXES_HELD,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.files = DiskCache(folder, ".features", MAGIC, limit, "features")
        self._most_held = held
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        # Guarded by the lock: what is ready, what is being made, what failed last and when.
        self._held: OrderedDict[str, FeatureIndex] = OrderedDict()
        self._making: str | None = None
        self._step = (0, 0)
        self._failed: tuple[str, float, Exception] | None = None

    def ask(
        self, key: str, digest: str, network: DigitCNN, training: Callable[[], DigitSet]
    ) -> FeatureIndex | UnderWay:
        """The index if it is there, else how far it is; never waits.

        key: names the network and its training images, as its checkpoint does. digest: of the
        network. training: opens the images, in the background thread.
        Raises, for a few seconds, what made the last try fail: DigitSetError from ``training``,
        or CheckpointError.
        """
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
                return found
            if self._failed is not None and self._failed[0] == key:
                if self._clock() - self._failed[1] < SECONDS_BETWEEN_TRIES:
                    raise self._failed[2]
                self._failed = None
            if self._making is None:
                self._making, self._step = key, (0, 0)
                threading.Thread(
                    target=self._make,
                    args=(key, digest, network, training),
                    name="feature-index",
                    daemon=True,
                ).start()
            return UnderWay(self._making == key, *self._step)

    def _make(
        self, key: str, digest: str, network: DigitCNN, training: Callable[[], DigitSet]
    ) -> None:
        made: FeatureIndex | Exception
        try:
            made = self._read_or_build(digest, network, training())
        except Exception as error:  # told to whoever asks next, in their own thread
            made = error
        with self._lock:
            self._making = None
            if isinstance(made, Exception):
                self._failed = key, self._clock(), made
                return
            self._held[key] = made
            while len(self._held) > self._most_held:
                self._held.popitem(last=False)

    def _read_or_build(self, digest: str, network: DigitCNN, training: DigitSet) -> FeatureIndex:
        name = f"{digest}-{training.fingerprint}"
        kept = self._read(name, training)
        if kept is not None:
            return kept

        def progress(done: int, total: int) -> None:
            with self._lock:
                self._step = done, total

        index = build_index(network, training, progress=progress, sleep=self._sleep)
        self._write(name, index)
        return index

    def _read(self, name: str, training: DigitSet) -> FeatureIndex | None:
        """The index that was kept; None where there is none."""
        body = self.files.read(name, 4 + 2 * FEATURES * len(training))
        if body is None:
            return None
        scale = float(np.frombuffer(body[:4], dtype="<f4")[0])
        rounded = np.frombuffer(body[4:], dtype="<f2").astype(np.float16)
        return _index(training, torch.from_numpy(rounded).view(-1, FEATURES), scale)

    def _write(self, name: str, index: FeatureIndex) -> None:
        # Rounded once already, so the same again; half the bytes of float32.
        scale, rounded = _rounded(index.features)
        body = np.float32(scale).astype("<f4").tobytes() + rounded.numpy().astype("<f2").tobytes()
        self.files.write(name, body)
