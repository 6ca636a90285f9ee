"""The 95 % interval of a proportion: pure arithmetic that metrics and feedback share.

It knows nothing of digits, networks or people, and imports nothing of ours.
"""

from __future__ import annotations

import math
from statistics import NormalDist

# The standard normal's 97.5 % point, 1.959964: a two-sided interval of 95 %.
Z_95 = NormalDist().inv_cdf(0.975)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of ``successes`` out of ``n``, as fractions (low, high).

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
