"""Decide between guesses about how a network computes, by how it reads digits under each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

MIN_ACCURACY = 0.6
MIN_AGREEMENT = 0.995
P_VALUE = 0.05
# A wrong guess may be significantly likelier than the right one, if that is the more usual; so one
# with fewer equal answers has to fit better by this much.
SIMILAR, MIN_LEAD = 0.99, 0.02
# A p-value below which more images would hardly change the order of two guesses.
BEATEN = 1e-4
# A runner-up with this share of equal answers, or whose mean negative log-likelihood is larger by
# no more than this logarithm of a ratio, is named.
NEARLY_SAME, SMALL_LEAD = 0.98, 0.25
NEARLY_AS_USUAL, AS_USUAL = 0.1, 0.03
NEARLY_AS_CLOSE = 0.04
# A guess that costs this much more than the best is no alternative to it.
IMPLAUSIBLE = 0.08
# A wrong guess may be sure of a wrong digit; no image counts for more than this, in nats.
WORST = 8.0
# Below this, another ground, orientation, activation or geometry may hide the right guess.
DOUBTFUL = 0.85
# Differences below this, in nats, are nothing: a network may read all of the images.
NOTHING = 0.002
# By how much logits are multiplied at most before they are compared, and the steps to find it.
MAX_GAIN, GAIN_STEPS = 1.25, 5


class AnyGuess(Protocol):
    """One way in which a network may compute."""

    @property
    def cost(self) -> float:
        """How unusual it is, on the scale of ``Score.fit``."""


G = TypeVar("G", bound=AnyGuess)


def likelihoods_of(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-likelihoods, float64 [..., N], and predicted digits, int64 [..., N].

    logits: [..., N, 10]. labels: int64 [N]. NaN and infinite logits count as zeros.

    A network that was trained for a moment, or on harder images, is less sure than it could be.
    Then every guess with larger logits would be the likelier one, such as maximum instead of
    average pooling. So logits are first multiplied by the number from 1 to MAX_GAIN that makes
    them likeliest.
    """
    logits = logits.double().nan_to_num(0.0, 0.0, 0.0)
    right = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    correct = logits.gather(-1, right).mean((-2, -1))
    # The likelihood has one maximum, and the derivative tells on which side it is.
    low = torch.zeros_like(correct)
    width = math.log(MAX_GAIN)
    for _ in range(GAIN_STEPS):
        width /= 2
        gain = (low + width).exp()[..., None, None]
        expected = (torch.softmax(gain * logits, dim=-1) * logits).sum(-1).mean(-1)
        low = torch.where(correct > expected, low + width, low)
    ones = functional.log_softmax(low.exp()[..., None, None] * logits, dim=-1)
    return ones.gather(-1, right)[..., 0].clamp(min=-WORST), logits.argmax(dim=-1)


@dataclass(frozen=True, eq=False)
class Score(Generic[G]):
    """How one guess does: log-likelihoods, float64 [N], and predicted digits, int64 [N].

    divergence: how badly the guess fits what training left in the weights, in nats: the sum of
    ``divergence_of`` over the batch norms, and more where ``unused`` weights were trained.
    """

    guess: G
    likelihoods: Tensor
    predicted: Tensor
    divergence: float

    def fit(self, n: int) -> float:
        """How well the guess fits the first ``n`` images, less its cost; higher is better."""
        return -_log_loss(self, n) - self.guess.cost - self.divergence

    def accuracy(self, labels: Tensor) -> float:
        """The share of right digits. labels: int64 [N] or more."""
        return float((self.predicted == labels[: len(self.predicted)]).double().mean())


@dataclass(frozen=True, eq=False)
class Outcome(Generic[G]):
    """The best guess, the next that is another function, and whether the best may be taken.

    agreement: the share of images to which both give the same digit. p_value: of the paired test
    of their log-likelihoods; 1 where the next has the higher ones. lead: by how much the best fits
    better, its cost included. unusual: whether the next costs too much more to be an alternative.
    reads_more: whether the best reads significantly more digits and the next is not the likelier.
    """

    best: Score[G]
    accuracy: float
    images: int
    runner_up: Score[G] | None
    agreement: float
    p_value: float
    lead: float = math.inf
    unusual: bool = False
    reads_more: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether the best is clearly better than the runner-up, or either would do."""
        if self.unusual or self.reads_more or self.agreement >= MIN_AGREEMENT:
            return True
        return self.p_value < P_VALUE and (self.agreement >= SIMILAR or self.lead >= MIN_LEAD)

    @property
    def accepted(self) -> bool:
        """Whether the best may be taken: it also reads enough digits."""
        return self.accuracy >= MIN_ACCURACY and self.is_clear

    @property
    def is_close(self) -> bool:
        """Whether a person should know the runner-up, however significant the lead."""
        if self.runner_up is None:
            return False
        n = min(len(self.best.likelihoods), len(self.runner_up.likelihoods))
        lead = _log_loss(self.best, n) - _log_loss(self.runner_up, n)
        return self.agreement >= NEARLY_SAME or abs(lead) < SMALL_LEAD


def most_accurate_first(scores: list[Score[G]], labels: Tensor) -> list[Score[G]]:
    """Put guesses that read significantly fewer digits behind the one that reads most.

    Unless they are likelier, or the other is more unusual. A guess that only leads by the
    statistics of batch norm is put behind in any case: training on augmented digits shifts them.
    """
    most = max(scores, key=lambda score: score.accuracy(labels))

    def is_worse(score: Score[G]) -> bool:
        is_usual = most.guess.cost < score.guess.cost + AS_USUAL
        return reads_more(most, score, labels) and (
            score.divergence < most.divergence or (is_usual and not _is_likelier(score, most))
        )

    return sorted(scores, key=is_worse)


def reads_more(one: Score[G], other: Score[G], labels: Tensor) -> bool:
    """Whether ``one`` reads significantly more digits: McNemar's test, one-sided, at p = 0.01."""
    n = min(len(one.predicted), len(other.predicted))
    right, others = (score.predicted[:n] == labels[:n] for score in (one, other))
    won, lost = int((right & ~others).sum()), int((others & ~right).sum())
    return won - lost > 2.33 * math.sqrt(won + lost)


def decide(scores: list[Score[G]], labels: Tensor) -> Outcome[G]:
    """Compare the best guess with the next plausible one that is another function.

    Of guesses that are about equally usual and agree as well with the statistics of batch norm, a
    significantly likelier one comes first. One that is much more unusual has to be significantly
    likelier: the mean over a few images, nearly all of them right, is weak evidence.
    """
    best = scores[0]
    for other in scores[1:]:
        is_near = (
            other.guess.cost < best.guess.cost + NEARLY_AS_USUAL
            and other.divergence <= best.divergence + NEARLY_AS_CLOSE
        )
        if (
            is_near
            and _is_likelier(other, best)
            and _agreement(best, other) < SIMILAR
            and not reads_more(best, other, labels)
        ):
            best = other
            break
    usual = [
        other
        for other in scores
        if _is_unusual(other, best)
        and not _is_likelier(best, other)
        and not reads_more(best, other, labels)
    ]
    best = max(usual, key=lambda other: other.fit(len(other.likelihoods)), default=best)
    others = [_compared(best, other, labels) for other in scores if not is_same(best, other)]
    # First any guess that rules out accepting the best, then a usual one, then one that is as
    # likely with the same answers, then the next best.
    others.sort(key=lambda other: (other.is_clear, other.unusual, other.p_value < P_VALUE))
    alone = Outcome(best, best.accuracy(labels), len(best.predicted), None, 1.0, 0.0)
    return (*others, alone)[0]


def _is_unusual(best: Score[G], other: Score[G]) -> bool:
    """Whether a guess costs too much more than the best to be an alternative."""
    excess = other.guess.cost + other.divergence - best.guess.cost - best.divergence
    return excess >= IMPLAUSIBLE


def is_same(one: Score[G], other: Score[G]) -> bool:
    """Whether two guesses are the same function on all images so far."""
    return float(_difference(one, other).abs().max()) <= 1e-6


def is_beaten(score: Score[G], best: Score[G]) -> bool:
    """Whether more images would hardly make a guess the likelier one."""
    return _paired_p(_difference(best, score)) < BEATEN


def _is_likelier(one: Score[G], other: Score[G]) -> bool:
    """Whether ``one`` gives the digits significantly higher likelihoods."""
    return _paired_p(_difference(one, other)) < P_VALUE


def _compared(best: Score[G], other: Score[G], labels: Tensor) -> Outcome[G]:
    n = min(len(best.likelihoods), len(other.likelihoods))
    accuracy = best.accuracy(labels)
    return Outcome(
        best,
        accuracy,
        len(best.predicted),
        other,
        _agreement(best, other),
        _paired_p(_difference(best, other)),
        best.fit(n) - other.fit(n),
        # A best guess that reads few digits does not rule out other functions.
        unusual=_is_unusual(best, other) and accuracy >= DOUBTFUL,
        # An unusual guess, such as one with a padded image, may read more than the right one.
        reads_more=best.guess.cost < other.guess.cost + AS_USUAL
        and reads_more(best, other, labels)
        and not _is_likelier(other, best),
    )


def _log_loss(score: Score[G], n: int) -> float:
    """Return the logarithm of the mean negative log-likelihood of the first ``n`` images."""
    return math.log(NOTHING - float(score.likelihoods[:n].mean()))


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
