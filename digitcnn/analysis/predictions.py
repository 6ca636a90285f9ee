"""What one network says of one digit set: one forward pass, which every number and figure reads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from digitcnn.analysis.disk_cache import DiskCache
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.network.classifier import Classifier, require
from digitcnn.network.model import FEATURES, DigitCNN

Progress = Callable[[int, int], None]

# On one core of an EPYC in float32: 5,500 images/s in batches of 100, as many in 50 to 200,
# 3,700 in 10 and in 400. An accelerator wants more work at a time.
CPU_BATCH, ACCELERATOR_BATCH = 100, 2000

CACHE_BYTES = 500_000_000
FEATURES_HELD = 3
# First bytes of a cache file; another number makes this version ignore what older ones wrote.
MAGIC = b"digitcnn logits 1\n"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers of one network to one digit set; tensors on the CPU.

    digits, split, fingerprint: of the set. digest: of the network.
    logits: float32 [N, 10]. features: float32 [N, 320], the penultimate features before dropout;
    None where only the logits were kept. labels: uint8 [N].
    """

    digits: str
    split: str
    fingerprint: str
    digest: str
    logits: Tensor
    features: Tensor | None
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def answers(self) -> Tensor:
        """The predicted digits: int64 [N]."""
        return self.logits.argmax(dim=1)

    @property
    def right(self) -> Tensor:
        """Which answers agree with the labels: bool [N]."""
        return self.answers == self.labels

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Softmax of the logits divided by ``temperature``: float64 [N, 10]."""
        return torch.softmax(self.logits.double() / temperature, dim=1)


def predict(
    classifier: Classifier,
    digit_set: DigitSet,
    *,
    digest: str = "",
    batch_size: int | None = None,
    progress: Progress | None = None,
    keep_features: bool | None = None,
) -> Predictions:
    """Run one forward pass over ``digit_set`` in float32, on the classifier's device.

    batch_size: images per forward pass; None picks the fastest for the device. Memory grows by the
    result (1.3 KB per image with features, 40 bytes without) and the maps of one batch.
    progress: called with images done and total images after every batch; what it raises ends the
    pass.
    keep_features: None keeps them where the classifier has them.
    Raises ValueError for a network in training mode: it may be shared with other threads, so it
    is not switched here; CapabilityError for features that the classifier does not have.
    """
    if getattr(classifier, "training", False):
        raise ValueError("predict needs a network in evaluation mode: call eval() where it is made")
    if keep_features:
        require(classifier, "features", "nothing that compares features can be shown")
    device = classifier.device
    batch = batch_size or (CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH)
    fast = classifier.inference_copy()
    n = len(digit_set)
    # Written in place: joining a list of batches at the end would need twice the memory.
    logits = torch.empty(n, CLASSES)
    with_features = isinstance(fast, DigitCNN) and keep_features is not False
    features = torch.empty(n, FEATURES) if with_features else None
    with torch.inference_mode():
        for start in range(0, n, batch):
            stop = min(start + batch, n)
            images = digit_set.images[start:stop].to(device)
            if features is not None and isinstance(fast, DigitCNN):
                hidden = fast.features(fast.prepare(images))
                features[start:stop] = hidden
                logits[start:stop] = fast.output(hidden)
            else:
                logits[start:stop] = fast.logits(images)
            if progress is not None:
                progress(stop, n)
    return Predictions(
        digit_set.name,
        digit_set.split,
        digit_set.fingerprint,
        digest,
        logits,
        features,
        digit_set.labels,
    )


class PredictionCache:
    """Predictions by network and digit set: logits in ``folder``, features in memory. Thread-safe.

    On disk are at most ``limit`` bytes, the oldest go first; in memory are the last three
    predictions with their features. Whoever asks for what is being computed waits for it and sees
    its progress. A file that cannot be read is made again; a folder that cannot be written costs
    time later, not the answer now, and leaves a line in the log.
    """

    def __init__(self, folder: Path, limit: int = CACHE_BYTES) -> None:
        self.files = DiskCache(folder, ".logits", MAGIC, limit, "predictions")
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Predictions] = OrderedDict()
        self._flights: dict[str, _Flight] = {}

    def get(
        self,
        classifier: Classifier,
        digest: str,
        digit_set: DigitSet,
        *,
        progress: Progress | None = None,
        features: bool = False,
    ) -> Predictions:
        """The predictions of the classifier with that digest, computed where they are not kept.

        features: whether ``Predictions.features`` is needed; otherwise it may be None.
        Raises what ``predict`` and ``progress`` raise; others who wait then compute themselves.
        Raises ValueError without a digest: all networks would share one place.
        """
        if not digest:
            raise ValueError("predictions are kept by the network's digest, but it is empty")
        key = f"{digest}-{digit_set.fingerprint}"
        while True:
            with self._lock:
                held = self._held.get(key)
                if held is not None:
                    self._held.move_to_end(key)
                    return _under_name_of(digit_set, held)
                flight = self._flights.get(key)
                leading = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
            if not leading:
                flight.wait(progress)
                continue
            try:
                return self._fetch(key, flight, classifier, digest, digit_set, progress, features)
            finally:
                with self._lock:
                    del self._flights[key]
                flight.land()

    def _fetch(
        self,
        key: str,
        flight: _Flight,
        classifier: Classifier,
        digest: str,
        digit_set: DigitSet,
        progress: Progress | None,
        features: bool,
    ) -> Predictions:
        logits = self._read(key, len(digit_set))
        if logits is not None and not features:
            return Predictions(
                digit_set.name,
                digit_set.split,
                digit_set.fingerprint,
                digest,
                logits,
                None,
                digit_set.labels,
            )

        def report(done: int, total: int) -> None:
            flight.report(done, total)
            if progress is not None:
                progress(done, total)

        found = predict(
            classifier,
            digit_set,
            digest=digest,
            progress=report,
            keep_features=True if features else None,
        )
        if logits is None:
            self.files.write(key, found.logits.numpy().astype("<f4").tobytes())
        else:
            # Numbers shown before stay as they were, whatever the last bit does this time.
            found = replace(found, logits=logits)
        with self._lock:
            self._held[key] = found
            while len(self._held) > FEATURES_HELD:
                self._held.popitem(last=False)
        return found

    def _read(self, key: str, n: int) -> Tensor | None:
        """The logits that were kept, float32 [n, 10]; None where there are none."""
        body = self.files.read(key, n * CLASSES * np.dtype("<f4").itemsize)
        if body is None:
            return None
        values = np.frombuffer(body, dtype="<f4").astype(np.float32)
        return torch.from_numpy(values).view(n, CLASSES)


class _Flight:
    """One computation under way: what those who wait for it need to know."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._step: tuple[int, int] | None = None
        self._landed = False

    def report(self, done: int, total: int) -> None:
        with self._changed:
            self._step = done, total
            self._changed.notify_all()

    def land(self) -> None:
        with self._changed:
            self._landed = True
            self._changed.notify_all()

    def wait(self, progress: Progress | None) -> None:
        """Until it landed; ``progress`` is called from the waiting thread, which it belongs to."""
        told = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._landed or self._step != told)  # noqa: B023
                step, landed = self._step, self._landed
            if progress is not None and step is not None and step != told:
                progress(*step)
            told = step
            if landed:
                return


def _under_name_of(digit_set: DigitSet, found: Predictions) -> Predictions:
    """The same images may be known under another name or split."""
    return replace(found, digits=digit_set.name, split=digit_set.split)
