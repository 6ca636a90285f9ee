"""Distortions: what each kind does to a plain picture of a digit, and what it leaves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.distortions import _GROUP, KINDS, Kind, _in_groups, distort


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits(drawn: DigitSet) -> Tensor:
    return drawn.images[:160, None].float() / 255


def test_distorted_images_are_other_images_of_the_same_shape_and_range(digits: Tensor) -> None:
    before = digits.clone()
    changed = distort(digits, generator())
    assert changed.shape == digits.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert torch.equal(digits, before)
    assert ((changed - digits).abs().amax((1, 2, 3)) > 0.05).float().mean() > 0.9


def test_the_same_generator_draws_the_same_distortions(digits: Tensor) -> None:
    first, again, other = (distort(digits, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_few_images_can_be_distorted(digits: Tensor, count: int) -> None:
    assert len(distort(digits[:count], generator())) == count


@pytest.mark.parametrize("count", [1, _GROUP, 2 * _GROUP - 1, 2 * _GROUP, 3 * _GROUP + 1])
def test_a_small_batch_has_fewer_and_not_smaller_groups(digits: Tensor, count: int) -> None:
    order, draw = list(range(len(KINDS))), generator()
    parts = digits[:count].tensor_split(max(1, count // _GROUP))
    expected = [KINDS[kind](part, draw).clamp(0, 1) for kind, part in enumerate(parts)]
    assert torch.equal(_in_groups(digits[:count], order, generator()), torch.cat(expected))


def test_a_large_batch_has_a_group_of_each_kind(digits: Tensor) -> None:
    many, draw = digits.repeat(-(-_GROUP * (len(KINDS) + 2) // len(digits)), 1, 1, 1), generator()
    parts = many.tensor_split(len(KINDS))
    expected = [kind(part, draw).clamp(0, 1) for kind, part in zip(KINDS, parts, strict=True)]
    assert torch.equal(_in_groups(many, range(len(KINDS)), generator()), torch.cat(expected))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_every_kind_changes_each_image_by_its_own_draw(digits: Tensor, kind: Kind) -> None:
    changed = kind(digits, generator()).clamp(0, 1)
    assert changed.isfinite().all()
    assert ((changed - digits).abs().amax((1, 2, 3)) > 0.05).float().mean() > 0.6
    # What is written can still be distinguished from the paper, for most.
    assert (changed.flatten(1).std(1) > 0.03).float().mean() > 0.9
    same = digits[:1].expand(60, -1, -1, -1)
    # A group of images shares the size of its pixels.
    drawn = len(kind(same, generator()).unique(dim=0))
    assert drawn == 1 if kind.__name__ == "_coarse" else drawn > 30


def test_a_smear_keeps_the_amount_of_ink_where_it_does_not_restore_its_darkness() -> None:
    square = torch.zeros(200, 1, 28, 28)
    square[:, :, 12:16, 12:16] = 1
    kind = next(kind for kind in KINDS if kind.__name__ == "_smear")
    smeared = kind(square, generator())
    kept = smeared[smeared.amax((1, 2, 3)) < 0.98].sum((1, 2, 3))
    assert len(kept) > 80
    torch.testing.assert_close(kept, torch.full_like(kept, 16), rtol=0.08, atol=0)
