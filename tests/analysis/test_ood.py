"""The OOD detector: its training on a small set, its tensors in a file, and its verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from digitcnn.analysis.ood import Distortion, distort, fit_ood_detector, with_threshold
from digitcnn.cli import main
from digitcnn.digits import non_digits, synthetic
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.sketch import from_image, from_images
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import FORMAT, Checkpoint, load, save
from digitcnn.network.details import Details
from digitcnn.network.device import Compute
from digitcnn.network.model import MAPS, DigitCNN
from digitcnn.network.ood import HIDDEN, TENSORS, OODDetector
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochEnd
from digitcnn.training.loop import train

NO_DISTORTION = Distortion(*[0] * len(fields(Distortion)))
DETAILS = Details(digits="synthetic", epochs=1, planned_epochs=1, state="finished")


def random_detector(seed: int = 0, **changes: torch.Tensor) -> OODDetector:
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(claim.shape, generator=generator).to(getattr(torch, claim.dtype))
        for name, claim in TENSORS.items()
    }
    return OODDetector({**tensors, **changes})


@pytest.fixture(scope="module")
def learned(drawn: DigitSet, cpu: Compute) -> tuple[DigitCNN, DigitSet, OODDetector, list[str]]:
    """A network trained on 440 generated digits, its held-out images, detector and progress."""
    training, held_out = split_held_out(drawn)
    config = TrainingConfig(digits="synthetic", epochs=4, batch_size=64)
    end = [step for step in train(config, training, held_out, cpu) if isinstance(step, EpochEnd)][
        -1
    ]
    network = DigitCNN()
    network.load_state_dict(end.snapshot.averaged)
    network.eval().requires_grad_(False)
    *progress, ood = fit_ood_detector(network, training, held_out, seed=0)
    assert isinstance(ood, OODDetector)
    return network, held_out, ood, [str(line) for line in progress]


# Training


def test_held_out_images_are_accepted_and_many_non_digits_rejected(
    learned: tuple[DigitCNN, DigitSet, OODDetector, list[str]],
) -> None:
    network, held_out, ood, _ = learned
    checkpoint = Checkpoint(DETAILS, "a", "0", 0, ood=ood, held=network)
    passed = checkpoint.answers(from_images(held_out.images)).is_digit
    assert passed is not None
    assert bool(passed.all())  # of fewer than a hundred all do
    strangers = synthetic.draw("synthetic-other-writers", "test", images=200)
    others = non_digits.draw(strangers, 300, np.random.default_rng(9))
    strange = checkpoint.answers(from_images(strangers.images)).is_digit
    none = checkpoint.answers(others).is_digit
    assert strange is not None
    assert none is not None
    assert strange.float().mean() - none.float().mean() > 0.2


def test_training_reports_progress_and_its_tensors_are_small_and_finite(
    learned: tuple[DigitCNN, DigitSet, OODDetector, list[str]],
) -> None:
    _, _, ood, progress = learned
    assert all(line.startswith("training the OOD detector: ") for line in progress)
    assert len(progress) > 4
    assert set(ood.tensors) == set(TENSORS)
    for name, claim in TENSORS.items():
        tensor = ood.tensors[name]
        assert (str(tensor.dtype), tuple(tensor.shape)) == (f"torch.{claim.dtype}", claim.shape)
        assert bool(torch.isfinite(tensor).all())
        assert not tensor.requires_grad
    assert sum(t.numel() * t.element_size() for t in ood.tensors.values()) < 1_000_000


def test_training_is_reproducible_and_changes_neither_network_nor_random_state(
    drawn: DigitSet,
) -> None:
    training, held_out = split_held_out(drawn, 40)
    network = DigitCNN(generator=torch.Generator().manual_seed(1)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()

    def fit(seed: int) -> OODDetector:
        *_, ood = fit_ood_detector(network, training, held_out, seed)
        assert isinstance(ood, OODDetector)
        return ood

    first, again, other = fit(3), fit(3), fit(4)
    assert all(torch.equal(first.tensors[name], again.tensors[name]) for name in TENSORS)
    assert not torch.equal(first.tensors["hidden.weight"], other.tensors["hidden.weight"])
    assert torch.equal(torch.get_rng_state(), state)
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_last_few_examples_of_a_round_may_be_of_one_kind(
    drawn: DigitSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, held_out = split_held_out(drawn, 40)
    for at_once in ("CHUNK", "BATCH"):
        monkeypatch.setattr(f"digitcnn.analysis.ood.{at_once}", 1)
    few = DigitSet(training.images[:1], training.labels[:1], "few", "train")
    *_, ood = fit_ood_detector(DigitCNN().eval(), few, held_out, seed=0)
    assert isinstance(ood, OODDetector)


@pytest.mark.parametrize(("images", "rejected"), [(1, 0), (99, 0), (100, 1), (250, 2), (1000, 10)])
def test_one_in_a_hundred_held_out_images_is_rejected(images: int, rejected: int) -> None:
    maps = torch.rand(images, MAPS, generator=torch.Generator().manual_seed(images))
    tensors = {name: t for name, t in random_detector().tensors.items() if name != "threshold"}
    ood = with_threshold(tensors, maps)
    assert int((~ood.passes(maps)).sum()) == rejected
    scores = ood.scores(maps).sort().values
    if rejected:
        assert float(scores[rejected - 1]) < ood.threshold < float(scores[rejected])


def test_scores_agree_with_the_log_odds_in_float64() -> None:
    ood = random_detector()
    maps = torch.rand(5, MAPS, generator=torch.Generator().manual_seed(2))
    own = {name: tensor.double() for name, tensor in ood.tensors.items()}
    hidden = (maps.double() @ own["hidden.weight"].T + own["hidden.bias"]).clamp(min=0)
    odds = torch.softmax(hidden @ own["output.weight"].T + own["output.bias"], 1)[:, 10]
    # The odds of a clear digit can be too small for a logarithm in float64.
    expected = torch.log1p(-odds) - torch.log(odds)
    finite = torch.isfinite(expected)
    assert ood.scores(maps)[finite].tolist() == pytest.approx(expected[finite].tolist(), rel=1e-4)


# Examples


def test_non_digits_are_of_every_kind_and_none_is_blank(
    drawn: DigitSet,
) -> None:
    images = non_digits.draw(drawn, 997, np.random.default_rng(0))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (997, 28, 28))
    assert int(images.flatten(1).amax(1).min()) > 200
    assert torch.equal(images, non_digits.draw(drawn, 997, np.random.default_rng(0)))
    for name, (_, make) in non_digits.KINDS.items():
        made = make(drawn, 12, np.random.default_rng(1))
        assert made.shape == (12, 28, 28), name
        assert len(np.unique(made.reshape(12, -1), axis=0)) == 12, name


def test_digits_that_stay_digits_when_rotated_are_not_used_rotated() -> None:
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[:, 4:24, 13:15] = 255
    ones = DigitSet(images, torch.tensor([1, 8], dtype=torch.uint8), "ones", "train")
    _, make = non_digits.KINDS["turned"]
    assert make(ones, 10, np.random.default_rng(0)).shape == (0, 28, 28)
    assert len(non_digits.draw(ones, 100, np.random.default_rng(0))) > 80


def test_distorted_images_are_in_range_and_zero_distortion_only_stretches(drawn: DigitSet) -> None:
    generator = torch.Generator().manual_seed(0)
    distorted = distort(drawn.images, Distortion(), generator)
    assert distorted.dtype == torch.float32
    assert float(distorted.min()) >= 0
    assert distorted.amax((1, 2)).tolist() == pytest.approx([255] * len(drawn), abs=1e-3)
    still = distort(drawn.images, NO_DISTORTION, generator)
    full = drawn.images.float()
    full = full * (255 / full.amax((1, 2), keepdim=True))
    assert (still - full).abs().max() < 0.1


def test_cropped_digits_are_centred_fill_twenty_pixels_and_stay_narrow() -> None:
    images = torch.zeros(60, 28, 28, dtype=torch.uint8)
    images[:30, 2:14, 3:7] = 255  # upright, off the middle
    images[30:, 20:24, 10:22] = 255  # lying
    boxed = distort(images, replace(NO_DISTORTION, boxed=1), torch.Generator().manual_seed(0))
    widths = set()
    for image in [*boxed[:30], *boxed[30:].transpose(1, 2)]:
        # Half-covered pixels count for what they hold.
        height, width = image.amax(1).sum() / 255, image.amax(0).sum() / 255
        assert 18.5 < height < 21.5
        assert 0.9 * height / 3 < width < 1.7 * height / 3
        widths.add(round(float(width)))
        for line in (image.sum(0), image.sum(1)):
            middle = (line * (torch.arange(28) + 0.5)).sum() / line.sum()
            assert middle == pytest.approx(14, abs=0.3)
    assert len(widths) > 2
    blank = distort(torch.zeros_like(images), replace(NO_DISTORTION, boxed=1), torch.Generator())
    assert not bool(blank.any())


def test_contrast_changes_greys_but_not_paper_and_ink(drawn: DigitSet) -> None:
    generator = torch.Generator().manual_seed(0)
    still = distort(drawn.images, NO_DISTORTION, generator)
    distorted = distort(drawn.images, replace(NO_DISTORTION, contrast=0.2), generator)
    grey = (still > 60) & (still < 200)
    assert (distorted - still)[grey].abs().mean() > 5
    assert (distorted - still)[still < 1e-3].abs().max() < 1
    assert distorted.amax((1, 2)).tolist() == pytest.approx([255] * len(drawn), abs=1e-3)


def test_framing_one_by_one_agrees_with_framing_a_batch(
    drawn: DigitSet,
) -> None:
    images = torch.cat([drawn.images[:40], torch.zeros(1, 28, 28, dtype=torch.uint8)])
    together = from_images(images)
    for image, framed in zip(images, together, strict=True):
        alone = from_image(Image.fromarray(image.numpy()))
        expected = torch.zeros(28, 28, dtype=torch.uint8) if alone is None else alone
        assert (framed.int() - expected.int()).abs().max() <= 1


# Files


@pytest.fixture
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).eval()


def test_detector_round_trips_and_is_not_part_of_the_digest(
    tmp_path: Path, network: DigitCNN
) -> None:
    statistics = random_detector()
    with_them = save(tmp_path / "with.pt", network, DETAILS, statistics)
    without = save(tmp_path / "without.pt", network, DETAILS)
    assert with_them == without
    loaded = load(tmp_path / "with.pt")
    assert loaded.ood is not None
    for name, tensor in statistics.tensors.items():
        assert torch.equal(loaded.ood.tensors[name], tensor)
    size = (tmp_path / "with.pt").stat().st_size - (tmp_path / "without.pt").stat().st_size
    assert size < 1_000_000
    bare = load(tmp_path / "without.pt")
    assert bare.ood is None
    image = torch.zeros(2, 28, 28, dtype=torch.uint8)
    image[0, 5:20, 9:12] = 255
    assert bare.answers(image).is_digit is None
    assert torch.equal(bare.probabilities(image), loaded.probabilities(image))


def test_is_digit_needs_no_second_forward_pass(tmp_path: Path, network: DigitCNN) -> None:
    save(tmp_path / "a.pt", network, DETAILS, random_detector())
    loaded = load(tmp_path / "a.pt")
    passes: list[Any] = []
    loaded.network.conv2.register_forward_hook(lambda *_: passes.append(1))
    found = loaded.answers(torch.full((3, 28, 28), 99, dtype=torch.uint8))
    assert len(passes) == 1
    assert found.is_digit is not None
    assert found.is_digit.shape == (3,)


BAD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a tensor is missing": lambda t: {name: t[name] for name in list(t)[1:]},
    "a tensor too many": lambda t: {**t, "extra": torch.zeros(1)},
    "another dtype": lambda t: {**t, "hidden.weight": t["hidden.weight"].float()},
    "another shape": lambda t: {**t, "hidden.bias": torch.zeros(HIDDEN + 1)},
    "not a number": lambda t: {**t, "threshold": torch.tensor(float("nan"))},
    "infinite": lambda t: {**t, "output.bias": torch.full((11,), float("inf"))},
    "a list": lambda t: list(t.values()),
    "a number": lambda t: 3,
    "nothing": lambda t: None,
    "no tensor": lambda t: {**t, "threshold": 0.5},
}


@pytest.mark.parametrize("what", BAD)
def test_statistics_that_are_not_ours_are_refused_in_one_sentence(
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
        ood = random_detector(threshold=torch.tensor(threshold))
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
