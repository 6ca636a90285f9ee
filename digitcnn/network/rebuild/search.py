"""Find the choices under which a network reads digits best, in a bounded amount of work.

A guess is scored by the mean log-likelihood of labelled digits, which tells two functions apart
much sooner than their accuracies do, less what an unusual choice costs (``Guess.cost``). The search
goes from the most plausible geometries to one choice after the other, on few images first and on
all of them last.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from digitcnn.network.reader import InvalidCheckpoint
from digitcnn.network.rebuild.decision import (
    Outcome,
    Score,
    decide,
    likelihoods_of,
    most_accurate_first,
)
from digitcnn.network.rebuild.guesses import Choices, Guess
from digitcnn.network.rebuild.layers import Stack
from digitcnn.network.rebuild.network import RebuiltNetwork
from digitcnn.network.rebuild.plans import Ways
from digitcnn.network.rebuild.recipe import Recipe
from digitcnn.network.rebuild.statistics import BEGINNINGS, Decoder

# What the search may cost, in multiplications: about 1.5 seconds of one core. A call costs as much
# as CALL of them, besides the network's own.
WORK, CALL = 70e9, 15e6
# Seconds of processor time after which nothing more is scored, and the share of them after which no
# further choices are tried, since the same work takes longer on a busy machine.
MAX_SECONDS, SOON = 4.0, 0.45
# What the finalists may cost together.
LAST_WORK = 35e9
# What an image costs in a usual network; a network that costs more is scored on fewer images.
USUAL_WORK = 6e6
# Images that guesses are scored on: the fewer guesses are left, the more images.
VERY_FEW, DECODED, FEW, SOME = 24, 40, 80, 300
# Numbers in a map of all decoded images together: dozens of maps are held at once.
DECODED_NUMBERS = 600_000
# Guesses that are left after a round.
PROMISING, BEAM, FINALISTS = 24, 3, 5
# Below this, another ground, orientation or activation may hide the right geometry.
DOUBTFUL = 0.85
# Below this, no choice of what is left would make it a digit classifier.
HOPELESS = 0.3


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
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.images, self.labels = images, labels
        self._scores: dict[Recipe, Score[Guess]] = {}
        self.left = WORK
        begins = time.thread_time()
        self._soon, self._ends = begins + SOON * seconds, begins + seconds

    def decoded(
        self, choices: Choices, ways: Sequence[Ways], starts: Sequence[Guess]
    ) -> list[Guess]:
        """Return the guesses that fit batch norms' statistics best. starts: fit the shapes."""
        works = [start.recipe(self._stack).check(self._shapes) for start in starts[:8]]
        cost = 4 * BEGINNINGS * max(work.cost for work in works)
        largest = max(work.largest for work in works)
        n = max(8, min(DECODED, int(WORK / 3 / cost), DECODED_NUMBERS // largest))
        decoder = Decoder(self._stack, self._tensors, self.images[:n])
        return decoder.guesses(choices, ways, PROMISING)

    def work(self, guess: Guess) -> int | None:
        """Multiplications per image; None where the guess does not fit the shapes."""
        try:
            return guess.recipe(self._stack).check(self._shapes).cost
        except ValueError:
            return None

    def score(self, guess: Guess, n: int) -> Score[Guess] | None:
        """The score on at least the first ``n`` images; None for a guess that does not fit.

        Once the time is up, the score on the images so far; None if there is none.
        """
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
        now = time.thread_time()
        if now > self._soon:
            self.left = min(self.left, -1.0)
        if now > self._ends:
            return known
        self.left -= CALL + network.work.cost * (n - done)
        with torch.inference_mode():
            logits, divergence = network.logits_and_divergence(self.images[done:n])
            likelihoods, predicted = likelihoods_of(logits, self.labels[done:n])
        if known is not None:
            divergence = (done * known.divergence + (n - done) * divergence) / n
            likelihoods = torch.cat([known.likelihoods, likelihoods])
            predicted = torch.cat([known.predicted, predicted])
        self._scores[recipe] = score = Score(guess, likelihoods, predicted, divergence)
        return score

    def best(self, guesses: Iterable[Guess], n: int, most: int) -> list[Score[Guess]]:
        """The best of many guesses on ``n`` images, one of each recipe.

        Raises InvalidCheckpoint if none was scored in time.
        """
        scores: dict[Recipe, Score[Guess]] = {}
        for guess in guesses:
            score = self.score(guess, n)
            if score is not None:
                scores.setdefault(guess.recipe(self._stack), score)
        if not scores:
            raise InvalidCheckpoint(
                "is a network that takes too long to rebuild; choose a smaller classifier"
            )
        return sorted(scores.values(), key=lambda score: -score.fit(n))[:most]

    def accuracy(self, score: Score[Guess]) -> float:
        """The share of right digits."""
        return score.accuracy(self.labels)

    def _network(self, recipe: Recipe) -> RebuiltNetwork:
        return RebuiltNetwork(recipe, self._tensors)


def search(choices: Choices, scorer: Scorer, ways: Sequence[Ways] = ()) -> Outcome[Guess] | None:
    """Return the best guess; None where no geometry fits.

    ways: for networks whose batch norms reveal the geometry.
    """
    starts = [choices.start(geometry) for geometry in choices.geometries]
    starts = [guess for guess in starts if scorer.work(guess) is not None]
    if not starts:
        return None
    few = _affordable(scorer, starts[0], FEW)
    decoded = scorer.decoded(choices, ways, starts) if ways else []
    every = [*starts[:1], *decoded, *starts[1:]]
    starts = _promising(every, scorer, VERY_FEW, PROMISING)
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
            return decide(beam, scorer.labels)
    if all(score.guess.geometry != starts[0].geometry for score in beam):
        # The most usual geometry is never left out: a wrong activation may hide it.
        beam = [beam[0], *scorer.best(starts[:1], few, 1), *beam[1:-1]]
    some = _affordable(scorer, starts[0], SOME)
    seen: dict[Guess, None] = {}
    for score in beam:
        if seen and scorer.left < WORK / 3:
            break
        seen |= dict.fromkeys(_climb(score.guess, choices, scorer, few, some))
    # With the right activation and scaling, another geometry may do better.
    leader = scorer.best(seen, some, 1)[0].guess
    moved = [choices.moved(leader, start.geometry) for start in every]
    seen |= dict.fromkeys(_promising([leader, *moved], scorer, few, 2 * FINALISTS))
    best = [score.guess for score in scorer.best(seen, some, FINALISTS)]
    # Few images may have favoured a neighbour of the right guess.
    near = [*choices.functions(best[0])[1:4], *choices.inputs(best[0], turned=False)[:3]]
    best = [score.guess for score in scorer.best([*best, *near], some, FINALISTS)]
    last = max(some, int(LAST_WORK / FINALISTS / (scorer.work(best[0]) or 1)))
    top = scorer.best(best, last, FINALISTS)
    return decide(most_accurate_first(top, scorer.labels), scorer.labels)


def _promising(guesses: list[Guess], scorer: Scorer, n: int, most: int) -> list[Guess]:
    """Return the first guess and the best on ``n`` images, of as many as WORK / 8 allows."""
    each = CALL + (scorer.work(guesses[0]) or 1) * n
    affordable = max(PROMISING, int(WORK / 8 / each))
    best = scorer.best(guesses[:affordable], n, most)
    return list(dict.fromkeys([guesses[0], *(score.guess for score in best)]))


def _affordable(scorer: Scorer, guess: Guess, n: int) -> int:
    """Fewer images for a large network."""
    work = scorer.work(guess) or 1
    return max(VERY_FEW, min(n, int(n * USUAL_WORK / work)))


def _spread(guesses: list[Guess], scorer: Scorer, n: int) -> list[Guess]:
    """As many of the guesses, evenly taken, as half of the work allows."""
    work = scorer.work(guesses[0]) or 1
    most = max(60, int(scorer.left / 4 / (CALL + work * n)))
    return guesses[:: -(-len(guesses) // most)]


def _climb(start: Guess, choices: Choices, scorer: Scorer, few: int, some: int) -> list[Guess]:
    """Change one part after the other for the better. Returns the good guesses on the way."""
    # Wrong scaling, order or pooling may each fit the others better: these together first.
    together = scorer.best([start, *choices.together(start)], few // 2, 4)
    top = scorer.best([start, *(score.guess for score in together)], few, 1)
    best, seen = top[0].guess, [start, top[0].guess]
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
