"""The panels 'Step through' and 'Break it' on the server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import torch
from running_app import ROOT

from digitcnn.digits import sketch
from digitcnn.network.checkpoint import load
from digitcnn.ui.models import Models
from digitcnn.ui.panels.break_it import broken_sketch
from digitcnn.ui.panels.step_through import stepped_sketch
from digitcnn.ui.sketches import SketchReader
from digitcnn.workspace import Workspace

CHECKPOINTS = ROOT / "checkpoints"
STROKES = [[[0.3, 0.25], [0.7, 0.25], [0.45, 0.8]]]
DRAWN = {"model": "digitcnn-mnist", "strokes": STROKES, "width": 0.065}
BLANK = {**DRAWN, "strokes": []}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> SketchReader:
    folder = tmp_path_factory.mktemp("panels")
    return SketchReader(
        Models(Workspace(data_dir, folder, CHECKPOINTS, folder / "feedback.sqlite3", device="cpu"))
    )


@pytest.fixture(scope="module")
def logits() -> torch.Tensor:
    """The shipped model's logits for the sketch, computed apart from the panels."""
    image = sketch.from_strokes(STROKES, 0.065)
    assert image is not None
    with torch.inference_mode():
        return load(CHECKPOINTS / "digitcnn-mnist.pt").network.logits(image[None])[0]


def floats(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32)


def test_the_steps_end_in_the_models_own_scores(reader: SketchReader, logits: torch.Tensor) -> None:
    reply = stepped_sketch(reader, DRAWN)
    assert torch.allclose(torch.tensor(reply["logits"]), logits, atol=1e-4)
    assert reply["temperature"] == load(CHECKPOINTS / "digitcnn-mnist.pt").temperature != 1
    weights = floats(reply["weights"]["weights"]).view(10, -1)
    scores = weights @ floats(reply["features"]) + torch.tensor(reply["weights"]["bias"])
    assert torch.allclose(scores, logits, atol=1e-4)
    assert [len(floats(output)) for output in reply["outputs"]] == [32 * 14 * 14, 64 * 7 * 7]


def test_weights_that_the_page_has_are_not_sent_again(reader: SketchReader) -> None:
    first = stepped_sketch(reader, DRAWN)
    again = stepped_sketch(reader, {**DRAWN, "known": first["digest"]})
    assert "weights" in first
    assert "weights" not in again


def test_a_broken_sketch_goes_from_its_prediction_to_another(
    reader: SketchReader, logits: torch.Tensor
) -> None:
    reply = broken_sketch(reader, DRAWN)
    answer = int(logits.argmax())
    first, last = reply["probabilities"][0], reply["probabilities"][-1]
    assert reply["answer"] == answer == first.index(max(first))
    assert reply["broken"] == last.index(max(last)) != answer
    images = base64.b64decode(reply["images"])
    assert len(images) == len(base64.b64decode(reply["noise_images"])) == 21 * 784
    assert f"turns the {answer} into a {reply['broken']}" in reply["sentence"]


@pytest.mark.parametrize("function", [stepped_sketch, broken_sketch])
def test_an_empty_sketch_has_nothing_to_show(reader: SketchReader, function: Any) -> None:
    assert function(reader, BLANK) == {"blank": True}
