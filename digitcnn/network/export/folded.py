"""The network's weights with batch norm folded into the convolutions, for other runtimes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from digitcnn.network.model import Network


@torch.no_grad()
def folded_weights(network: Network) -> dict[str, Tensor]:
    """Return the tensors of the same function, float32, contiguous, on the CPU.

    Named as in the state dict: weight and bias of every convolution and linear layer.
    """
    folded = copy.deepcopy(network).cpu().inference_copy()
    return {
        name: tensor.detach().float().contiguous() for name, tensor in folded.named_parameters()
    }
