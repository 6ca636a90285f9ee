"""Find the choices under which a network reads digits best, in a bounded amount of work.

A guess is scored by the mean log-likelihood of labelled digits, which tells two functions apart
much sooner than their accuracies do, less what an unusual choice costs (``Guess.cost``). The search
goes from the most plausible geometries to one choice after the other, on few images first and on
all of them last.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.network.reader import InvalidCheckpoint
from digitcnn.network.rebuild.guesses import Choices, Guess
from digitcnn.network.rebuild.layers import Stack
from digitcnn.network.rebuild.network import RebuiltNetwork
from digitcnn.network.rebuild.recipe import Recipe

# What the search may cost, in multiplications: about 1.5 seconds of one core. A call costs as much
# as CALL of them, an image as IMAGE, besides the network's own.
WORK, CALL, IMAGE = 40e9, 10e6, 300e3
# Processor time after which nothing more is tried: several times what WORK takes.
MAX_SECONDS = 8.0
# Of the finalists together.
LAST_WORK = 25e9
FEW, SOME = 80, 300
BEAM = 3
FINALISTS = 4
MIN_ACCURACY = 0.6
MIN_AGREEMENT = 0.995
P_VALUE = 0.05
NEARLY_AS_USUAL = 0.1
NEARLY_AS_CLOSE = 0.02
# Below this, another ground, orientation or activation may hide the right geometry.
DOUBTFUL = 0.85
# Below this, no choice of what is left would make it a digit classifier.
HOPELESS = 0.3
# A wrong geometry may be sure of a wrong digit; no image counts for more than this, in nats.
WORST = 8.0


@dataclass(frozen=True, eq=False)
class Score:
    """How one guess does: log-likelihoods, float64 [N], and predicted digits, int64 [N].

    divergence: of batch norm's inputs from its statistics (``RebuiltNetwork.divergence``).
    """

    guess: Guess
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


class Scorer:
    """Scores guesses on the first images of a set, each image once. labels: int64 [N]."""

    def __init__(
        self,
        stack: Stack,
        tensors: Mapping[str, Tensor],
        images: Tensor,
        labels: Tensor,
        seconds: float = MAX_SECONDS,
    ) -> None:
        self._stack, self._tensors = stack, tensors
        self.images, self.labels = images, labels
        self._scores: dict[Recipe, Score] = {}
        self.left = WORK
        self._ends = time.thread_time() + seconds

    def work(self, guess: Guess) -> int | None:
        """Multiplications per image; None where the guess does not fit the shapes."""
        try:
            return self._network(guess.recipe(self._stack)).work.multiplications
        except ValueError:
            return None

    def score(self, guess: Guess, n: int) -> Score | None:
        """The score on at least the first ``n`` images; None for a guess that does not fit."""
        recipe = guess.recipe(self._stack)
        known = self._scores.get(recipe)
        done = 0 if known is None else len(known.likelihoods)
        n = min(n, len(self.images))
        if known is not None and done >= n:
            return known
        try:
            network = self._network(recipe)
        except ValueError:
            return None
        if time.thread_time() > self._ends:
            raise InvalidCheckpoint(
                "is a network that takes too long to rebuild; choose a smaller classifier"
            )
        self.left -= CALL + (network.work.multiplications + IMAGE) * (n - done)
        with torch.inference_mode():
            logits = network.logits(self.images[done:n]).double().nan_to_num(0.0, 0.0, 0.0)
            ones = functional.log_softmax(logits, dim=1)
            likelihoods = ones.gather(1, self.labels[done:n, None])[:, 0].clamp(min=-WORST)
            predicted = logits.argmax(dim=1)
            divergence = (
                network.divergence(self.images[:FEW]) if known is None else known.divergence
            )
        if known is not None:
            likelihoods = torch.cat([known.likelihoods, likelihoods])
            predicted = torch.cat([known.predicted, predicted])
        self._scores[recipe] = score = Score(guess, likelihoods, predicted, divergence)
        return score

    def best(self, guesses: Iterable[Guess], n: int, most: int) -> list[Score]:
        """The best of many guesses on ``n`` images, one of each recipe."""
        scores: dict[Recipe, Score] = {}
        for guess in guesses:
            score = self.score(guess, n)
            if score is not None:
                scores.setdefault(guess.recipe(self._stack), score)
        return sorted(scores.values(), key=lambda score: -score.fit(n))[:most]

    def accuracy(self, score: Score) -> float:
        """The share of right digits."""
        return float((score.predicted == self.labels[: len(score.predicted)]).double().mean())

    def _network(self, recipe: Recipe) -> RebuiltNetwork:
        return RebuiltNetwork(recipe, self._tensors)


@dataclass(frozen=True, eq=False)
class Outcome:
    """The best guess, the next that is another function, and whether the best may be taken.

    agreement: the share of images to which both give the same digit. p_value: of the paired test
    of their log-likelihoods; 1 where the next has the higher ones.
    """

    best: Score
    accuracy: float
    images: int
    runner_up: Score | None
    agreement: float
    p_value: float

    @property
    def accepted(self) -> bool:
        """Whether it reads enough digits and is clearly the best, or any choice would do."""
        clear = self.p_value < P_VALUE or self.agreement >= MIN_AGREEMENT
        return self.accuracy >= MIN_ACCURACY and clear


def search(choices: Choices, scorer: Scorer) -> Outcome | None:
    """Return the best guess; None where no geometry fits."""
    starts = [choices.start(geometry) for geometry in choices.geometries]
    starts = [guess for guess in starts if scorer.work(guess) is not None]
    if not starts:
        return None
    few = _affordable(scorer, starts[0], FEW)
    beam = scorer.best(starts, few, BEAM)
    if scorer.accuracy(beam[0]) < DOUBTFUL:
        varied = [
            guess
            for start in starts[:8]
            for kind in [start, *choices.structures(start)]
            for form in choices.inputs(kind, turned=True)
            for guess in choices.functions(form)[:6]
        ]
        half = few // 2
        beam = scorer.best(_spread(varied, scorer, half), half, 3 * BEAM)
        beam = scorer.best([*(score.guess for score in beam), *starts], few, BEAM)
        if max(scorer.accuracy(score) for score in beam) < HOPELESS:
            return _decide(beam, scorer)
    if all(score.guess.geometry != starts[0].geometry for score in beam):
        # The most usual geometry is never left out: a wrong activation may hide it.
        beam = [beam[0], *scorer.best(starts[:1], few, 1), *beam[1:-1]]
    some = _affordable(scorer, starts[0], SOME)
    seen: dict[Guess, None] = {}
    for score in beam:
        if seen and scorer.left < WORK / 3:
            break
        seen |= dict.fromkeys(_climb(score.guess, choices, scorer, few, some))
    best = [score.guess for score in scorer.best(seen, some, FINALISTS)]
    work = scorer.work(best[0]) or 1
    last = max(some, int(LAST_WORK / (2 * FINALISTS) / (work + IMAGE)))
    # Few images may have favoured a neighbour of the right guess.
    near = [*choices.functions(best[0])[1:4], *choices.inputs(best[0], turned=False)[:3]]
    top = scorer.best([*best, *near], last, 2 * FINALISTS)
    return _decide(_most_accurate_first(top, scorer), scorer)


def _affordable(scorer: Scorer, guess: Guess, n: int) -> int:
    """Fewer images for a large network."""
    work = scorer.work(guess) or 1
    return max(24, min(n, int(WORK / 200 / (work + IMAGE))))


def _spread(guesses: list[Guess], scorer: Scorer, n: int) -> list[Guess]:
    """As many of the guesses, evenly taken, as half of the work allows."""
    work = scorer.work(guesses[0]) or 1
    most = max(60, int(scorer.left / 4 / (CALL + (work + IMAGE) * n)))
    return guesses[:: -(-len(guesses) // most)]


def _climb(start: Guess, choices: Choices, scorer: Scorer, few: int, some: int) -> list[Guess]:
    """Change one part after the other for the better. Returns the good guesses on the way."""
    # Wrong scaling, order or pooling may each fit the others better: these together first.
    together = scorer.best([start, *choices.together(start)], few // 2, 4)
    top = scorer.best([start, *(score.guess for score in together)], few, 1)
    best, seen = top[0].guess, [start]
    for _ in range(2):
        before = best
        first = scorer.score(best, few)
        turned = first is None or scorer.accuracy(first) < DOUBTFUL
        both = [form for other in choices.main(best) for form in choices.inputs(other, turned)]
        for guesses in (both, choices.structures(best), choices.functions(best)):
            if scorer.left < 0:
                return seen
            top = scorer.best([best, *guesses], few, 5)
            top = scorer.best([best, *(score.guess for score in top)], some, 3)
            seen += [score.guess for score in top]
            best = top[0].guess
        if best == before or scorer.left < 0:
            break
    return seen


def _most_accurate_first(scores: list[Score], scorer: Scorer) -> list[Score]:
    """Put behind the others what reads significantly fewer digits than the most accurate does.

    Training on augmented digits shifts batch norm's statistics, so these decide only among guesses
    that read about as many digits: by McNemar's test, one-sided, at p = 0.01.
    """
    labels = scorer.labels
    most = max(scores, key=scorer.accuracy)

    def is_worse(score: Score) -> bool:
        n = min(len(score.predicted), len(most.predicted))
        right = score.predicted[:n] == labels[:n]
        other = most.predicted[:n] == labels[:n]
        lost, won = int((other & ~right).sum()), int((right & ~other).sum())
        return lost - won > 2.33 * math.sqrt(lost + won)

    return sorted(scores, key=is_worse)


def _decide(scores: list[Score], scorer: Scorer) -> Outcome:
    """Compare the best with the next that is another function.

    Of guesses that are about equally usual and agree as well with the statistics of batch norm, a
    significantly likelier one comes first.
    """
    best = scores[0]
    for other in scores[1:]:
        is_near = (
            other.guess.cost < best.guess.cost + NEARLY_AS_USUAL
            and other.divergence <= best.divergence + NEARLY_AS_CLOSE
        )
        lead = _paired_p(other.likelihoods - best.likelihoods)
        if is_near and lead < P_VALUE and _agreement(best, other) < MIN_AGREEMENT:
            best = other
            break
    accuracy, images = scorer.accuracy(best), len(best.predicted)
    for other in scores:
        difference = best.likelihoods - other.likelihoods
        if float(difference.abs().max()) > 1e-6:
            p_value = _paired_p(difference)
            return Outcome(best, accuracy, images, other, _agreement(best, other), p_value)
    return Outcome(best, accuracy, images, None, 1.0, 0.0)


def _agreement(one: Score, other: Score) -> float:
    """The share of images to which both give the same digit."""
    return float((one.predicted == other.predicted).double().mean())


def _paired_p(difference: Tensor) -> float:
    """Two-sided p-value of a paired t-test, by the normal distribution (hundreds of images)."""
    mean, spread = float(difference.mean()), float(difference.std())
    if mean <= 0.0:
        return 1.0
    if spread == 0.0:
        return 0.0
    return math.erfc(mean / (spread / math.sqrt(len(difference))) / math.sqrt(2))
