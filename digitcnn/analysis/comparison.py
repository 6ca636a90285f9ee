"""Compare several models on the same images: which is better, by how much, and where they differ.

The images are the same, so the predictions are paired: only images that one model gets right and
the other wrong distinguish them. This compares trained models, not recipes: runs of one recipe with
different seeds differ as well, so comparing recipes needs several seeds of each, which
``recipes`` finds. ``comparison_words`` puts the results into sentences.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from digitcnn.analysis.metrics import Evaluation, evaluate
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.significance import LEVEL, detectable_difference, holm, mcnemar
from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import ConfigError
from digitcnn.intervals import newcombe_paired_difference
from digitcnn.options import FEWEST_COMPARED, MOST_COMPARED


@dataclass(frozen=True)
class Counts:
    """How many of the same images two models, a and b, both get right, and so on."""

    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int

    @staticmethod
    def of(right_a: Tensor, right_b: Tensor) -> Counts:
        """Count from which predictions are right, bool [N] each."""
        return Counts(
            both_right=int((right_a & right_b).sum()),
            only_a_right=int((right_a & ~right_b).sum()),
            only_b_right=int((~right_a & right_b).sum()),
            both_wrong=int((~right_a & ~right_b).sum()),
        )

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
            Counts.of(right_a[labels == digit], right_b[labels == digit])
            for digit in range(CLASSES)
        )


def compare(
    names: Sequence[str], predictions: Sequence[Predictions], temperatures: Sequence[float]
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
    counts = [Counts.of(right[a], right[b]) for a, b in combinations]
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
            f"Models chosen: {models}; choose {FEWEST_COMPARED} to {MOST_COMPARED}.", field="models"
        )


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
