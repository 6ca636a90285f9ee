"""Compare several models on the same images: which is better, by how much, and where they differ.

The images are the same, so the predictions are paired: only images that one model gets right and
the other wrong distinguish them. This compares trained models, not recipes: runs of one recipe with
different seeds differ as well, so comparing recipes needs several seeds of each, which
``recipes`` finds. Our own Holm, because only statsmodels has it, which is not installed with the
app.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from digitcnn.analysis.metrics import Evaluation, evaluate
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import ConfigError
from digitcnn.intervals import Z_95, newcombe_paired_difference
from digitcnn.options import FEWEST_COMPARED, MOST_COMPARED

LEVEL = 0.05  # of the test
POWER = 0.8
Z_POWER = NormalDist().inv_cdf(POWER)


@dataclass(frozen=True)
class Counts:
    """How many of the same images two models, a and b, both get right, and so on."""

    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int

    @property
    def n(self) -> int:
        """Number of images."""
        return self.both_right + self.only_a_right + self.only_b_right + self.both_wrong

    @property
    def discordant(self) -> int:
        """Number of images that one of the two gets right and the other wrong."""
        return self.only_a_right + self.only_b_right

    @property
    def difference(self) -> float:
        """Accuracy of a minus accuracy of b, in percentage points; NaN for no images."""
        return 100 * (self.only_a_right - self.only_b_right) / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Newcombe's paired 95% interval of ``difference``, in percentage points."""
        low, high = newcombe_paired_difference(
            self.both_right, self.only_a_right, self.only_b_right, self.both_wrong
        )
        return 100 * low, 100 * high


@dataclass(frozen=True)
class Pair(Counts):
    """Two of the models of a ``Comparison``, by their places in it.

    p_value: of the exact two-sided McNemar test. p_holm: the same, Holm-adjusted (1979) for all
    pairs of the comparison.
    """

    a: int
    b: int
    p_value: float
    p_holm: float

    @property
    def detectable(self) -> float:
        """The smallest difference, in percentage points, that these images would reveal.

        By ``detectable_difference``, at the observed share of discordant images.
        """
        return 100 * detectable_difference(self.n, self.discordant)

    @property
    def better(self) -> int | None:
        """The place of the significantly better model; None without evidence."""
        if self.p_holm >= LEVEL:
            return None
        return self.a if self.only_a_right > self.only_b_right else self.b


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models on one digit set.

    names: all different. predictions, evaluations: one of each per model. pairs: every two of
    them, in the order of itertools.combinations.
    """

    names: tuple[str, ...]
    predictions: tuple[Predictions, ...]
    evaluations: tuple[Evaluation, ...]
    pairs: tuple[Pair, ...]

    @property
    def title(self) -> str:
        """The set and its split, such as ``MNIST test``."""
        return self.evaluations[0].title

    @property
    def n(self) -> int:
        """Number of images."""
        return self.evaluations[0].n

    def pair(self, a: int, b: int) -> Pair:
        """Return the pair of the models at the places a < b."""
        return next(pair for pair in self.pairs if (pair.a, pair.b) == (a, b))

    @property
    def among_the_best(self) -> tuple[bool, ...]:
        """Per model, whether it is not significantly worse than the most accurate one."""
        best = min(range(len(self.names)), key=lambda place: self.evaluations[place].errors)
        worse = {
            pair.a + pair.b - best
            for pair in self.pairs
            if best in (pair.a, pair.b) and pair.better == best
        }
        return tuple(place not in worse for place in range(len(self.names)))

    def verdict(self, pair: Pair) -> str:
        """Return the conclusion about a pair, in words."""
        a, b = self.names[pair.a], self.names[pair.b]
        if self.predictions[pair.a].digest == self.predictions[pair.b].digest:
            return f"{a} and {b} are the same model"
        if pair.better is not None:
            better, other = (a, b) if pair.better == pair.a else (b, a)
            adjusted = ", Holm-adjusted" if len(self.pairs) > 1 else ""
            p_value = p_text(pair.p_holm)
            return f"{better} is better than {other} on {self.title} images ({p_value}{adjusted})"
        return f"no difference can be shown: {self.doubt(pair)}"

    def doubt(self, pair: Pair) -> str:
        """Return why these images show no difference between a pair, in words."""
        a, b = self.names[pair.a], self.names[pair.b]
        images = f"these {pair.n:,} images"
        if not pair.discordant:
            return f"{a} and {b} get the same ones of {images} right"
        if math.isnan(pair.detectable):
            return (
                f"only one of {a} and {b} is right on just {pair.discordant:,} of {images}, too "
                "few to tell"
            )
        return f"a difference below {pair.detectable:.2f} points cannot be seen in {images}"

    def only(self, right: int, wrong: int) -> Tensor:
        """Return the places of the images that only one of the two gets right: int64 [K].

        The other's most confident errors come first.
        """
        first, other = self.predictions[right], self.predictions[wrong]
        places = (first.right & ~other.right).nonzero().squeeze(1)
        probabilities = other.probabilities(self.evaluations[wrong].temperature)
        confidence = probabilities.max(dim=1).values[places]
        return places[confidence.argsort(descending=True, stable=True)]

    def per_digit(self, a: int, b: int) -> tuple[Counts, ...]:
        """Return the counts of a pair for each true digit."""
        right_a, right_b = self.predictions[a].right, self.predictions[b].right
        labels = self.predictions[a].labels
        return tuple(
            _counts(right_a[labels == digit], right_b[labels == digit]) for digit in range(CLASSES)
        )


def compare(
    names: Sequence[str],
    predictions: Sequence[Predictions],
    temperatures: Sequence[float],
) -> Comparison:
    """Compare two to eight models on one digit set.

    names: all different. predictions: one per model, all for the same images. temperatures: what
    each model's logits are divided by.
    Raises ConfigError for another number of models, ValueError for predictions for different
    images.
    """
    check_number(len(names))
    if len({one.fingerprint for one in predictions}) != 1:
        raise ValueError("expected predictions for the same images, got different fingerprints")
    combinations = list(itertools.combinations(range(len(names)), 2))
    right = [one.right for one in predictions]
    counts = [_counts(right[a], right[b]) for a, b in combinations]
    p_values = [mcnemar(count.only_a_right, count.only_b_right) for count in counts]
    return Comparison(
        names=tuple(names),
        predictions=tuple(predictions),
        evaluations=tuple(
            evaluate(one, temperature)
            for one, temperature in zip(predictions, temperatures, strict=True)
        ),
        pairs=tuple(
            Pair(**vars(count), a=a, b=b, p_value=p_value, p_holm=p_holm)
            for (a, b), count, p_value, p_holm in zip(
                combinations, counts, p_values, holm(p_values), strict=True
            )
        ),
    )


def check_number(models: int) -> None:
    """Raise ConfigError unless this many models can be compared."""
    if not FEWEST_COMPARED <= models <= MOST_COMPARED:
        raise ConfigError(
            f"Models chosen: {models}; choose {FEWEST_COMPARED} to {MOST_COMPARED}.",
            field="models",
        )


def _counts(right_a: Tensor, right_b: Tensor) -> Counts:
    """Count from which predictions are right, bool [N] each."""
    return Counts(
        both_right=int((right_a & right_b).sum()),
        only_a_right=int((right_a & ~right_b).sum()),
        only_b_right=int((~right_a & right_b).sum()),
        both_wrong=int((~right_a & ~right_b).sum()),
    )


# Tests


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


def unique_names(names: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Return the names; repeated ones get the start of their digest, then a number."""
    occurrences = Counter(names)
    unique: list[str] = []
    for name, digest in zip(names, digests, strict=True):
        base = f"{name} ({digest[:8]})" if occurrences[name] > 1 else name
        number, candidate = 1, base
        while candidate in unique:
            number += 1
            candidate = f"{base} #{number}"
        unique.append(candidate)
    return unique


# Text


def p_text(p_value: float) -> str:
    """Return ``p = 0.003`` with three decimals, or ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def difference_text(counts: Counts) -> str:
    """Return a difference with sign and 95% interval: ``+0.12 points (-0.03 to +0.27)``."""
    if not counts.n:
        return "–"
    low, high = counts.interval
    return f"{counts.difference:+.2f} points ({low:+.2f} to {high:+.2f})"
