"""The weights of the network without its batch norms, for those who run it elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from digitcnn.network.model import DigitCNN


@torch.no_grad()
def folded_weights(network: DigitCNN) -> dict[str, Tensor]:
    """The eight tensors of the same function, float32, contiguous, on the CPU.

    By their names in the state dict: weight and bias of ``conv1`` [32, 1, 3, 3], ``conv2``
    [64, 32, 3, 3], ``hidden`` [320, 3136] and ``output`` [10, 320]. In evaluation mode batch norm
    is a factor and a summand for each channel, so it becomes part of the convolution before it;
    logits agree with the network's to a float32's rounding.
    """
    layers = {
        "conv1": fuse_conv_bn_eval(network.conv1, network.norm1),
        "conv2": fuse_conv_bn_eval(network.conv2, network.norm2),
        "hidden": network.hidden,
        "output": network.output,
    }
    return {
        f"{name}.{part}": tensor.detach().to("cpu", torch.float32).contiguous()
        for name, layer in layers.items()
        for part, tensor in layer.named_parameters()
    }
