"""The OOD detector: its scores and threshold, its tensors in a file, and its verdicts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sample_networks import random_detector
from torch.nn import functional

from digitcnn.cli import main
from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.sketch import from_image, from_images, from_strokes
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import load, save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.network.ood import EARLIER, TENSORS, WEIGHTS_FILE, shipped_detector
from digitcnn.network.own_format import FORMAT

DETAILS = Details(digits="synthetic", epochs=1, planned_epochs=1, state="finished")

# Things that people draw and that are not digits, as strokes on the pad.
DRAWN = {
    "X": [[(0.2, 0.1), (0.8, 0.9)], [(0.8, 0.1), (0.2, 0.9)]],
    "H": [[(0.2, 0.1), (0.2, 0.9)], [(0.8, 0.1), (0.8, 0.9)], [(0.2, 0.5), (0.8, 0.5)]],
    "E": [[(0.8, 0.1), (0.2, 0.1), (0.2, 0.9), (0.8, 0.9)], [(0.2, 0.5), (0.7, 0.5)]],
    "W": [[(0.1, 0.2), (0.3, 0.8), (0.5, 0.3), (0.7, 0.8), (0.9, 0.2)]],
    "star": [[(0.5, 0.1), (0.8, 0.9), (0.1, 0.4), (0.9, 0.4), (0.2, 0.9), (0.5, 0.1)]],
    "hash": [
        [(0.35, 0.1), (0.3, 0.9)],
        [(0.7, 0.1), (0.65, 0.9)],
        [(0.1, 0.35), (0.9, 0.35)],
        [(0.1, 0.65), (0.9, 0.65)],
    ],
}


# Scores


def test_shipped_detector_is_small_and_finite() -> None:
    tensors = shipped_detector().tensors
    for name, expected in TENSORS.items():
        assert (str(tensors[name].dtype), tuple(tensors[name].shape)) == (
            f"torch.{expected.dtype}",
            expected.shape,
        )
        assert bool(torch.isfinite(tensors[name]).all())
    assert WEIGHTS_FILE.stat().st_size < 300_000


def test_shipped_detector_accepts_digits_and_rejects_drawings() -> None:
    detector = shipped_detector()
    strangers = synthetic.draw("synthetic-other-writers", "test", images=300)
    assert float(detector.passes(from_images(strangers.images)).float().mean()) > 0.95
    drawings = {name: from_strokes(strokes, 0.065) for name, strokes in DRAWN.items()}
    accepted = [
        name
        for name, image in drawings.items()
        if image is not None and bool(detector.passes(image[None]))
    ]
    assert accepted == []


def test_scores_are_the_log_odds_in_float64(drawn: DigitSet) -> None:
    detector, images = random_detector(), drawn.images[:5]
    own = {name: tensor.double() for name, tensor in detector.tensors.items()}

    def convolved(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.conv2d(x, own[f"{name}.weight"], own[f"{name}.bias"], padding=1)

    x = images[:, None].double() / 255
    x = functional.relu(functional.max_pool2d(convolved(x, "conv1"), 2))
    x = functional.relu(functional.max_pool2d(convolved(x, "conv2"), 2))
    x = functional.relu(convolved(x, "conv3"))
    x = functional.relu(functional.max_pool2d(convolved(x, "conv4"), 2)).flatten(1)
    x = functional.relu(x @ own["hidden.weight"].T + own["hidden.bias"])
    none = torch.softmax(x @ own["output.weight"].T + own["output.bias"], 1)[:, 10]
    expected = torch.log1p(-none) - torch.log(none)
    assert detector.scores(images).tolist() == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-3)
    assert detector.scores(images[:0]).shape == (0,)


@pytest.mark.parametrize(("images", "rejected"), [(1, 0), (99, 0), (100, 1), (250, 2), (440, 4)])
def test_one_in_a_hundred_held_out_images_is_rejected(
    images: int, rejected: int, drawn: DigitSet
) -> None:
    detector = random_detector().with_threshold(math.inf).fitted(drawn.images[:images])
    framed = from_images(drawn.images[:images])
    assert int((~detector.passes(framed)).sum()) == rejected


def test_easy_held_out_images_do_not_raise_the_threshold(drawn: DigitSet) -> None:
    low = random_detector().with_threshold(-1e6)
    assert low.fitted(drawn.images).threshold == -1e6
    blank = torch.zeros(3, 28, 28, dtype=torch.uint8)
    assert low.fitted(blank).threshold == -1e6


def test_framing_one_by_one_agrees_with_framing_a_batch(
    drawn: DigitSet,
) -> None:
    images = torch.cat([drawn.images[:40], torch.zeros(1, 28, 28, dtype=torch.uint8)])
    together = from_images(images)
    for image, framed in zip(images, together, strict=True):
        alone = from_image(Image.fromarray(image.numpy()))
        expected = torch.zeros(28, 28, dtype=torch.uint8) if alone is None else alone
        assert (framed.int() - expected.int()).abs().max() <= 1


def test_coarse_digits_in_black_and_white_are_accepted(drawn: DigitSet) -> None:
    small = functional.interpolate(drawn.images[:, None].float(), (20, 20), mode="area")
    stairs = functional.pad((small[:, 0] > 80) * 255, (4, 4, 4, 4)).byte()
    assert float(shipped_detector().passes(from_images(stairs)).float().mean()) > 0.85


# Files


@pytest.fixture
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).eval()


def test_detector_round_trips_and_is_not_part_of_the_digest(
    tmp_path: Path, network: DigitCNN
) -> None:
    detector = random_detector()
    with_them = save(tmp_path / "with.pt", network, DETAILS, detector)
    without = save(tmp_path / "without.pt", network, DETAILS)
    assert with_them == without
    loaded = load(tmp_path / "with.pt")
    assert loaded.ood is not None
    for name, tensor in detector.tensors.items():
        assert torch.equal(loaded.ood.tensors[name], tensor)
    size = (tmp_path / "with.pt").stat().st_size - (tmp_path / "without.pt").stat().st_size
    assert size < 300_000
    bare = load(tmp_path / "without.pt")
    assert bare.ood is None
    image = torch.zeros(2, 28, 28, dtype=torch.uint8)
    image[0, 5:20, 9:12] = 255
    assert bare.classify(image).is_digit is None
    assert torch.equal(bare.probabilities(image), loaded.probabilities(image))


def test_predictions_carry_the_score_that_decides(
    tmp_path: Path, network: DigitCNN, drawn: DigitSet
) -> None:
    scores = random_detector().scores(drawn.images)
    detector = random_detector().with_threshold(float(scores.median()))
    save(tmp_path / "a.pt", network, DETAILS, detector)
    found = load(tmp_path / "a.pt").classify(drawn.images)
    assert found.digit_score is not None
    assert found.is_digit is not None
    assert torch.equal(found.digit_score, scores)
    assert torch.equal(found.is_digit, scores >= scores.median())
    assert 0 < int(found.is_digit.sum()) < len(drawn)


def test_shipped_detector_replaces_one_of_the_earlier_kind(
    tmp_path: Path, network: DigitCNN
) -> None:
    save(tmp_path / "a.pt", network, DETAILS, random_detector())
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["novelty"] = {name: torch.zeros(3) for name in EARLIER}
    torch.save(content, tmp_path / "earlier.pt")
    assert load(tmp_path / "earlier.pt").ood is shipped_detector()


BAD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a tensor is missing": lambda t: {name: t[name] for name in list(t)[1:]},
    "a tensor too many": lambda t: {**t, "extra": torch.zeros(1)},
    "another dtype": lambda t: {**t, "hidden.weight": t["hidden.weight"].float()},
    "another shape": lambda t: {**t, "hidden.bias": torch.zeros(65)},
    "not a number": lambda t: {**t, "threshold": torch.tensor(float("nan"))},
    "infinite": lambda t: {**t, "output.bias": torch.full((11,), float("inf"))},
    "a list": lambda t: list(t.values()),
    "a number": lambda t: 3,
    "nothing": lambda t: None,
    "no tensor": lambda t: {**t, "threshold": 0.5},
}


@pytest.mark.parametrize("what", BAD)
def test_detectors_that_are_not_ours_are_refused_in_one_sentence(
    tmp_path: Path, network: DigitCNN, what: str
) -> None:
    save(tmp_path / "good.pt", network, DETAILS, random_detector())
    content = torch.load(tmp_path / "good.pt", weights_only=True)
    assert content["format"] == FORMAT
    content["novelty"] = BAD[what](content["novelty"])
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"^bad\.pt has .*OOD detector.*\.$"):
        load(tmp_path / "bad.pt")


# The command


def test_predict_has_is_digit_only_with_a_detector(
    tmp_path: Path, network: DigitCNN, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, threshold in (("never", 1e9), ("always", -1e9)):
        ood = random_detector().with_threshold(threshold)
        save(tmp_path / f"{name}.pt", network, DETAILS, ood)
    save(tmp_path / "without.pt", network, DETAILS)
    picture = tmp_path / "a.png"
    page = Image.new("L", (60, 60), 255)
    page.paste(0, (25, 10, 33, 50))
    page.save(picture)

    def said(name: str, *options: str) -> str:
        checkpoint = str(tmp_path / f"{name}.pt")
        arguments = ["predict", "--device", "cpu", "--checkpoint", checkpoint, str(picture)]
        assert main([*arguments, *options]) == 0
        return capsys.readouterr().out

    found = {
        name: json.loads(said(name, "--json"))[str(picture)]
        for name in ("never", "always", "without")
    }
    assert found["never"]["is_digit"] is False
    assert found["always"]["is_digit"] is True
    assert "is_digit" not in found["without"]
    (digit,) = {answer["digit"] for answer in found.values()}
    assert said("never") == f"{picture}: not a digit, closest {digit}\n"
    assert said("always") == said("without")
