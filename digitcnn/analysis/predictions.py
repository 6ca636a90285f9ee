"""The predictions of one classifier on one digit set, from one forward pass.

Metrics, stability and figures use them and do not run the classifier again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from digitcnn.analysis.disk_cache import DiskCache
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.network.classifier import Classifier, require
from digitcnn.network.model import Network
from digitcnn.shared_cache import Progress, SharedCache, unwatched

# On one core of an EPYC in float32: 5,500 images/s in batches of 50 to 200, 3,700 in batches of 10
# or 400. An accelerator needs more work at a time.
CPU_BATCH, ACCELERATOR_BATCH = 100, 2000

# On disk, where only logits are stored, and in memory: two sets of 55,000 images with features.
DISK_BYTES, MEMORY_BYTES = 500_000_000, 150_000_000
# First bytes of a cache file.
MAGIC = b"digitcnn logits 1\n"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The outputs of one classifier for one digit set; tensors on the CPU.

    digits, split, fingerprint: of the set. digest: of the classifier. logits: float32 [N, 10].
    features: float32 [N, F], the inputs of dropout and the last layer; None where only the logits
    are known. labels: uint8 [N].
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
    def predicted(self) -> Tensor:
        """The predicted digits: int64 [N]."""
        return self.logits.argmax(dim=1)

    @property
    def right(self) -> Tensor:
        """Whether each prediction equals its label: bool [N]."""
        return self.predicted == self.labels

    @property
    def size(self) -> int:
        """Bytes of logits and features."""
        return self.logits.nbytes + (0 if self.features is None else self.features.nbytes)

    def take(self, rows: Tensor | slice) -> Predictions:
        """Return the predictions for some of the images, without features."""
        return replace(self, logits=self.logits[rows], features=None, labels=self.labels[rows])

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return the softmax of the logits divided by ``temperature``: float64 [N, 10]."""
        return torch.softmax(self.logits.double() / temperature, dim=1)


def predict(
    classifier: Classifier,
    digit_set: DigitSet,
    *,
    digest: str = "",
    batch_size: int | None = None,
    progress: Progress = unwatched,
    keep_features: bool | None = None,
) -> Predictions:
    """Run one forward pass over ``digit_set`` in float32, on the classifier's device.

    batch_size: images per forward pass; None uses the fastest for the device. The result takes
    1.3 KB per image with features and 40 bytes without.
    progress: called with images done and images in all after every batch; what it raises ends the
    pass. keep_features: None keeps them where the classifier has them.
    Raises ValueError for a network in training mode, which other threads may share, so it is not
    switched here; CapabilityError for features that the classifier does not have.
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
    features = None
    if isinstance(fast, Network) and keep_features is not False:
        features = torch.empty(n, fast.feature_count)
    with torch.inference_mode():
        for start in range(0, n, batch):
            stop = min(start + batch, n)
            images = digit_set.images[start:stop].to(device)
            if features is not None and isinstance(fast, Network):
                hidden = fast.features(fast.prepare(images))
                features[start:stop] = hidden
                logits[start:stop] = fast.output(hidden)
            else:
                logits[start:stop] = fast.logits(images)
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
    """Predictions by classifier and digit set: logits in ``folder``, features in memory.

    Thread-safe. Requests for predictions that are being computed wait for them and get their
    progress. See ``DiskCache``.
    """

    def __init__(self, folder: Path, memory_limit: int = MEMORY_BYTES) -> None:
        self.files = DiskCache(folder, ".logits", MAGIC, DISK_BYTES, "predictions")
        self._memory: SharedCache[str, Predictions] = SharedCache(
            memory_limit, lambda predictions: predictions.size
        )

    def get(
        self,
        classifier: Classifier,
        digest: str,
        digit_set: DigitSet,
        *,
        progress: Progress = unwatched,
        features: bool = False,
    ) -> Predictions:
        """Return the predictions of the classifier with that digest, computed where unknown.

        features: whether ``Predictions.features`` is needed; otherwise it may be None.
        Raises what ``predict`` and ``progress`` raise, and ValueError for an empty digest, which
        all classifiers would share.
        """
        if not digest:
            raise ValueError("predictions are stored by the classifier's digest, which is empty")
        key = f"{digest}-{digit_set.fingerprint}"

        def compute(report: Progress) -> Predictions:
            logits = self.files.read(key, len(digit_set), CLASSES)
            if logits is not None and not features:
                own = (digit_set.name, digit_set.split, digit_set.fingerprint)
                return Predictions(*own, digest, logits, None, digit_set.labels)
            predictions = predict(
                classifier,
                digit_set,
                digest=digest,
                progress=report,
                keep_features=True if features else None,
            )
            if logits is not None:
                # Numbers shown before must not change, not even in the last bit.
                return replace(predictions, logits=logits)
            self.files.write(key, predictions.logits)
            return predictions

        predictions = self._memory.get(
            key,
            compute,
            progress=progress,
            accept=lambda known: known.features is not None or not features,
        )
        # The same images may be known under another name or split.
        return replace(predictions, digits=digit_set.name, split=digit_set.split)
