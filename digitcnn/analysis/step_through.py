"""Every number that a network of two convolution blocks computes for one image.

For people who follow it by eye: windows, kernels, sums, batch norm, ReLU, pooling, scores. The
numbers are those of evaluation mode; batch norm is given as a factor and a summand per map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digitcnn.errors import CapabilityError
from digitcnn.network.classifier import Classifier
from digitcnn.network.model import Conv, MaxPool, Network, ReLU


@dataclass(frozen=True, eq=False)
class ConvBlock:
    """One convolution with its batch norm, ReLU and 2x2 pooling, and its output for an image.

    kernels: [O, I, K, K]. bias, factor, summand: [O]; a sum s becomes ``(s + bias) * factor +
    summand``, with factors of 1 and summands of 0 where there is no batch norm. padding: pixels on
    each side. output: [O, H/2, W/2]. All float32.
    """

    kernels: Tensor
    bias: Tensor
    factor: Tensor
    summand: Tensor
    padding: int
    output: Tensor


@dataclass(frozen=True, eq=False)
class Steps:
    """All steps from an image to its scores.

    input: float32 [28, 28], as scaled for the network. blocks: two. features: [F]. weights:
    [10, F]; bias: [10]; logits: [10] = weights @ features + bias.
    """

    input: Tensor
    blocks: tuple[ConvBlock, ConvBlock]
    features: Tensor
    weights: Tensor
    bias: Tensor
    logits: Tensor


@torch.inference_mode()
def step_through(classifier: Classifier, image: Tensor) -> Steps:
    """Compute every step for ``image``, [28, 28] from 0 to 255.

    classifier: in evaluation mode, with batch norm not folded. Raises CapabilityError for one that
    is not made of two blocks of a convolution, pooling and ReLU.
    """
    plain = (Conv, MaxPool, ReLU)
    if not isinstance(classifier, Network) or [
        tuple(map(type, block)) for block in classifier.blocks
    ] != [plain, plain]:
        raise CapabilityError(
            "This panel follows networks of two convolution blocks, such as digitcnn and lenet; "
            "this model is built differently."
        )
    prepared = classifier.prepare(image[None])
    first = _block(classifier, 0, prepared)
    second = _block(classifier, 1, first.output[None])
    features = classifier.features_of(second.output.flatten()[None])[0]
    output = classifier.output
    return Steps(
        input=prepared[0, 0],
        blocks=(first, second),
        features=features,
        weights=output.weight.detach(),
        bias=output.bias.detach(),
        logits=output(features),
    )


def _block(network: Network, number: int, x: Tensor) -> ConvBlock:
    layer = network.blocks[number][0]
    assert isinstance(layer, Conv)
    conv = network.get_submodule(layer.name)
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    factor, summand = torch.ones(layer.outputs), torch.zeros(layer.outputs)
    if layer.norm:
        norm = network.get_submodule(layer.norm)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        summand = norm.bias - norm.running_mean * factor
    return ConvBlock(
        kernels=conv.weight.detach(),
        bias=conv.bias.detach(),
        factor=factor,
        summand=summand,
        padding=layer.padding,
        output=network.block(number, x)[0],
    )
