"""The OOD detector of a checkpoint: a small head that rejects non-digits.

It works on the network's last maps, or on its features where it has no convolutions: one hidden
layer, and eleven outputs, one per digit and one for
everything else, as in outlier exposure with a class of its own (Hendrycks et al. 2019, arXiv
1812.04606). An image is accepted as a digit when the log odds of "some digit" against "none" reach
the threshold. Training the head is left to ``analysis.ood``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network.model import MAPS
from digitcnn.network.reader import InvalidCheckpoint, TensorSpec, shown

HIDDEN = 128


class TensorType(NamedTuple):
    """A tensor's number type, by PyTorch's name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def tensor_types(maps: int) -> Mapping[str, TensorType]:
    """The type of each tensor of a detector for a network with that many numbers in its maps."""
    return {
        # In half precision it takes 0.8 MB for the default network where single would take 1.6.
        "hidden.weight": TensorType("float16", (HIDDEN, maps)),
        "hidden.bias": TensorType("float32", (HIDDEN,)),
        "output.weight": TensorType("float32", (CLASSES + 1, HIDDEN)),
        "output.bias": TensorType("float32", (CLASSES + 1,)),
        "threshold": TensorType("float32", ()),
    }


# Those for the default network.
TENSORS = tensor_types(MAPS)


@dataclass(frozen=True, eq=False)
class OODDetector:
    """The head's tensors by their names, as in ``TENSORS``, on the CPU; never changed."""

    tensors: Mapping[str, Tensor]

    @property
    def threshold(self) -> float:
        """The least score with which an image is accepted as a digit."""
        return float(self.tensors["threshold"])

    @torch.inference_mode()
    def scores(self, maps: Tensor) -> Tensor:
        """Log odds of "a digit" against "not a digit", for maps [N, M]: float32 [N], CPU."""
        own = self.tensors
        hidden = functional.linear(
            maps.float().cpu(), own["hidden.weight"].float(), own["hidden.bias"]
        )
        logits = functional.linear(hidden.relu(), own["output.weight"], own["output.bias"])
        return logits[:, :CLASSES].logsumexp(1) - logits[:, CLASSES]

    def passes(self, maps: Tensor) -> Tensor:
        """Whether each image, given by its maps [N, M], is accepted as a digit: bool [N]."""
        return self.scores(maps) >= self.tensors["threshold"]


def check_ood(content: Any, maps: int) -> None:
    """Raise InvalidCheckpoint unless a file describes exactly the tensors of an OODDetector.

    maps: numbers in the network's maps.
    """
    if not isinstance(content, dict) or set(content) != set(TENSORS):
        raise InvalidCheckpoint(
            "has an OOD detector from another version; copy or download it again, or train again"
        )
    for name, expected in tensor_types(maps).items():
        spec = content[name]
        if not isinstance(spec, TensorSpec) or (spec.dtype, spec.shape) != expected:
            raise InvalidCheckpoint(
                f"has an OOD detector whose tensor {shown(name)} has another type or shape than "
                "in this version of digitcnn; train it again"
            )


def checked_ood(tensors: Mapping[str, Tensor]) -> OODDetector:
    """The OODDetector of tensors that ``check_ood`` accepted. Raises InvalidCheckpoint."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InvalidCheckpoint(
                f"has NaN or infinite numbers in the tensor {shown(name)} of its OOD detector; "
                "train it again"
            )
    return OODDetector(dict(tensors))
