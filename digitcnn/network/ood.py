"""The OOD detector of a checkpoint: a small network of its own, which rejects non-digits.

Its input is the 28x28 image, not the classifier's features: a classifier trained on digits alone
learns few features that separate digits from other characters. So one detector serves all networks.
It has eleven outputs, one per digit and one for non-digits, trained with outlier exposure
(Hendrycks et al. 2019, arXiv 1812.04606). The score is the log odds of "some digit" against
"not a digit"; an image is accepted as a digit if its score reaches the threshold.

``benchmarks.detector`` trains the weights, which are in ``ood_detector.npz`` and the same for every
model. Training a model only fits the threshold to its held-out images, which takes a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.sketch import from_images
from digitcnn.network.model import Conv, Layer, Linear, MaxPool, ReLU, channels_last_filters
from digitcnn.network.reader import InvalidCheckpoint, TensorSpec, shown
from digitcnn.network.reader.tensors import read_tensors

WEIGHTS_FILE = Path(__file__).with_name("ood_detector.npz")

# Batch norms are folded into the convolutions.
LAYERS: tuple[Layer, ...] = (
    Conv("conv1", 1, 16, 3, 1),
    MaxPool(),
    ReLU(),
    Conv("conv2", 16, 32, 3, 1),
    MaxPool(),
    ReLU(),
    Conv("conv3", 32, 64, 3, 1),
    ReLU(),
    Conv("conv4", 64, 64, 3, 1),
    MaxPool(),
    ReLU(),
    Linear("hidden", 64 * 3 * 3, 64),
    ReLU(),
    Linear("output", 64, CLASSES + 1),
)

# Share of the held-out images that are accepted as digits.
PASS_SHARE = 0.99
# Images scored at a time; bounds the work area to 5 MB.
BATCH = 100


class TensorType(NamedTuple):
    """A tensor's dtype, by PyTorch's name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def _tensor_types() -> Mapping[str, TensorType]:
    # In half precision the weights take 0.2 MB of each checkpoint.
    types = {"threshold": TensorType("float32", ())}
    for layer in LAYERS:
        if isinstance(layer, (Conv, Linear)):
            kernel = (layer.kernel, layer.kernel) if isinstance(layer, Conv) else ()
            types[f"{layer.name}.weight"] = TensorType(
                "float16", (layer.outputs, layer.inputs, *kernel)
            )
            types[f"{layer.name}.bias"] = TensorType("float32", (layer.outputs,))
    return types


TENSORS = _tensor_types()
# The tensors of the earlier detector, a head on the classifier's feature maps.
EARLIER = {"hidden.weight", "hidden.bias", "output.weight", "output.bias", "threshold"}


class OODDetector:
    """Score how much images look like digits. Immutable; runs on the CPU.

    tensors: by name, with the dtypes and shapes in ``TENSORS``.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self._weights = {
            name: channels_last_filters(tensor.float()) if tensor.ndim == 4 else tensor.float()
            for name, tensor in tensors.items()
        }

    @property
    def threshold(self) -> float:
        """The lowest score at which an image is accepted as a digit."""
        return float(self.tensors["threshold"])

    @torch.inference_mode()
    def scores(self, images: Tensor) -> Tensor:
        """Return the log odds of "a digit" against "not a digit": float32 [N], on the CPU.

        images: [N, 28, 28] from 0 to 255, any dtype and device.
        """
        parts = [self._logits(part) for part in images.cpu().split(BATCH)]
        logits = torch.cat(parts) if parts else torch.empty(0, CLASSES + 1)
        return logits[:, :CLASSES].logsumexp(1) - logits[:, CLASSES]

    def passes(self, images: Tensor) -> Tensor:
        """Return whether each image [N, 28, 28] is accepted as a digit: bool [N]."""
        return self.scores(images) >= self.tensors["threshold"]

    def with_threshold(self, threshold: float) -> OODDetector:
        """Return the same detector with another threshold."""
        return OODDetector({**self.tensors, "threshold": torch.tensor(threshold)})

    def fitted(self, held_out: Tensor) -> OODDetector:
        """Return this detector with its threshold fitted to held-out images, uint8 [N, 28, 28].

        The new threshold accepts ``PASS_SHARE`` of the images in sketch framing, or all if there
        are fewer than a hundred. It is never above the current one: easy digits, such as generated
        ones, must not make the detector stricter on other people's.
        """
        framed = from_images(held_out)
        scores = self.scores(framed[framed.flatten(1).amax(1) > 0]).sort().values
        if len(scores) == 0:
            return self
        rejected = math.floor(round((1 - PASS_SHARE) * len(scores), 6))
        # Midway to the next lower score, so that rounding errors do not reject an accepted image.
        pair = scores[max(rejected - 1, 0) : rejected + 1]
        fitted = float(pair.mean()) if rejected else float(pair[0]) - 0.01
        return self.with_threshold(min(fitted, self.threshold))

    def _logits(self, images: Tensor) -> Tensor:
        own = self._weights
        x = images.unsqueeze(1).float() / 255
        for layer in LAYERS:
            if isinstance(layer, Conv):
                x = functional.conv2d(
                    x, own[f"{layer.name}.weight"], own[f"{layer.name}.bias"], padding=layer.padding
                )
            elif isinstance(layer, Linear):
                x = functional.linear(
                    x.flatten(1), own[f"{layer.name}.weight"], own[f"{layer.name}.bias"]
                )
            elif isinstance(layer, MaxPool):
                x = functional.max_pool2d(x, 2)
            else:
                x = functional.relu(x)
        return x


@cache
def shipped_detector() -> OODDetector:
    """Return the detector that ships with digitcnn, with the threshold fitted to MNIST."""
    with np.load(WEIGHTS_FILE, allow_pickle=False) as file:
        return OODDetector({name: torch.from_numpy(file[name]) for name in TENSORS})


def read_ood(content: Any) -> OODDetector:
    """Read the detector that a file declares, with ``TENSORS``. Raises InvalidCheckpoint.

    The earlier detector, a head on the feature maps, is replaced by ``shipped_detector``, which is
    more accurate and independent of the classifier.
    """
    names = set(content) if isinstance(content, dict) else set()
    if names == EARLIER:
        return shipped_detector()
    if names != set(TENSORS):
        raise InvalidCheckpoint(
            "has an OOD detector from another version; copy or download it again, or train again"
        )
    for name, expected in TENSORS.items():
        spec = content[name]
        if not isinstance(spec, TensorSpec) or (spec.dtype, spec.shape) != expected:
            raise InvalidCheckpoint(
                f"has an OOD detector whose tensor {shown(name)} has another type or shape than "
                "in this version of digitcnn; train it again"
            )
    tensors = read_tensors(content)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InvalidCheckpoint(
                f"has NaN or infinite numbers in the tensor {shown(name)} of its OOD detector; "
                "train it again"
            )
    return OODDetector(tensors)
