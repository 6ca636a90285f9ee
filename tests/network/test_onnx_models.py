"""ONNX models are read in every usual form, and run as they were exported."""

from __future__ import annotations

import copy
import gc
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper
from PIL import Image
from sample_onnx import (
    FLOAT,
    NODES,
    arrays,
    expected,
    like_the_model_zoo,
    model,
    reshaping,
    saved,
    trained,
    training_digits,
)

from digitcnn.cli import main
from digitcnn.errors import CapabilityError, CheckpointError
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.network.checkpoint_folder import CheckpointFolder
from digitcnn.network.onnx_models import WORKERS, OnnxClassifier
from digitcnn.ui.dropped import save_dropped

ROOT = Path(__file__).parents[2]
make = helper.make_node


def opened(value: Any, name: str = "model.onnx") -> Checkpoint:
    return load(saved(value), name, digits=training_digits)


SHAPES: dict[str, tuple[Any, bool]] = {
    "28x28": ((28, 28), False),
    "1x28x28": ((1, 28, 28), False),
    "1x1x28x28": ((1, 1, 28, 28), False),
    "784": ((784,), False),
    "any number of 784": (("N", 784), False),
    "any number of 28x28": (("N", 28, 28), False),
    "16 at once": ((16, 1, 28, 28), False),
    "channels last": (("N", 28, 28, 1), True),
    "open sides": (("N", 1, "H", "W"), False),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_usual_shape_of_input_gives_the_network_s_logits(name: str) -> None:
    shape, channels_last = SHAPES[name]
    images = training_digits().images[:40]
    classifier = opened(reshaping(shape, channels_last=channels_last)).classifier
    assert torch.allclose(classifier.logits(images), expected(images), atol=1e-4)
    assert classifier.logits(images[:0]).shape == (0, 10)


def test_a_model_in_the_form_of_the_model_zoo_is_read() -> None:
    loaded = opened(like_the_model_zoo())
    images = training_digits().images[:30]
    assert torch.allclose(loaded.classifier.logits(images), expected(images, 1.0, 0.0), atol=1e-3)
    assert "input scaled to 0 to 255" in loaded.verdict
    assert "1 Conv, 1 MatMul, 4,138 parameters" in loaded.verdict


def test_probabilities_become_logits_and_a_dynamic_flatten_is_understood() -> None:
    """Like PyTorch's export of ``x.view(x.size(0), -1)`` and a softmax."""
    flatten = [
        make("Shape", ["m"], ["shape"]),
        make("Constant", [], ["zero"], value=helper.make_tensor("", TensorProto.INT64, [], [0])),
        make("Gather", ["shape", "zero"], ["size"], axis=0),
        make("Unsqueeze", ["size", "axes"], ["first"]),
        make("Concat", ["first", "rest"], ["to"], axis=0),
        make("Reshape", ["m", "to"], ["flat"]),
    ]
    nodes = [*NODES[:3], *flatten, NODES[4], make("Softmax", ["logits"], ["probabilities"], axis=1)]
    nodes[0] = make("Conv", ["images", *NODES[0].input[1:]], ["c"], pads=[2] * 4)
    weights = {**arrays(trained()), "axes": np.array([0]), "rest": np.array([-1])}
    loaded = opened(model(nodes, weights, output=("probabilities", FLOAT, ["N", 10])))
    images = training_digits().images[:70]
    found = loaded.classifier.logits(images).softmax(dim=1)
    assert torch.allclose(found, expected(images).softmax(dim=1), atol=1e-5)
    assert "gives probabilities" in loaded.verdict


def test_outputs_other_than_ten_scores_are_ignored() -> None:
    value = reshaping(("N", 784))
    value.graph.node.append(make("ArgMax", ["logits"], ["class"], axis=1))
    value.graph.output.insert(0, helper.make_tensor_value_info("class", TensorProto.INT64, None))
    value.graph.output.insert(1, helper.make_tensor_value_info("flat", FLOAT, None))
    images = training_digits().images[:9]
    found = opened(value).classifier.logits(images)
    assert torch.allclose(found, expected(images), atol=1e-4)


def test_a_batch_that_mixes_its_images_is_read_one_by_one() -> None:
    value = reshaping(("N", 784))
    value.graph.node.append(make("Softmax", ["logits"], ["mixed"], axis=0))
    value.graph.node.append(make("Mul", ["mixed", "nothing"], ["zeros"]))
    value.graph.node.append(make("Softmax", ["logits"], ["p"], axis=1))
    value.graph.node.append(make("Add", ["p", "mixed"], ["sum"]))
    value.graph.initializer.append(helper.make_tensor("nothing", FLOAT, [1], [0.0]))
    value.graph.output[0].name = "sum"
    loaded = opened(value)
    assert isinstance(loaded.classifier, OnnxClassifier)
    assert loaded.classifier.form.batch == 1


@pytest.fixture(scope="module")
def zoo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "without-suffix"
    path.write_bytes(saved(like_the_model_zoo()))
    return path


def test_an_onnx_model_has_its_files_digest_and_a_cache_key_with_the_inferred_form(
    zoo_file: Path,
) -> None:
    loaded = load(zoo_file, digits=training_digits)
    assert loaded.digest == hashlib.sha256(zoo_file.read_bytes()).hexdigest()
    assert loaded.key.startswith(loaded.digest)
    again = load(zoo_file, recipe=loaded.recipe, digits=pytest.fail)
    assert again.key == loaded.key
    images = training_digits().images[:5]
    assert torch.equal(again.classifier.logits(images), loaded.classifier.logits(images))
    assert isinstance(loaded.classifier, OnnxClassifier)
    other = loaded.classifier.form.input.__class__()
    assert loaded.classifier.with_form(input=other).form.digest != loaded.classifier.form.digest


def test_features_that_need_more_than_logits_are_refused_with_the_reason(
    zoo_file: Path, tmp_path: Path
) -> None:
    loaded = load(zoo_file, digits=training_digits)
    with pytest.raises(CapabilityError, match="is not digitcnn's network"):
        _ = loaded.network
    with pytest.raises(CheckpointError, match=r"ONNX model, which cannot be saved .*drop its file"):
        save_dropped(loaded, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    assert copy.deepcopy(loaded.classifier).to(torch.device("meta")) is loaded.classifier


def test_a_folder_rereads_an_onnx_model_on_request(zoo_file: Path, tmp_path: Path) -> None:
    (tmp_path / "stranger.pt").write_bytes(zoo_file.read_bytes())
    folder = CheckpointFolder(tmp_path, digits=training_digits)
    (listed,) = folder.list()
    assert isinstance(listed, Checkpoint)
    assert listed.held is None
    images = training_digits().images[:3]
    assert folder.get("stranger").classifier.logits(images).shape == (3, 10)


def test_the_process_of_an_onnx_model_ends_with_the_model(zoo_file: Path) -> None:
    gc.collect()
    before = WORKERS.count()
    loaded = load(zoo_file, digits=training_digits)
    assert WORKERS.count() > 0
    del loaded
    gc.collect()
    assert WORKERS.count() <= before


@pytest.mark.long
def test_commands_accept_an_onnx_model_like_any_other(
    zoo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = training_digits().images[0].numpy()
    image = tmp_path / "digit.png"
    Image.fromarray(255 - pixels).save(image)
    common = ["--data-dir", str(tmp_path), "--device", "cpu", "--json"]
    other = tmp_path / "other.onnx"
    other.write_bytes(saved(reshaping(("N", 784))))
    digits = ["--digits", "synthetic"]
    assert main(["evaluate", "--checkpoint", str(zoo_file), *digits, *common]) == 0
    assert main(["compare", str(zoo_file), str(other), *digits, *common]) == 0
    assert main(["predict", "--checkpoint", str(zoo_file), str(image), *common]) == 0
    said = capsys.readouterr()
    assert "ONNX model: 1 Conv" in said.err
    assert said.out.count("\n") >= 3
    assert main(["stability", "--checkpoint", str(zoo_file), *digits, *common]) == 2
    assert "no dropout layer" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_its_packages_one_sentence_says_what_to_install(
    package: str, zoo_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the process that runs the model, and for this one.
    (tmp_path / f"{package}.py").write_text(f"raise ImportError('No module named {package}')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CheckpointError, match=r"pip install -e '\.\[onnx\]'\.$"):
        load(zoo_file)
