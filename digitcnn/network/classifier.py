"""What every model can do: turn digit images into ten logits.

The rest of the product sees a ``Classifier``: a network of ours, or a stranger's network rebuilt
from its weights. Whoever needs more than logits asks ``require`` first, which raises one sentence
for a model that lacks it.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from digitcnn.errors import CapabilityError

# features    the inputs of the last layer (``Network.features``)
# maps        feature maps and filters of convolutions (``Network.block``, ``maps``)
# dropout     a dropout layer that can stay active at inference
# gradients   ``logits`` is differentiable with respect to float images
Capability = Literal["features", "maps", "dropout", "gradients"]

_MISSING: dict[Capability, str] = {
    "features": "does not expose the features of digitcnn's network",
    "maps": "has no convolutions whose feature maps can be shown",
    "dropout": "has no dropout layer that can stay active at inference",
    "gradients": "does not provide gradients",
}


@runtime_checkable
class Classifier(Protocol):
    """Turns images into ten logits; in evaluation mode, never changed, safe to share."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do besides logits."""

    @property
    def device(self) -> torch.device:
        """Where its weights are and its images have to be."""

    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, 10], for images [N, 28, 28] from 0 to 255, any dtype."""

    def to(self, device: torch.device, /) -> Any:
        """Move the weights to ``device``, in place. Returns itself."""

    def inference_copy(self) -> Classifier:
        """Return a model with the same logits that is as fast as possible, or itself."""


def require(classifier: Classifier, capability: Capability, purpose: str) -> None:
    """Raise CapabilityError where the classifier lacks a capability.

    purpose: what needs it, as the end of a sentence: "its dropout stability cannot be measured".
    """
    if capability not in classifier.capabilities:
        raise CapabilityError(f"This model {_MISSING[capability]}, so {purpose}.")
