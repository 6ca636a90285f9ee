"""Tests of paired predictions: McNemar, Holm, and the smallest detectable difference.

Our own Holm, because only statsmodels has it, which is not installed with the app.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from digitcnn.intervals import Z_95

LEVEL = 0.05
POWER = 0.8
Z_POWER = NormalDist().inv_cdf(POWER)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the p-value of the exact two-sided McNemar test from the discordant counts.

    Under equal accuracy each discordant image is a fair coin's toss: twice the smaller tail of the
    binomial distribution, at most 1. Without discordant images it is 1.

    McNemar, Q. (1947), Note on the sampling error of the difference between correlated proportions
    or percentages, Psychometrika 12, 153-157.
    """
    from scipy.special import bdtr  # here, because the import takes a tenth of a second

    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the Holm-adjusted p-values, in the same order.

    The probability of at least one false positive among all of them stays below the level.

    Holm, S. (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6, 65-70.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


def detectable_difference(n: int, discordant: int) -> float:
    """Return the difference of accuracies that a McNemar test of ``n`` images detects, a fraction.

    At 80% power and the 5% level, with ``discordant`` images that one model gets right and the
    other wrong: the sample size n = (z_a sqrt(p) + z_b sqrt(p - d^2))^2 / d^2 for a difference d at
    a share p of discordant images, solved for d. NaN where d would be larger than p: then even all
    discordant images in favour of one model would not suffice.

    Miettinen, O. S. (1968), The matched pairs design in the case of all-or-none responses,
    Biometrics 24, 339-352. Connor, R. J. (1987), Sample size for testing differences in
    proportions for the paired-sample design, Biometrics 43, 207-211.
    """
    if n == 0:
        return math.nan
    share = discordant / n
    # (z_a sqrt(p) - d sqrt(n))^2 = z_b^2 (p - d^2), a quadratic in d; the larger root.
    a = n + Z_POWER**2
    half_b = math.sqrt(n * share) * Z_95
    c = (Z_95**2 - Z_POWER**2) * share
    difference = (half_b + math.sqrt(max(0.0, half_b**2 - a * c))) / a
    return difference if 0 < difference <= share else math.nan
