"""What one network says of one digit set: one forward pass, which every number and figure reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.model import DigitCNN

# Maps of this many images fit a processor's cache better than larger batches' do.
BATCH = 500


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers of one network to one digit set; tensors on the CPU.

    digits, split, fingerprint: of the set. digest: of the network.
    logits: float32 [N, 10]. features: float32 [N, 320], the penultimate features before dropout.
    labels: uint8 [N].
    """

    digits: str
    split: str
    fingerprint: str
    digest: str
    logits: Tensor
    features: Tensor
    labels: Tensor


def predict(
    network: DigitCNN,
    digit_set: DigitSet,
    *,
    digest: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """One forward pass over ``digit_set`` on the network's device.

    progress: called with images done and images in all after every batch.
    Raises ValueError for a network in training mode: it may be shared with other threads, so it
    is not switched here.
    """
    if network.training:
        raise ValueError("predict needs a network in evaluation mode: call eval() where it is made")
    device = network.output.weight.device
    features, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(digit_set), BATCH):
            images = digit_set.images[start : start + BATCH].to(device)
            inputs = network.prepare(images).contiguous(memory_format=torch.channels_last)
            batch = network.features(inputs)
            features.append(batch.cpu())
            logits.append(network.output(batch).float().cpu())
            if progress is not None:
                progress(min(start + BATCH, len(digit_set)), len(digit_set))
    return Predictions(
        digit_set.name,
        digit_set.split,
        digit_set.fingerprint,
        digest,
        torch.cat(logits),
        torch.cat(features),
        digit_set.labels,
    )
