"""Decide between guesses about how a network computes, by how it reads digits under each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor
from torch.nn import functional

MIN_ACCURACY = 0.6
MIN_AGREEMENT = 0.995
P_VALUE = 0.05
NEARLY_AS_USUAL = 0.1
NEARLY_AS_CLOSE = 0.04
# A guess this much more unusual than the best is no alternative, unless significantly likelier.
IMPLAUSIBLE = 0.15
# A wrong guess may be sure of a wrong digit; no image counts for more than this, in nats.
WORST = 8.0


class AnyGuess(Protocol):
    """One way in which a network may compute."""

    @property
    def cost(self) -> float:
        """How unusual it is, on the scale of ``Score.fit``."""


G = TypeVar("G", bound=AnyGuess)


def likelihoods_of(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-likelihoods, float64 [N], and predicted digits, int64 [N].

    logits: [N, 10]. labels: int64 [N]. NaN and infinite logits count as zeros.
    """
    logits = logits.double().nan_to_num(0.0, 0.0, 0.0)
    ones = functional.log_softmax(logits, dim=1)
    return ones.gather(1, labels[:, None])[:, 0].clamp(min=-WORST), logits.argmax(dim=1)


@dataclass(frozen=True, eq=False)
class Score(Generic[G]):
    """How one guess does: log-likelihoods, float64 [N], and predicted digits, int64 [N].

    divergence: of batch norm's inputs from its statistics, as ``logits_and_divergence`` gives it.
    """

    guess: G
    likelihoods: Tensor
    predicted: Tensor
    divergence: float

    def fit(self, n: int) -> float:
        """How well the guess fits the first ``n`` images, less its cost; higher is better."""
        # Differences below 0.002 nats are nothing: a network may read all of the images.
        return (
            -math.log(0.002 - float(self.likelihoods[:n].mean()))
            - self.guess.cost
            - self.divergence
        )

    def accuracy(self, labels: Tensor) -> float:
        """The share of right digits. labels: int64 [N] or more."""
        return float((self.predicted == labels[: len(self.predicted)]).double().mean())


@dataclass(frozen=True, eq=False)
class Outcome(Generic[G]):
    """The best guess, the next that is another function, and whether the best may be taken.

    agreement: the share of images to which both give the same digit. p_value: of the paired test
    of their log-likelihoods; 1 where the next has the higher ones.
    """

    best: Score[G]
    accuracy: float
    images: int
    runner_up: Score[G] | None
    agreement: float
    p_value: float

    @property
    def accepted(self) -> bool:
        """Whether it reads enough digits and is clearly the best, or any choice would do."""
        clear = self.p_value < P_VALUE or self.agreement >= MIN_AGREEMENT
        return self.accuracy >= MIN_ACCURACY and clear


def most_accurate_first(scores: list[Score[G]], labels: Tensor) -> list[Score[G]]:
    """Put behind the others what reads significantly fewer digits than the most accurate does.

    Training on augmented digits shifts batch norm's statistics, so these decide only among guesses
    that read about as many digits: by McNemar's test, one-sided, at p = 0.01.
    """
    most = max(scores, key=lambda score: score.accuracy(labels))

    def is_worse(score: Score[G]) -> bool:
        n = min(len(score.predicted), len(most.predicted))
        right = score.predicted[:n] == labels[:n]
        other = most.predicted[:n] == labels[:n]
        lost, won = int((other & ~right).sum()), int((right & ~other).sum())
        return lost - won > 2.33 * math.sqrt(lost + won)

    return sorted(scores, key=is_worse)


def decide(scores: list[Score[G]], labels: Tensor) -> Outcome[G]:
    """Compare the best guess with the next plausible one that is another function.

    Of guesses that are about equally usual and agree as well with the statistics of batch norm, a
    significantly likelier one comes first.
    """
    best = scores[0]
    for other in scores[1:]:
        is_near = (
            other.guess.cost < best.guess.cost + NEARLY_AS_USUAL
            and other.divergence <= best.divergence + NEARLY_AS_CLOSE
        )
        lead = _paired_p(-_difference(best, other))
        if is_near and lead < P_VALUE and _agreement(best, other) < MIN_AGREEMENT:
            best = other
            break
    accuracy, images = best.accuracy(labels), len(best.predicted)
    for other in scores:
        difference = _difference(best, other)
        is_plausible = other.guess.cost < best.guess.cost + IMPLAUSIBLE
        if not is_plausible and _paired_p(-difference) >= P_VALUE:
            continue
        if float(difference.abs().max()) > 1e-6:
            p_value = _paired_p(difference)
            return Outcome(best, accuracy, images, other, _agreement(best, other), p_value)
    return Outcome(best, accuracy, images, None, 1.0, 0.0)


def _agreement(one: Score[G], other: Score[G]) -> float:
    """Return the share of images to which both give the same digit."""
    n = min(len(one.predicted), len(other.predicted))
    return float((one.predicted[:n] == other.predicted[:n]).double().mean())


def _difference(one: Score[G], other: Score[G]) -> Tensor:
    """Return by how much ``one`` is likelier, in nats, on each image that both were scored on."""
    n = min(len(one.likelihoods), len(other.likelihoods))
    return one.likelihoods[:n] - other.likelihoods[:n]


def _paired_p(difference: Tensor) -> float:
    """Two-sided p-value of a paired t-test, by the normal distribution (hundreds of images)."""
    mean, spread = float(difference.mean()), float(difference.std())
    if mean <= 0.0:
        return 1.0
    if spread == 0.0:
        return 0.0
    return math.erfc(mean / (spread / math.sqrt(len(difference))) / math.sqrt(2))
