"""Several networks on the same images: which is better, whether it matters, where they differ.

The images are the same, so the answers are paired: only images that one network gets and the
other misses tell them apart. What is compared are trained networks, not recipes: two trainings of
one recipe with other seeds differ as well, so for recipes several seeds of each are needed;
``seeds_of_one_recipe`` finds those.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from torch import Tensor

from digitcnn.analysis.metrics import Evaluation, evaluate
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import ConfigError
from digitcnn.intervals import Z_95, newcombe_paired_difference
from digitcnn.network.details import Details
from digitcnn.options import FEWEST_COMPARED, MOST_COMPARED

LEVEL = 0.05  # of the test
POWER = 0.8
Z_POWER = NormalDist().inv_cdf(POWER)


@dataclass(frozen=True)
class Counts:
    """How many of the same images two networks, a and b, both answer rightly, and so on."""

    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int

    @property
    def n(self) -> int:
        return self.both_right + self.only_a_right + self.only_b_right + self.both_wrong

    @property
    def discordant(self) -> int:
        """How many images one of the two gets and the other misses."""
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
    """Two of the networks of a ``Comparison``, by their places in it.

    p_value: of the exact two-sided McNemar test. p_holm: the same, adjusted after Holm (1979) for
    all pairs of the comparison.
    """

    a: int
    b: int
    p_value: float
    p_holm: float

    @property
    def detectable(self) -> float:
        """The smallest difference, in percentage points, that would probably have been seen.

        As ``detectable_difference``, at the share of discordant images that was seen.
        """
        return 100 * detectable_difference(self.n, self.discordant)

    @property
    def better(self) -> int | None:
        """The place of the network that is significantly better; None without evidence."""
        if self.p_holm >= LEVEL:
            return None
        return self.a if self.only_a_right > self.only_b_right else self.b


@dataclass(frozen=True, eq=False)
class Comparison:
    """Networks on one digit set.

    names: of the networks, for people, all different. predictions, evaluations: one of each per
    network. pairs: of every two of them, in the order of itertools.combinations.
    """

    names: tuple[str, ...]
    predictions: tuple[Predictions, ...]
    evaluations: tuple[Evaluation, ...]
    pairs: tuple[Pair, ...]

    @property
    def title(self) -> str:
        """The set and its split, such as ``mnist test``."""
        return self.evaluations[0].title

    @property
    def n(self) -> int:
        return self.evaluations[0].n

    def pair(self, a: int, b: int) -> Pair:
        """The pair of the networks at the places a < b."""
        return next(pair for pair in self.pairs if (pair.a, pair.b) == (a, b))

    @property
    def among_the_best(self) -> tuple[bool, ...]:
        """Per network, whether it is not significantly worse than the most accurate one."""
        best = min(range(len(self.names)), key=lambda place: self.evaluations[place].errors)
        worse = {
            pair.a + pair.b - best
            for pair in self.pairs
            if best in (pair.a, pair.b) and pair.better == best
        }
        return tuple(place not in worse for place in range(len(self.names)))

    def verdict(self, pair: Pair) -> str:
        """What can be said of a pair, in words for people."""
        a, b = self.names[pair.a], self.names[pair.b]
        if self.predictions[pair.a].digest == self.predictions[pair.b].digest:
            return f"{a} and {b} are the same network"
        if pair.better is not None:
            adjusted = " after Holm" if len(self.pairs) > 1 else ""
            better = self.names[pair.better]
            return f"{better} is better on {self.title} ({p_text(pair.p_holm)}{adjusted})"
        images = f"these {pair.n:,} images"
        if math.isnan(pair.detectable):
            return (
                f"no evidence of a difference: only {pair.discordant:,} of {images} "
                f"tell{'s' * (pair.discordant == 1)} {a} and {b} apart, too few to see any"
                if pair.discordant
                else f"no evidence of a difference: none of {images} tells {a} and {b} apart"
            )
        return (
            f"no evidence of a difference: one below {pair.detectable:.2f} points cannot be seen "
            f"with {images}"
        )

    def only(self, right: int, wrong: int) -> Tensor:
        """Places of the images that one network gets and the other misses: int64 [K].

        The other's most confident mistakes come first.
        """
        got, missed = self.predictions[right], self.predictions[wrong]
        places = (got.right & ~missed.right).nonzero().squeeze(1)
        sure = missed.probabilities(self.evaluations[wrong].temperature).max(dim=1).values[places]
        return places[sure.argsort(descending=True, stable=True)]

    def per_digit(self, a: int, b: int) -> tuple[Counts, ...]:
        """The counts of a pair for each true digit."""
        right_a, right_b = self.predictions[a].right, self.predictions[b].right
        labels = self.predictions[a].labels
        return tuple(
            _counts(right_a[labels == digit], right_b[labels == digit]) for digit in range(CLASSES)
        )


@dataclass(frozen=True)
class Recipe:
    """Networks that differ in nothing but their seed, and how accurate they are on one set.

    members: their places. mean: of their accuracies, deviation: the sample's standard deviation;
    both fractions. title: of the set.
    """

    members: tuple[int, ...]
    seeds: tuple[int, ...]
    title: str
    mean: float
    deviation: float

    @property
    def text(self) -> str:
        """Return the mean and deviation, as in ``99.55% ± 0.03 points``."""
        return f"{100 * self.mean:.2f}% ± {100 * self.deviation:.2f} points"


def compare(
    names: Sequence[str],
    predictions: Sequence[Predictions],
    temperatures: Sequence[float | None],
) -> Comparison:
    """The comparison of two to eight networks on one digit set.

    names: all different. predictions: one per network, all of the same images.
    temperatures: what each network's logits are divided by; None means 1.
    Raises ConfigError for another number of networks, and ValueError for predictions of other
    images.
    """
    check_number(len(names))
    if len({found.fingerprint for found in predictions}) != 1:
        raise ValueError("networks are compared on the same images, but these predictions differ")
    combinations = list(itertools.combinations(range(len(names)), 2))
    right = [found.right for found in predictions]
    counts = [_counts(right[a], right[b]) for a, b in combinations]
    p_values = [mcnemar(count.only_a_right, count.only_b_right) for count in counts]
    return Comparison(
        names=tuple(names),
        predictions=tuple(predictions),
        evaluations=tuple(
            evaluate(found, temperature or 1.0)
            for found, temperature in zip(predictions, temperatures, strict=True)
        ),
        pairs=tuple(
            Pair(**vars(count), a=a, b=b, p_value=p_value, p_holm=p_holm)
            for (a, b), count, p_value, p_holm in zip(
                combinations, counts, p_values, holm(p_values), strict=True
            )
        ),
    )


def check_number(networks: int) -> None:
    """Raises ConfigError unless so many networks can be compared."""
    if not FEWEST_COMPARED <= networks <= MOST_COMPARED:
        raise ConfigError(
            f"{networks} model{'s' * (networks != 1)} to compare "
            f"{'is' if networks == 1 else 'are'} given; take {FEWEST_COMPARED} to {MOST_COMPARED}."
        )


def _counts(right_a: Tensor, right_b: Tensor) -> Counts:
    """From which answers are right, bool [N] each."""
    return Counts(
        both_right=int((right_a & right_b).sum()),
        only_a_right=int((right_a & ~right_b).sum()),
        only_b_right=int((~right_a & right_b).sum()),
        both_wrong=int((~right_a & ~right_b).sum()),
    )


# --- tests --------------------------------------------------------------------------------------


def mcnemar(only_a: int, only_b: int) -> float:
    """The p-value of the exact two-sided McNemar test from the discordant counts.

    Under equal accuracy each discordant image is a fair coin's toss: twice the smaller tail of the
    binomial distribution, at most 1. Without discordant images it is 1.

    McNemar, Q. (1947), Note on the sampling error of the difference between correlated proportions
    or percentages, Psychometrika 12, 153-157.
    """
    tosses = only_a + only_b
    # Whole numbers: exact for any counts, 20 ms for 20,000 tosses.
    term: int = 1
    tail: int = 0
    for heads in range(min(only_a, only_b) + 1):
        tail += term
        term = term * (tosses - heads) // (heads + 1)
    return min(1.0, 2 * tail / (1 << tosses))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being several, in the same order.

    The chance of at least one false alarm among all of them stays below the level.

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
    """The difference of accuracies, a fraction, that a McNemar test of ``n`` images sees with 80%
    power at the 5% level, where ``discordant`` of them tell the networks apart.

    The sample size n = (z_a sqrt(p) + z_b sqrt(p - d^2))^2 / d^2 for a difference d at a share p of
    discordant images, solved for d. NaN where d would be larger than p: then even all discordant
    images pointing one way would not do, and there are too few to speak of any difference.

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


# --- recipes ------------------------------------------------------------------------------------


def seeds_of_one_recipe(details: Sequence[Details], comparison: Comparison) -> tuple[Recipe, ...]:
    """The groups of networks whose files say the same configuration, but for the seed.

    details: of each network of the comparison. Networks trained on other images, or stopped at
    another epoch, are of another group; a network that comes twice counts once.
    """
    groups: dict[str, dict[int, int]] = {}
    for place, said in enumerate(details):
        if said.config and said.seed is not None:
            settings = {k: v for k, v in said.config.items() if k != "seed"}
            key = repr((sorted(settings.items(), key=str), said.epochs, said.fingerprints))
            groups.setdefault(key, {}).setdefault(said.seed, place)
    recipes = []
    for members in groups.values():
        if len(members) > 1:
            accuracies = [comparison.evaluations[place].accuracy for place in members.values()]
            recipes.append(
                Recipe(
                    tuple(members.values()),
                    tuple(members),
                    comparison.title,
                    fmean(accuracies),
                    stdev(accuracies),
                )
            )
    return tuple(recipes)


def settings_side_by_side(details: Sequence[Details]) -> list[tuple[str, list[Any], bool]]:
    """What the files say of their trainings: name, a value per network, whether they differ.

    A value that a file does not have is None.
    """
    names = list(dict.fromkeys(name for said in details for name in said.config))
    rows = [(name, [said.config.get(name) for said in details]) for name in names]
    rows += [
        ("finished epochs", [said.epochs for said in details]),
        ("training images", [said.fingerprints.get("train", "")[:12] or None for said in details]),
        ("temperature", [said.temperature for said in details]),
    ]
    versions = list(dict.fromkeys(name for said in details for name in said.versions))
    rows += [
        (f"{name} version", [said.versions.get(name) for said in details]) for name in versions
    ]
    return [(name, values, any(value != values[0] for value in values)) for name, values in rows]


def unique_names(names: Sequence[str], digests: Sequence[str]) -> list[str]:
    """The names, those that occur more than once with the start of their digest, then a number."""
    often = Counter(names)
    shown: list[str] = []
    for name, digest in zip(names, digests, strict=True):
        wanted = f"{name} ({digest[:8]})" if often[name] > 1 else name
        number, chosen = 1, wanted
        while chosen in shown:
            number += 1
            chosen = f"{wanted} #{number}"
        shown.append(chosen)
    return shown


# --- for people ---------------------------------------------------------------------------------


def p_text(p_value: float) -> str:
    """``p = 0.003``; three decimals, below that ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def difference_text(counts: Counts) -> str:
    """A difference with sign and 95% interval: ``+0.12 points (-0.03 to +0.27)``; else a dash."""
    if not counts.n:
        return "–"
    low, high = counts.interval
    return f"{counts.difference:+.2f} points ({low:+.2f} to {high:+.2f})"
