"""95% intervals of proportions and means, and their text; shared by all that measures.

Those of proportions are our own: SciPy has none for differences, and its Wilson interval is in
``scipy.stats``, whose import takes a second. The tests compare with it.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# The standard normal's 97.5% point, 1.959964, for a two-sided interval of 95%.
Z_95 = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of ``successes`` out of ``n``, as fractions (low, high).

    Without continuity correction. Within 0 to 1 and of positive width even where all succeed or
    none does, unlike the normal approximation. (nan, nan) when n is 0. Raises ValueError unless
    0 <= successes <= n.

    Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"Got {successes} successes of {n}; expected 0 <= successes <= n.")
    if n == 0:
        return math.nan, math.nan
    share = successes / n
    spread = Z_95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    margin = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # Exact at the ends, where rounding would be off by 1e-17.
    low = 0.0 if successes == 0 else centre - margin
    high = 1.0 if successes == n else centre + margin
    return low, high


def newcombe_difference(
    successes_a: int, n_a: int, successes_b: int, n_b: int
) -> tuple[float, float]:
    """Return the 95% interval of share a minus share b of two independent samples, (low, high).

    Newcombe's method 10: square-and-add of the two Wilson intervals, without continuity
    correction. Within -1 to 1 and of positive width even where both shares are 0 or 1. (nan, nan)
    when either n is 0. Raises ValueError as ``wilson_interval`` does.

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
    """Return the 95% interval of share a minus share b of one paired sample, as (low, high).

    both, only_a, only_b, neither: how many members of the sample succeed with both, and so on.
    Newcombe's method 10: square-and-add of the two Wilson intervals, with a correlation that is
    corrected for continuity. Of positive width even where a and b never differ. (nan, nan) for an
    empty sample. Raises ValueError for a negative count.

    Newcombe, R. G. (1998), Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17, 2635-2650.
    """
    if min(both, only_a, only_b, neither) < 0:
        raise ValueError(
            f"Got the counts {both}, {only_a}, {only_b}, {neither}; expected none below 0."
        )
    n = both + only_a + only_b + neither
    if n == 0:
        return math.nan, math.nan
    total_a, total_b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson_interval(total_a, n), wilson_interval(total_b, n)
    share_a, share_b = total_a / n, total_b / n
    covariance: float = both * neither - only_a * only_b
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    spread = total_a * (n - total_a) * total_b * (n - total_b)
    correlation = covariance / math.sqrt(spread) if spread else 0.0

    def margin(x: float, y: float) -> float:
        # Rounding may leave a square of 1e-20 below zero.
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    difference = (only_a - only_b) / n
    return (
        difference - margin(share_a - low_a, high_b - share_b),
        difference + margin(high_a - share_a, share_b - low_b),
    )


def t_quantile(freedom: float) -> float:
    """Return the 97.5% point of Student's t with ``freedom`` degrees of freedom, above 0."""
    from scipy.special import stdtrit  # here, because the import takes a tenth of a second

    return float(stdtrit(freedom, 0.975))


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with two decimals, a dash for NaN: ``99.41%``."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}%"


def confidence_text(probability: float) -> str:
    """Return a model's probability in percent as everywhere on the page: ``97.3%``, ``100.0%``."""
    return f"{100 * probability:.1f}%"


def accuracy_text(accuracy: float, n: int) -> str:
    """Return a fraction of ``n`` images with its 95% interval: ``99.41% (99.24 to 99.54)``.

    Every text with an accuracy uses it, so that they agree to the last digit.
    """
    low, high = wilson_interval(round(accuracy * n), n)
    return f"{percent(accuracy)} ({100 * low:.2f} to {100 * high:.2f})"
