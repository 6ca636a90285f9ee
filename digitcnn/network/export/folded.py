"""The network's weights with batch norm folded into the convolutions, for other runtimes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from digitcnn.network.model import DigitCNN


@torch.no_grad()
def folded_weights(network: DigitCNN) -> dict[str, Tensor]:
    """Return the eight tensors of the same function, float32, contiguous, on the CPU.

    Named as in the state dict: weight and bias of ``conv1`` [32, 1, 3, 3], ``conv2``
    [64, 32, 3, 3], ``hidden`` [320, 3136] and ``output`` [10, 320].
    """
    folded = copy.deepcopy(network).cpu().inference_copy()
    return {
        name: tensor.detach().float().contiguous() for name, tensor in folded.named_parameters()
    }
