"""The fused first block against the plain layers: results, gradients, statistics, limits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.network.architectures import Deep
from digitcnn.network.fused_first_block import applies, conv_norm_pool_relu
from digitcnn.network.model import DigitCNN, Network


@pytest.fixture
def layers() -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution and a batch norm, some of whose weights are negative."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return conv, norm


@pytest.fixture
def images() -> Tensor:
    """More images than fit into one part; ten of them are blank in the upper half."""
    torch.manual_seed(1)
    images = torch.randn(40, 1, 28, 28)
    images[:10, :, :13] = -0.4242
    return images


def results(
    layers: tuple[nn.Conv2d, nn.BatchNorm2d], images: Tensor, fused: bool, autocast: bool = False
) -> dict[str, Tensor]:
    """Return the output of two batches, the gradients of both and the running statistics."""
    conv, norm = (copy.deepcopy(layer).to(images.dtype) for layer in layers)
    block = conv_norm_pool_relu if fused else plain
    outputs = []
    for batch in (images, images.flip(3) + 1):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs.append(block(batch, conv, norm).double())
    output = torch.cat(outputs)
    output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(2)).double())
    found = {"output": output.detach(), "mean": norm.running_mean, "variance": norm.running_var}
    parameters = {"filters": conv.weight, "weight": norm.weight, "bias": norm.bias}
    found |= {name: value.grad for name, value in parameters.items()}
    assert int(norm.num_batches_tracked) == 2
    return {name: value.double() for name, value in found.items()}


def plain(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    return functional.relu(functional.max_pool2d(norm(conv(x)), 2))


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_float32_results_match_the_plain_layers_in_double_precision(
    layers: tuple[nn.Conv2d, nn.BatchNorm2d], images: Tensor, momentum: float | None
) -> None:
    layers[1].momentum = momentum
    expected = results(layers, images.double(), fused=False)
    found = results(layers, images, fused=True)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert error(value, expected[name]) < 1e-6, name


def test_bfloat16_results_are_as_exact_as_those_of_the_plain_layers(
    layers: tuple[nn.Conv2d, nn.BatchNorm2d], images: Tensor
) -> None:
    expected = results(layers, images.double(), fused=False)
    usual = results(layers, images, fused=False, autocast=True)
    found = results(layers, images, fused=True, autocast=True)
    for name, value in found.items():
        assert error(value, expected[name]) < 1.1 * error(usual[name], expected[name]), name


@pytest.mark.parametrize("architecture", [DigitCNN, Deep])
def test_a_network_in_training_has_the_gradients_of_the_plain_layers(
    architecture: type[Network], images: Tensor
) -> None:
    network = architecture(generator=torch.Generator().manual_seed(0)).train()
    network.dropout = None
    # In double precision every layer is the plain one.
    exact = copy.deepcopy(network).double()
    for learner in (network, exact):
        learner(images.to(learner.output.weight.dtype)).pow(2).mean().backward()
    for (name, found), expected in zip(network.named_parameters(), exact.parameters(), strict=True):
        if name.startswith("conv") and name.endswith("bias"):
            continue  # batch norm cancels the bias: its gradient is 0 but for rounding
        assert found.grad is not None
        assert expected.grad is not None
        assert error(found.grad, expected.grad) < 1e-3, name


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_give_nan_outputs(
    layers: tuple[nn.Conv2d, nn.BatchNorm2d], images: Tensor, broken: float
) -> None:
    conv, norm = layers
    with torch.no_grad():
        conv.weight[3] = broken
        assert conv_norm_pool_relu(images, conv, norm).isnan().any()


def test_block_applies_only_to_its_own_kind_of_layers_and_images(
    layers: tuple[nn.Conv2d, nn.BatchNorm2d], images: Tensor
) -> None:
    conv, norm = layers
    assert applies(images, conv, norm)
    assert not applies(images.double(), conv, norm)
    assert not applies(images.to("meta"), conv, norm)
    assert not applies(images[:, :, 1:], conv, norm)
    assert not applies(images[:0], conv, norm)
    assert not applies(images.clone().requires_grad_(), conv, norm)
    assert not applies(images, nn.Conv2d(1, 8, 5, padding=2), norm)
    assert not applies(images, nn.Conv2d(1, 8, 3), norm)
    assert not applies(images, nn.Conv2d(1, 8, 3, padding=1, stride=2), norm)
    assert not applies(images, nn.Conv2d(1, 8, 3, padding=1, dilation=2), norm)
    assert not applies(images, nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect"), norm)
    assert not applies(images, nn.Conv2d(1, 8, 3, padding=1, bias=False), norm)
    assert not applies(images, conv, nn.BatchNorm2d(8, affine=False))
    assert not applies(images, conv, nn.BatchNorm2d(8, track_running_stats=False))
    assert not applies(images, conv, nn.Identity())
    assert not applies(images, conv, norm.eval())
