"""Augmentation: ranges, reproducibility, and agreement with torchvision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from digitcnn.digits.augment import Augmentation, augment
from digitcnn.digits.digit_set import DigitSet

NOTHING = Augmentation(rotation=0, shift=0, scale=0, shear=0, thicken=0, blur=0, distorted=0, far=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_augmentation_leaves_every_pixel(drawn: DigitSet) -> None:
    changed = augment(drawn.images, NOTHING, generator())
    torch.testing.assert_close(changed, drawn.images.float(), atol=0.05, rtol=0)


def test_augmented_images_keep_shape_and_range(drawn: DigitSet) -> None:
    changed = augment(drawn.images, Augmentation(), generator())
    assert changed.shape == drawn.images.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255.01


def test_the_same_generator_draws_the_same_changes(drawn: DigitSet) -> None:
    first, again, other = (
        augment(drawn.images, Augmentation(), generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_image_is_changed_by_its_own_draw() -> None:
    one = torch.zeros(64, 28, 28, dtype=torch.uint8)
    one[:, 6:22, 13:15] = 255
    changed = augment(one, Augmentation(), generator())
    assert len(changed.unique(dim=0)) == 64


@pytest.mark.parametrize(
    ("augmentation", "largest"),
    [
        (replace(NOTHING, rotation=12), 12.0),
        (replace(NOTHING, shear=0.2), 11.4),
    ],
)
def test_a_bar_leans_by_at_most_the_given_angle(augmentation: Augmentation, largest: float) -> None:
    bar = torch.zeros(200, 28, 28, dtype=torch.uint8)
    bar[:, 4:24, 13:15] = 255
    changed = augment(bar, augmentation, generator())
    rows = torch.arange(28.0)
    centres = (changed * rows).sum(2) / changed.sum(2).clamp(min=1)
    lean = torch.rad2deg(torch.atan((centres[:, 20] - centres[:, 8]) / 12)).abs()
    assert lean.max() <= largest + 1
    assert lean.max() >= largest - 2


def test_a_shift_moves_the_ink_by_at_most_its_share(drawn: DigitSet) -> None:
    only_shift = replace(NOTHING, shift=0.08)
    dot = torch.zeros(300, 28, 28, dtype=torch.uint8)
    dot[:, 13:15, 13:15] = 255
    changed = augment(dot, only_shift, generator())
    columns = (changed.sum(1) * torch.arange(28.0)).sum(1) / changed.sum((1, 2))
    moved = (columns - 13.5).abs()
    assert moved.max() == pytest.approx(0.08 * 28, abs=0.1)


def test_a_third_is_thickened_and_a_third_is_blurred(drawn: DigitSet) -> None:
    strokes = replace(NOTHING, thicken=1 / 3, blur=1 / 3)
    images = drawn.images[:300]
    changed = augment(images, strokes, generator())
    more_ink = changed.sum((1, 2)) > images.float().sum((1, 2)) * 1.005
    same = (changed - images.float()).abs().amax((1, 2)) < 0.1
    assert more_ink[:100].float().mean() > 0.9
    assert not same[100:200].any()
    assert same[200:].all()


def test_a_share_is_distorted_and_stays_in_range(drawn: DigitSet) -> None:
    images = drawn.images[:200]
    changed = augment(images, replace(NOTHING, distorted=0.3), generator())
    same = (changed - images.float()).abs().amax((1, 2)) < 0.1
    assert same[:140].all()
    assert same[140:].float().mean() < 0.1
    assert changed.min() >= 0
    assert changed.max() <= 255.01


def test_blur_agrees_with_two_box_filters_of_another_library(drawn: DigitSet) -> None:
    images = drawn.images[:30]
    changed = augment(images, replace(NOTHING, blur=1), generator())
    box = torch.full((1, 1, 3, 3), 1 / 9)
    smooth = images.float().unsqueeze(1)
    for _ in range(2):
        smooth = torch.nn.functional.conv2d(smooth, box, padding=1)
    smooth = smooth.squeeze(1)
    original = images.float()
    share = ((changed - original) * (smooth - original)).sum((1, 2)) / (
        (smooth - original).square().sum((1, 2))
    )
    expected = original.lerp(smooth, share[:, None, None])
    torch.testing.assert_close(changed, expected, atol=0.1, rtol=0)
    assert (share >= -0.001).all()
    assert (share <= 1.001).all()


def test_rotation_agrees_with_torchvision() -> None:
    bar = torch.zeros(1, 28, 28, dtype=torch.uint8)
    bar[:, 4:24, 13:15] = 255
    turn = replace(NOTHING, rotation=12)
    draw = torch.rand(1, 5, generator=generator(3))[0, 0].mul(2).sub(1)
    changed = augment(bar, turn, generator(3))
    expected = reference.rotate(
        bar.float(), float(12 * draw), interpolation=reference.InterpolationMode.BILINEAR
    )
    assert (changed - expected).abs().mean() < 0.5
