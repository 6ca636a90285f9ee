"""The part of a checkpoint that tells digits from what is no digit; it needs no digit set.

A small head on the network's last maps: one hidden layer, and eleven outputs, one per digit and
one for everything else, as in outlier exposure with a class of its own (Hendrycks et al. 2019,
arXiv 1812.04606). An image passes as a digit when the log odds of "some digit" against "none"
reach the threshold. How head and threshold are found is left to ``analysis.ood``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network import gate
from digitcnn.network.claims import Claim, Refused, shown
from digitcnn.network.model import MAPS

HIDDEN = 128

# In half precision the largest takes 0.8 MB where single would take 1.6.
TENSORS: Mapping[str, Claim] = {
    "hidden.weight": Claim("float16", (HIDDEN, MAPS)),
    "hidden.bias": Claim("float32", (HIDDEN,)),
    "output.weight": Claim("float32", (CLASSES + 1, HIDDEN)),
    "output.bias": Claim("float32", (CLASSES + 1,)),
    "threshold": Claim("float32", ()),
}


@dataclass(frozen=True, eq=False)
class OODDetector:
    """The head's tensors by their names, as in ``TENSORS``, on the CPU; never changed."""

    tensors: Mapping[str, Tensor]

    @property
    def threshold(self) -> float:
        """The least score with which an image passes as a digit."""
        return float(self.tensors["threshold"])

    @torch.inference_mode()
    def scores(self, maps: Tensor) -> Tensor:
        """Log odds of "a digit" against "no digit", for maps [N, 3136]: float32 [N], on the CPU."""
        own = self.tensors
        hidden = functional.linear(
            maps.float().cpu(), own["hidden.weight"].float(), own["hidden.bias"]
        )
        logits = functional.linear(hidden.relu(), own["output.weight"], own["output.bias"])
        return logits[:, :CLASSES].logsumexp(1) - logits[:, CLASSES]

    def passes(self, maps: Tensor) -> Tensor:
        """Whether each image, given by its maps [N, 3136], passes as a digit: bool [N]."""
        return self.scores(maps) >= self.tensors["threshold"]


def check_ood(content: Any) -> None:
    """Raises Refused unless a file claims exactly the tensors of an OODDetector."""
    if not isinstance(content, dict) or set(content) != set(TENSORS):
        raise Refused(
            "has no-digit statistics other than those of this version of digitcnn; copy or "
            "download it again, or train anew"
        )
    for name, wanted in TENSORS.items():
        if content[name] != wanted:
            raise Refused(
                f"has the tensor {shown(name)} of its no-digit statistics in another type, shape "
                "or layout than this version of digitcnn writes; train it again"
            )


def checked_ood(content: Mapping[str, Any]) -> OODDetector:
    """The OODDetector of tensors whose claims were agreed to. Raises Refused."""
    tensors = {}
    for name, claim in TENSORS.items():
        tensor = gate.check_tensor(name, content[name], claim)
        if not bool(torch.isfinite(tensor).all()):
            raise Refused(
                f"has NaN or infinite numbers in the tensor {shown(name)} of its no-digit "
                "statistics; train it again"
            )
        tensors[name] = tensor
    return OODDetector(tensors)
