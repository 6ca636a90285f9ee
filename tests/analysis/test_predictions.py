from __future__ import annotations

import pytest
import torch

from digitcnn.analysis.predictions import predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.model import DigitCNN


@pytest.fixture
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)


def test_predictions_are_the_networks_own_answers(network: DigitCNN, drawn: DigitSet) -> None:
    steps: list[tuple[int, int]] = []
    found = predict(network, drawn, digest="d", progress=lambda *step: steps.append(step))
    inputs = network.prepare(drawn.images)
    torch.testing.assert_close(found.logits, network(inputs), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.features, network.features(inputs), rtol=1e-4, atol=1e-5)
    assert (found.digits, found.split, found.digest) == ("synthetic", "train", "d")
    assert found.fingerprint == drawn.fingerprint
    assert steps[-1] == (480, 480)


def test_a_network_in_training_mode_is_refused_and_left_as_it_is(drawn: DigitSet) -> None:
    network = DigitCNN()
    with pytest.raises(ValueError, match="evaluation mode"):
        predict(network, drawn)
    assert network.training
