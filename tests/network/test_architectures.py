"""Every network of the catalogue: its size, its parts, its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sample_networks import random_detector, random_network

from digitcnn.analysis.findings import Findings, measure_stabilities
from digitcnn.analysis.predictions import predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, CheckpointError
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN
from digitcnn.options import NETWORKS

PARAMETERS = {
    "digitcnn": 1_026_058,
    "lenet": 61_706,
    "mlp": 1_025_560,
    "linear": 7_850,
    "deep": 300_234,
}


def test_the_catalogue_has_the_names_of_the_option() -> None:
    assert tuple(ARCHITECTURES) == NETWORKS
    assert ARCHITECTURES[NETWORKS[0]] is DigitCNN


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_of_a_network_agree(name: str, drawn: DigitSet) -> None:
    network = random_network(name)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]
    x = network.prepare(drawn.images[:20])
    maps = network.maps(x)
    features = network.features_of(maps)
    assert features.shape == (20, network.feature_count)
    torch.testing.assert_close(network.output(features), network(x))
    copy = network.inference_copy()
    torch.testing.assert_close(copy(x), network(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(copy.logits(drawn.images[:20]), copy(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_names_its_network(name: str, tmp_path: Path, drawn: DigitSet) -> None:
    network = random_network(name)
    detector = random_detector()
    path = tmp_path / "a.pt"
    digest = checkpoints.save(path, network, Details(digits="synthetic"), detector)
    loaded = checkpoints.load(path)
    assert loaded.digest == digest
    assert type(loaded.network) is ARCHITECTURES[name]
    assert loaded.verdict.startswith(f"{name} network")
    images = drawn.images[:50]
    assert torch.equal(loaded.network.logits(images), network.logits(images))
    is_digit = loaded.classify(images).is_digit
    assert is_digit is not None
    assert torch.equal(is_digit, detector.passes(images))


def test_a_network_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoints.save(path, random_network("lenet"), Details(digits="synthetic"))
    content = torch.load(path, weights_only=True)
    for name in ("mlp", "digitcnn", "lenet-5"):
        content["architecture"]["name"] = name
        torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            checkpoints.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_offers_its_capabilities_and_names_missing_ones(
    name: str, drawn: DigitSet
) -> None:
    network = random_network(name)
    images = drawn.take(slice(0, 30))
    predictions = predict(network, images, keep_features=True)
    assert predictions.features is not None
    assert predictions.features.shape == (30, network.feature_count)
    findings = Findings("m", network, [images], [predictions])
    if name in ("digitcnn", "lenet", "deep"):
        assert findings.network is network
    else:
        with pytest.raises(CapabilityError, match="no convolutions"):
            findings.network  # noqa: B018
    if name in ("digitcnn", "mlp", "deep"):
        assert [one.passes for one in measure_stabilities(network, predictions, 2)] == [2, 2]
    else:
        with pytest.raises(CapabilityError, match="no dropout"):
            measure_stabilities(network, predictions, 2)
