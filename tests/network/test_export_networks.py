"""Exports of every network of the catalogue: an ONNX model, and the JavaScript of the page."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from sample_networks import random_detector, random_network
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import ExportError
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network.checkpoint import Checkpoint, Details
from digitcnn.network.export import onnx_model
from digitcnn.network.export.offline_page import to_page
from digitcnn.network.ood import OODDetector
from digitcnn.options import NETWORKS
from digitcnn.web import bundle

# Reads an exported page from standard input, and prints what its network makes of the images.
READER = """
import { readFileSync } from "node:fs";
import { classify, readTensors } from "./network.js";
const { page, images } = JSON.parse(readFileSync(0, "utf-8"));
const part = (id) => page.match(new RegExp(`<script[^>]*id="${id}"[^>]*>([^<]*)<`))[1];
const model = JSON.parse(part("model"));
const tensors = readTensors(model.tensors, part("weights"));
const answers = images.map((image) => classify(image, model, tensors));
console.log(JSON.stringify(answers.map(({ logits, isDigit }) => [Array.from(logits), isDigit])));
"""


def exported(name: str, folder: Path, images: Tensor) -> Checkpoint:
    """A checkpoint whose OOD detector accepts some of the images, none of them narrowly."""
    network = random_network(name)
    detector = random_detector()
    scores = detector.scores(images).sort().values
    quarter = len(scores) // 4
    gap = quarter + int(scores[quarter:-quarter].diff().argmax())
    threshold = scores[gap : gap + 2].mean()
    detector = OODDetector({**detector.tensors, "threshold": threshold})
    path = folder / "a.pt"
    checkpoints.save(path, network, Details(digits="synthetic", temperature=0.5), detector)
    return checkpoints.load(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_onnx_model_predicts_like_the_network(
    name: str, tmp_path: Path, drawn: DigitSet
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    checkpoint, other = exported(name, tmp_path, drawn.images), random_network(name, seed=5)
    content = onnx_model.to_onnx(checkpoint)
    assert onnx_model.check(content, checkpoint, drawn.images[:200]).images == 200
    changed = Checkpoint(details=checkpoint.details, name="b", digest="", size=0, held=other)
    with pytest.raises(ExportError):
        onnx_model.check(content, changed, drawn.images[:200])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is a development tool")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_page_predicts_like_the_network(name: str, tmp_path: Path, drawn: DigitSet) -> None:
    images = drawn.images[:20]
    checkpoint = exported(name, tmp_path, images)
    shutil.copy(bundle.FOLDER / "scripts" / "network.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "reader.js").write_text(READER)
    ran = subprocess.run(
        ["node", str(tmp_path / "reader.js")],
        input=json.dumps({"page": to_page(checkpoint), "images": images.flatten(1).tolist()}),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(ran.stdout)
    logits = torch.tensor([row for row, _ in answers])
    expected = checkpoint.classifier.logits(images)
    # The page's weights are float16.
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.01 * float(expected.abs().max()))
    is_digit = checkpoint.classify(images).is_digit
    assert is_digit is not None
    assert 5 <= int(is_digit.sum()) <= 15
    assert [accepted for _, accepted in answers] == is_digit.tolist()
