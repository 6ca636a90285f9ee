from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from digitcnn.experiments.measuring import (
    accuracy,
    detectable_between_single_runs,
    difference,
    shifted,
)


def simulated(seeds: int, images: int, generator: torch.Generator) -> torch.Tensor:
    """Right predictions whose chance depends on seed, image and both: float64 chances [K, N]."""
    by_seed = 0.3 * torch.randn(seeds, 1, generator=generator)
    by_image = 2 * torch.randn(1, images, generator=generator)
    return torch.sigmoid(2 + by_seed + by_image)


def test_intervals_contain_the_true_difference_about_as_often_as_stated() -> None:
    """Two recipes that differ in nothing, tried 400 times with other seeds and images."""
    generator = torch.Generator().manual_seed(1)
    held = 0
    for _ in range(400):
        images = 2 * torch.randn(1, 200, generator=generator)
        right = []
        for _ in range(2):
            by_seed = 0.3 * torch.randn(3, 1, generator=generator)
            chance = torch.sigmoid(2 + by_seed + images)
            right.append(torch.rand(3, 200, generator=generator) < chance)
        estimate = difference(*right)
        held += estimate.low <= 0 <= estimate.high
    assert held >= 0.93 * 400


def test_more_seeds_that_disagree_widen_the_interval() -> None:
    alike = torch.zeros(3, 1000, dtype=torch.bool)
    alike[:, :900] = True
    unlike = alike.clone()
    unlike[0, :300] = False
    steady, shaky = accuracy(alike), accuracy(unlike)
    assert steady.mean == pytest.approx(0.9)
    assert shaky.high - shaky.low > 3 * (steady.high - steady.low)


def test_interval_has_a_width_even_where_two_recipes_never_differ() -> None:
    right = torch.ones(2, 50, dtype=torch.bool)
    estimate = difference(right, right)
    assert estimate.mean == 0
    assert estimate.low < 0 < estimate.high


def test_limit_for_single_runs_is_the_prediction_interval_of_a_difference() -> None:
    accuracies = [0.95, 0.96, 0.97]
    expected = stats.t.ppf(0.975, 2) * math.sqrt(2) * 0.01
    assert detectable_between_single_runs(accuracies) == pytest.approx(expected)


def test_images_are_moved_to_four_sides_without_wrapping() -> None:
    images = torch.zeros(4, 28, 28, dtype=torch.uint8)
    images[:, 14, 14] = 255
    images[:, 0, 0] = 9
    moved = shifted(images, 3)
    places = [tuple((one == 255).nonzero()[0].tolist()) for one in moved]
    assert places == [(17, 17), (17, 11), (11, 17), (11, 11)]
    assert int((moved == 9).sum()) == 1
    assert torch.equal(shifted(images, 0), images)
