"""Exports answer as the network does: batch norms folded, an ONNX model, weights in a page."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sample_networks import random_network
from torch.nn import functional

import digitcnn
from digitcnn.digits import synthetic
from digitcnn.errors import ExportError
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network.checkpoint import INPUT_SCALINGS, Checkpoint, Details
from digitcnn.network.export import folded_weights, offline_page, onnx_model, write_file
from digitcnn.network.model import DigitCNN

SHIPPED = Path(digitcnn.__file__).parents[1] / "checkpoints" / "digitcnn-mnist.pt"


def random_checkpoint(
    seed: int = 0, name: str = "random", temperature: float | None = 0.5
) -> Checkpoint:
    """Random weights with statistics of batch norm, and factors of both signs."""
    network = random_network("digitcnn", seed)
    details = Details(digits="synthetic", temperature=temperature)
    digest = checkpoints.digest(network.state_dict())
    return Checkpoint(details=details, name=name, digest=digest, size=0, held=network)


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return checkpoints.load(SHIPPED)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return synthetic.draw("synthetic", "test", images=1500).images


@pytest.fixture(scope="module")
def onnxruntime() -> ModuleType:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error}: pip install -e '.[onnx]'")
    module: ModuleType = onnxruntime
    return module


def forward(network: DigitCNN, tensors: dict[str, torch.Tensor], images: torch.Tensor) -> object:
    """Logits by the folded tensors, layer by layer."""
    x = network.prepare(images)
    for conv in ("conv1", "conv2"):
        x = functional.conv2d(x, tensors[f"{conv}.weight"], tensors[f"{conv}.bias"], padding=1)
        x = functional.max_pool2d(x.relu(), 2)
    x = functional.linear(x.flatten(1), tensors["hidden.weight"], tensors["hidden.bias"]).relu()
    return functional.linear(x, tensors["output.weight"], tensors["output.bias"])


def logits_of(checkpoint: Checkpoint, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return checkpoint.network(checkpoint.network.prepare(images))


# --- folded -------------------------------------------------------------------------------------


def test_folded_weights_give_the_logits_of_the_network(images: torch.Tensor) -> None:
    found = random_checkpoint()
    tensors = folded_weights(found.network)
    assert sum(tensor.numel() for tensor in tensors.values()) == 1_026_058 - 2 * (32 + 64)
    torch.testing.assert_close(
        forward(found.network, tensors, images[:50]), logits_of(found, images[:50])
    )


# --- ONNX ---------------------------------------------------------------------------------------


def session_of(onnxruntime: ModuleType, content: bytes) -> object:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("n", [1, 7, 500])
def test_the_onnx_model_classifies_batches_of_any_size_with_the_temperature_applied(
    onnxruntime: ModuleType, shipped: Checkpoint, images: torch.Tensor, n: int
) -> None:
    session = session_of(onnxruntime, onnx_model.to_onnx(shipped))
    logits, probabilities = session.run(  # type: ignore[attr-defined]
        ["logits", "probabilities"], {"images": images[:n].float().numpy()}
    )
    expected = logits_of(shipped, images[:n]).numpy()
    assert logits.dtype == probabilities.dtype == np.float32
    assert np.abs(logits - expected).max() < 1e-4
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert shipped.details.temperature not in (None, 1.0)
    assert np.abs(probabilities - shipped.probabilities(images[:n]).numpy()).max() < 1e-5


def test_the_onnx_model_scales_its_input_as_the_network_does(
    onnxruntime: ModuleType, images: torch.Tensor
) -> None:
    mean, std = INPUT_SCALINGS["0 to 1"]
    found = random_checkpoint(temperature=None).scaled(mean, std, "0 to 1")
    agreement = onnx_model.check(onnx_model.to_onnx(found), found, images[:50])
    assert agreement.images == 50


def test_the_onnx_model_names_its_network(onnxruntime: ModuleType, shipped: Checkpoint) -> None:
    session = session_of(onnxruntime, onnx_model.to_onnx(shipped))
    said = session.get_modelmeta().custom_metadata_map  # type: ignore[attr-defined]
    assert said["name"] == "digitcnn-mnist"
    assert said["digest"] == shipped.digest
    assert said["training"] == shipped.details.claim()


def test_an_onnx_model_of_another_network_is_refused(
    onnxruntime: ModuleType, images: torch.Tensor
) -> None:
    content = onnx_model.to_onnx(random_checkpoint(seed=1))
    with pytest.raises(ExportError, match="was not written"):
        onnx_model.check(content, random_checkpoint(seed=2), images[:50])


@pytest.mark.parametrize(
    ("disagreements", "difference", "largest", "holds"),
    [
        (0, 9e-5, 1.0, True),
        (0, 2e-4, 1.0, False),
        (0, 2e-4, 100.0, True),
        (1, 0.0, 1.0, False),
        (0, float("nan"), 1.0, False),
    ],
)
def test_predictions_agree_within_the_rounding_of_float32(
    disagreements: int, difference: float, largest: float, holds: bool
) -> None:
    assert onnx_model.Agreement(10, disagreements, difference, largest).holds is holds


# --- the page -----------------------------------------------------------------------------------


def unpacked(table: list[dict[str, object]], weights: bytes) -> dict[str, torch.Tensor]:
    values = np.frombuffer(weights, dtype="<f2").astype(np.float32)
    ends = np.cumsum([row["count"] for row in table])[:-1]
    parts = np.split(values, ends)
    return {
        str(row["name"]): torch.from_numpy(part) * float(str(row["scale"]))
        for row, part in zip(table, parts, strict=True)
    }


def test_packed_weights_keep_eleven_bits_whatever_their_size() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    tensors = {
        "usual": values,
        "huge": values * 1e20,
        "tiny": values * 1e-20,
        "none": torch.zeros(3),
        "power": torch.tensor([2.0, -0.5]),
    }
    for name, tensor in unpacked(*offline_page.pack(tensors)).items():
        exact = tensors[name]
        assert (tensor - exact).abs().max() <= exact.abs().max() * 2**-11, name
    assert unpacked(*offline_page.pack(tensors))["power"].tolist() == [2.0, -0.5]


@pytest.mark.long
def test_packed_weights_predict_as_the_network(shipped: Checkpoint, images: torch.Tensor) -> None:
    folded = folded_weights(shipped.network)
    packed = {
        name: tensor.view(folded[name].shape)
        for name, tensor in unpacked(*offline_page.pack(folded)).items()
    }
    answers = forward(shipped.network, packed, images)
    expected = logits_of(shipped, images)
    assert isinstance(answers, torch.Tensor)
    assert torch.equal(answers.argmax(dim=1), expected.argmax(dim=1))
    assert (answers - expected).abs().max() < 0.02


def test_the_page_is_small_and_sends_no_request(shipped: Checkpoint) -> None:
    page = offline_page.to_page(shipped)
    assert len(page.encode()) < 4_000_000
    assert not re.search(r"https?:|\bsrc=|\bhref=|\burl\(|@import|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page


def test_the_policy_allows_only_the_pages_own_script_and_style(
    shipped: Checkpoint,
) -> None:
    page = offline_page.to_page(shipped)
    inside = [*re.findall(r"<script>(.*?)</script>", page, re.S)]
    inside += re.findall(r"<style>(.*?)</style>", page, re.S)
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in inside]
    policy = re.search(r'Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.findall(r"'sha256-([^']*)'", policy[1]) == digests
    assert len(digests) == 2


def test_the_page_shows_a_hostile_name_as_text() -> None:
    hostile = "</title><script>alert(1)</script>&amp;$style"
    page = offline_page.to_page(random_checkpoint(name=hostile))
    assert hostile not in page
    assert page.count("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;$style") == 2


def test_the_page_names_its_network(shipped: Checkpoint) -> None:
    page = offline_page.to_page(shipped)
    assert shipped.digest in page
    assert shipped.details.claim() in page
    assert re.search(r"\d\d\.\d\d% \(\d\d\.\d\d to \d\d\.\d\d\) on MNIST test images", page)
    bare = offline_page.to_page(random_checkpoint(temperature=None))
    assert "not calibrated" in bare
    model = re.search(r'id="model">(.*?)</script>', bare)
    assert model is not None
    assert json.loads(model[1])["temperature"] is None
    assert json.loads(model[1])["threshold"] is None
    assert "not rejected" in bare


# --- files --------------------------------------------------------------------------------------


def test_a_file_of_that_name_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("older")
    write_file(target, b"newer")
    assert target.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"page\.html cannot be written .* choose another place"):
        write_file(tmp_path / "nowhere" / "page.html", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match="cannot be written"):
        write_file(tmp_path / "folder", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
