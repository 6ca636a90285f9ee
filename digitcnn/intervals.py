"""95% intervals of proportions: pure arithmetic that metrics, comparison and feedback share.

It knows nothing of digits, networks or people, and imports nothing of ours.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# The standard normal's 97.5% point, 1.959964: a two-sided interval of 95%.
Z_95 = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95% Wilson score interval of ``successes`` out of ``n``, as fractions (low, high).

    Without continuity correction. All right or all wrong still gives an interval of positive
    width, within 0 to 1, which the usual normal approximation does not. (nan, nan) when n is 0.
    Raises ValueError when the counts cannot be counts of one sample.

    Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    if not 0 <= successes <= n:
        raise ValueError(
            f"{successes} successes of {n} were given; expected 0 <= successes <= n, so check "
            "what was counted."
        )
    if n == 0:
        return math.nan, math.nan
    share = successes / n
    spread = Z_95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    margin = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # At the ends the bound is exactly 0 or 1; rounding would leave it 1e-17 beside.
    low = 0.0 if successes == 0 else centre - margin
    high = 1.0 if successes == n else centre + margin
    return low, high


def newcombe_difference(
    successes_a: int, n_a: int, successes_b: int, n_b: int
) -> tuple[float, float]:
    """The 95% interval of share a minus share b of two independent samples, as (low, high).

    Newcombe's square-and-add from the two Wilson intervals, without continuity correction: his
    method 10. It stays within -1 to 1 and has positive width even where both shares are 0 or 1.
    (nan, nan) when either n is 0. Raises ValueError as ``wilson_interval`` does.

    Newcombe, R. G. (1998), Interval estimation for the difference between independent
    proportions: comparison of eleven methods, Statistics in Medicine 17, 873-890.
    """
    low_a, high_a = wilson_interval(successes_a, n_a)
    low_b, high_b = wilson_interval(successes_b, n_b)
    if n_a == 0 or n_b == 0:
        return math.nan, math.nan
    share_a, share_b = successes_a / n_a, successes_b / n_b
    difference = share_a - share_b
    return (
        difference - math.hypot(share_a - low_a, high_b - share_b),
        difference + math.hypot(high_a - share_a, share_b - low_b),
    )


def newcombe_paired_difference(
    both: int, only_a: int, only_b: int, neither: int
) -> tuple[float, float]:
    """The 95% interval of share a minus share b of one paired sample, as (low, high).

    both, only_a, only_b, neither: how many of the sample's members a and b both got, and so on.
    Newcombe's method 10: square-and-add from the two Wilson intervals, with a correlation that is
    corrected for continuity. It has positive width even where a and b never differ.
    (nan, nan) for an empty sample. Raises ValueError for a negative count.

    Newcombe, R. G. (1998), Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17, 2635-2650.
    """
    if min(both, only_a, only_b, neither) < 0:
        raise ValueError(
            f"the counts {both}, {only_a}, {only_b}, {neither} were given; expected none below 0, "
            "so check what was counted."
        )
    n = both + only_a + only_b + neither
    if n == 0:
        return math.nan, math.nan
    got_a, got_b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson_interval(got_a, n), wilson_interval(got_b, n)
    share_a, share_b = got_a / n, got_b / n
    covariance: float = both * neither - only_a * only_b
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    spread = got_a * (n - got_a) * got_b * (n - got_b)
    correlation = covariance / math.sqrt(spread) if spread else 0.0

    def margin(x: float, y: float) -> float:
        # Rounding may leave a square of 1e-20 below zero.
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    difference = (only_a - only_b) / n
    return (
        difference - margin(share_a - low_a, high_b - share_b),
        difference + margin(high_a - share_a, share_b - low_b),
    )
