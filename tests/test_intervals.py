"""Intervals of a proportion and of a difference, against scipy, published examples, their ends."""

from __future__ import annotations

import itertools
import math

import pytest
from scipy.stats import binomtest

from digitcnn.intervals import (
    newcombe_difference,
    newcombe_paired_difference,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n"),
    [(0, 1), (1, 1), (1, 2), (0, 10), (7, 10), (10, 10), (9_957, 10_000), (39_123, 40_000)],
)
def test_the_interval_agrees_with_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = wilson_interval(successes, n)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)


def test_intervals_of_small_samples_contain_the_share_within_zero_and_one() -> None:
    for n in range(1, 60):
        for successes in range(n + 1):
            low, high = wilson_interval(successes, n)
            assert 0.0 <= low <= successes / n <= high <= 1.0
            assert low < high


def test_a_published_example_is_reproduced() -> None:
    # Newcombe (1998), Statistics in Medicine 17, 857-872, table I: 81 of 263, method 3.
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_intervals_of_extreme_shares_end_exactly_at_zero_and_one() -> None:
    assert wilson_interval(0, 3)[0] == 0.0
    assert wilson_interval(3, 3)[1] == 1.0


def test_an_empty_sample_is_undefined() -> None:
    low, high = wilson_interval(0, 0)
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, -1)])
def test_impossible_counts_are_rejected(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_published_differences_are_reproduced(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10.
    low, high = newcombe_difference(*counts)
    assert (round(low, 4), round(high, 4)) == expected


def test_swapping_the_samples_mirrors_the_difference() -> None:
    low, high = newcombe_difference(9_941, 10_000, 2_311, 2_998)
    mirrored = newcombe_difference(2_311, 2_998, 9_941, 10_000)
    assert (-high, -low) == pytest.approx(mirrored)


def test_a_difference_from_an_empty_sample_is_undefined() -> None:
    assert all(math.isnan(bound) for bound in newcombe_difference(0, 0, 3, 4))
    assert all(math.isnan(bound) for bound in newcombe_difference(3, 4, 0, 0))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Fagerland, Lydersen and Laake (2017), Statistical Analysis of Contingency Tables, chapter
        # 8: Bentur et al. (2009), Cavo et al. (2012), the Newcombe square-and-add interval.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        ((59, 6, 16, 80), (-0.119, -0.005)),
    ],
)
def test_published_paired_intervals_are_reproduced(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    low, high = newcombe_paired_difference(*counts)
    assert (round(low, 3), round(high, 3)) == expected


def test_paired_intervals_of_small_samples_contain_the_difference_and_mirror() -> None:
    for n in range(1, 9):
        for both, a, b in itertools.product(range(n + 1), repeat=3):
            neither = n - both - a - b
            if neither < 0:
                continue
            low, high = newcombe_paired_difference(both, a, b, neither)
            assert -1 - 1e-12 <= low <= (a - b) / n <= high <= 1 + 1e-12
            assert low < high
            mirrored = newcombe_paired_difference(both, b, a, neither)
            assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-12)


def test_pairing_narrows_the_interval_of_agreeing_predictions() -> None:
    low, high = newcombe_paired_difference(9_900, 20, 10, 70)
    unpaired_low, unpaired_high = newcombe_difference(9_920, 10_000, 9_910, 10_000)
    assert high - low < 0.6 * (unpaired_high - unpaired_low)


def test_empty_paired_samples_are_undefined_and_negative_counts_rejected() -> None:
    assert all(map(math.isnan, newcombe_paired_difference(0, 0, 0, 0)))
    with pytest.raises(ValueError, match="expected none below 0"):
        newcombe_paired_difference(3, -1, 0, 0)
