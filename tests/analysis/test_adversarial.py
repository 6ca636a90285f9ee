"""The smallest change that changes a prediction, and the accuracy of a model under attack."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from digitcnn.analysis.adversarial import (
    PLACES,
    RADII,
    TRIES,
    accuracy_under_attack,
    attack,
    smallest_change,
)
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError
from digitcnn.network.classifier import Capability


class Halves:
    """Predicts 3 if the left half has more ink than the right, else 5; by one ink per point."""

    capabilities: frozenset[Capability] = frozenset({"gradients"})
    device = torch.device("cpu")

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def logits(self, images: Tensor) -> Tensor:
        pixels = images.float() / 255
        lead = self.scale * (pixels[:, :, :14].sum((1, 2)) - pixels[:, :, 14:].sum((1, 2)))
        logits = torch.full((len(images), 10), -100.0)
        logits = torch.cat([logits[:, :3], lead[:, None], logits[:, 4:5], -lead[:, None]], 1)
        return nn.functional.pad(logits, (0, 4), value=-100.0)

    def to(self, device: torch.device, /) -> Halves:
        return self

    def inference_copy(self) -> Halves:
        return self


def left_bar(height: int) -> Tensor:
    """Full ink in one column of the left half."""
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[:height, 7] = 255
    return image


def test_the_smallest_change_of_a_linear_model_is_close_to_the_known_one() -> None:
    # Gradients are even over all pixels that can move: from a lead of 6, with 784 pixels of which
    # few are blocked, the least norm is about 6 / sqrt(392 + 6), where paper cannot be lightened.
    found = smallest_change(Halves(), left_bar(6))
    assert found is not None
    assert (found.predicted, found.broken) == (3, 5)
    least = 6 / (392 + 6) ** 0.5
    assert least * 0.98 < found.size < least * 1.1


def test_the_line_runs_from_the_image_to_the_first_changed_one() -> None:
    image = left_bar(6)
    found = smallest_change(Halves(), image)
    assert found is not None
    assert found.images.shape == (PLACES, 28, 28)
    assert torch.equal(found.images[0], image)
    # Close to the end whole pixel values may round to the same image.
    assert found.logits.argmax(1)[: PLACES // 2].eq(3).all()
    assert int(found.logits[-1].argmax()) == 5
    change = (found.images[-1].float() - image.float()).norm() / 255
    assert float(change) == pytest.approx(found.size, rel=1e-4)


def test_noise_has_the_size_of_the_change_and_seldom_changes_the_prediction() -> None:
    image = left_bar(6)
    found = smallest_change(Halves(), image)
    assert found is not None
    noise = (found.noise_images[-1].float() - image.float()).norm() / 255
    assert float(noise) == pytest.approx(found.size, rel=0.05)
    assert found.noise_changed < TRIES / 4


def test_nothing_is_returned_where_no_change_is_large_enough() -> None:
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[:, :14] = 255  # a lead of 392, which no change of size 6 makes up for
    assert max(RADII) * 392**0.5 < 392
    assert smallest_change(Halves(), image) is None


def test_changes_stay_within_their_radius_and_within_paper_and_ink() -> None:
    # Nearly full ink on the right, which the attack would darken further, and nearly paper.
    almost = left_bar(28)
    almost[:, 1:10] = 255
    almost[:28, 20] = 254
    images = torch.stack([left_bar(6), left_bar(12), almost]).float()
    radii = torch.tensor([0.1, 0.2, 2.0])
    changes = attack(Halves(), images, torch.tensor([3, 3, 3]), radii)
    assert (changes.flatten(1).norm(dim=1) / 255 <= radii * 1.001).all()
    moved = images + changes
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 255


def bars() -> DigitSet:
    """Bars that the model reads, and one whose label is wrong from the start."""
    images = torch.stack([left_bar(height) for height in (2, 6, 10, 28)])
    return DigitSet(images, torch.tensor([3, 3, 3, 4], dtype=torch.uint8), "bars", "test")


def test_accuracy_falls_with_the_size_of_the_attack_and_less_with_noise() -> None:
    seen: list[tuple[int, int]] = []
    curve = accuracy_under_attack(
        Halves(), bars(), (0.05, 0.2, 0.4, 1.0), progress=lambda *step: seen.append(step)
    )
    assert curve.sizes == (0.0, 0.05, 0.2, 0.4, 1.0)
    assert curve.attacked == (3, 3, 2, 1, 0)
    assert curve.noise[0] == 3
    assert min(curve.noise) >= 2
    assert curve.n == 4
    assert curve.ink == pytest.approx(sum(height**0.5 for height in (2, 6, 10, 28)) / 4)
    assert seen == [(4, 16), (8, 16), (12, 16), (16, 16)]


def test_an_attack_ends_when_its_progress_raises() -> None:
    def end(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accuracy_under_attack(Halves(), bars(), progress=end)


def test_an_attack_needs_gradients() -> None:
    class Blind(Halves):
        capabilities: frozenset[Capability] = frozenset()

    with pytest.raises(CapabilityError, match="does not provide gradients"):
        smallest_change(Blind(), left_bar(6))
