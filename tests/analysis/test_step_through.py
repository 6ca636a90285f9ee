"""The steps through a network are the network's own numbers."""

from __future__ import annotations

import pytest
import torch
from sample_networks import random_network
from torch.nn import functional

from digitcnn.analysis.step_through import step_through
from digitcnn.errors import CapabilityError


@pytest.mark.parametrize("name", ["digitcnn", "lenet"])
def test_the_steps_lead_to_the_networks_logits(name: str, drawn_image: torch.Tensor) -> None:
    network = random_network(name)
    steps = step_through(network, drawn_image)
    assert torch.allclose(steps.logits, network.logits(drawn_image[None])[0], atol=1e-5)
    assert torch.allclose(steps.weights @ steps.features + steps.bias, steps.logits, atol=1e-4)
    maps = steps.input[None, None]
    for block in steps.blocks:
        sums = functional.conv2d(maps, block.kernels, block.bias, padding=block.padding)[0]
        normed = sums * block.factor[:, None, None] + block.summand[:, None, None]
        pooled = functional.max_pool2d(normed.relu(), 2)
        assert torch.allclose(pooled, block.output, atol=1e-5)
        maps = block.output[None]


@pytest.mark.parametrize("name", ["mlp", "linear", "deep"])
def test_networks_of_another_form_are_refused_in_a_sentence(
    name: str, drawn_image: torch.Tensor
) -> None:
    with pytest.raises(CapabilityError, match="two convolution blocks"):
        step_through(random_network(name), drawn_image)


@pytest.fixture(scope="module")
def drawn_image(drawn: object) -> torch.Tensor:
    images: torch.Tensor = drawn.images  # type: ignore[attr-defined]
    return images[0]
