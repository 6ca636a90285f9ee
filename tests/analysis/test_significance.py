"""Significance tests against scipy and statsmodels."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from digitcnn.analysis.significance import detectable_difference, holm, mcnemar


@pytest.mark.parametrize(
    ("a", "b"), [(0, 1), (1, 1), (0, 6), (3, 14), (16, 10), (60, 105), (400, 401), (4_000, 4_321)]
)
def test_mcnemar_agrees_with_scipy_and_statsmodels(a: int, b: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

    assert mcnemar(a, b) == pytest.approx(binomtest(a, a + b).pvalue, rel=1e-9)
    expected = statsmodels_mcnemar([[50, a], [b, 7]], exact=True).pvalue
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_without_discordant_images_is_one_and_far_apart_is_not_below_zero() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 5_000) == 0
    assert mcnemar(0, 1_000) == pytest.approx(2.0**-999)


@pytest.fixture
def little_garbage() -> Iterator[None]:
    """Statsmodels collects garbage at every call: not among all that the tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("little_garbage")
def test_holm_agrees_with_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    generator = torch.Generator().manual_seed(3)
    for count in range(1, 29):
        values = torch.rand(count, generator=generator).pow(4).double().tolist()
        expected = multipletests(values, method="holm")[1]
        assert holm(values) == pytest.approx(expected.tolist())
    assert holm([]) == []


@pytest.mark.parametrize(("n", "discordant"), [(10_000, 26), (10_000, 300), (100, 40), (280, 9)])
def test_the_detectable_difference_solves_connors_sample_size(n: int, discordant: int) -> None:
    share = discordant / n

    def size(d: float) -> float:
        root = math.sqrt(share - d * d)
        return ((norm.ppf(0.975) * math.sqrt(share) + norm.ppf(0.8) * root) / d) ** 2

    expected = brentq(lambda d: size(d) - n, 1e-9, share)
    assert detectable_difference(n, discordant) == pytest.approx(expected, rel=1e-6)


def test_a_detectable_difference_is_seen_four_times_in_five() -> None:
    n, discordant = 2_000, 200
    d = detectable_difference(n, discordant)
    p, seen = discordant / n, 0
    shares = torch.tensor([1 - p, (p + d) / 2, (p - d) / 2])
    draws = torch.multinomial(
        shares, 400 * n, replacement=True, generator=torch.Generator().manual_seed(0)
    ).view(400, n)
    for draw in draws:
        seen += mcnemar(int((draw == 1).sum()), int((draw == 2).sum())) < 0.05
    assert 0.72 < seen / 400 < 0.88


def test_too_few_discordant_images_detect_nothing() -> None:
    assert [math.isnan(detectable_difference(10_000, k)) for k in (0, 1, 5, 7, 8)] == [
        True, True, True, True, False,
    ]  # fmt: skip
    assert math.isnan(detectable_difference(0, 0))
