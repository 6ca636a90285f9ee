"""Find the choices under which a network reads digits best, in a bounded amount of work.

A guess is scored by the mean log-likelihood of labelled digits, which tells two functions apart
much sooner than their accuracies do, less what an unusual choice costs (``Guess.cost``). The search
goes from the most plausible geometries to one choice after the other, on few images first, and
ends with a race of the best on ever more images.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from torch import Tensor

from digitcnn.network.rebuild.decision import (
    DOUBTFUL,
    MIN_ACCURACY,
    Outcome,
    Score,
    decide,
    is_beaten,
    is_same,
    most_accurate_first,
)
from digitcnn.network.rebuild.guesses import Choices, Guess
from digitcnn.network.rebuild.layers import Stack
from digitcnn.network.rebuild.plans import Geometry, Ways
from digitcnn.network.rebuild.scoring import WORK, Scorer
from digitcnn.network.rebuild.statistics import BEGINNINGS, Decoder
from digitcnn.network.rebuild.unused import moved_oppositely, were_trained

# What an image costs in a usual network; a network that costs more is scored on fewer images.
USUAL_WORK = 10e6
# Images that guesses are scored on: the fewer guesses are left, the more images.
VERY_FEW, DECODED, FEW, SOME = 24, 40, 80, 300
# Numbers in all maps of all decoded images together: dozens of maps are held at once.
DECODED_NUMBERS = 2_000_000
# What of WORK is kept for the race of the finalists.
LAST_WORK = WORK * 0.4
# What is added where the race leaves the best two undecided.
MORE_WORK = WORK * 0.5
# The most combinations of all choices; work rarely suffices for as many.
VARIED = 1500
# Guesses that are left after a round.
PROMISING, BEAM, FINALISTS = 24, 3, 5
# Geometries that are tried with other choices than the usual ones at once.
MOST_USUAL = 3
# How many times as many images the next round of the race has.
MORE = 4
# Below this, no choice of what is left would make it a digit classifier.
HOPELESS = 0.3
# The divergence of a guess whose unused weights were trained after all.
REFUTED = 1.0


def search(choices: Choices, scorer: Scorer, ways: Sequence[Ways] = ()) -> Outcome[Guess] | None:
    """Return the best guess; None where no geometry fits.

    ways: for networks whose batch norms reveal the geometry.
    """
    starts = [choices.start(geometry) for geometry in choices.geometries]
    starts = [guess for guess in starts if scorer.work(guess) is not None]
    if not starts:
        return None
    scorer.left -= LAST_WORK
    few, some = (_affordable(scorer, starts[0], n) for n in (FEW, SOME))
    every = [*starts[:1], *(_decoded(choices, scorer, ways, starts) if ways else []), *starts[1:]]
    # The usual choices may be so wrong that another geometry does better with them.
    varied = [guess for start in starts[:MOST_USUAL] for guess in choices.together(start)]
    varied.sort(key=lambda guess: guess.cost)
    together = scorer.best(varied, VERY_FEW, BEAM, share=1 / 8)
    starts = _promising(every, scorer, VERY_FEW, PROMISING)
    beam = scorer.best([*starts, *(score.guess for score in together)], few, BEAM)
    if scorer.accuracy(beam[0]) < DOUBTFUL:
        beam = _varied(starts, choices, scorer, few)
        if max(scorer.accuracy(score) for score in beam) < HOPELESS:
            return decide(beam, scorer.labels)
    leader, climbed = beam[0].guess, set[Geometry]()
    seen: dict[Guess, None] = {}
    while leader.geometry not in climbed and (not seen or scorer.left > WORK / 5):
        climbed.add(leader.geometry)
        seen |= dict.fromkeys(_climb(leader, choices, scorer, few, some))
        # With the right activation and scaling, another geometry may do better; so may the other
        # kind of pooling or activation there.
        leader = scorer.best(seen, some, 1)[0].guess
        others = [guess for guess in choices.structures(leader) if guess.pool != leader.pool]
        kinds = dict.fromkeys([leader, *others[:1], *choices.main(leader)])
        moved = [choices.moved(kind, start.geometry) for start in every for kind in kinds]
        seen |= dict.fromkeys(_promising([leader, *moved], scorer, few // 2, FINALISTS))
        leader = scorer.best(seen, some, 1)[0].guess
    best = [score.guess for score in scorer.best(seen, some, FINALISTS)]
    scorer.left += LAST_WORK
    near = neighbours(best, choices, scorer, few)
    best = [score.guess for score in scorer.best([*best, *near], some, FINALISTS)]
    finalists = most_accurate_first(_race(best, scorer, some), scorer.labels)
    return decided(with_slopes(finalists, choices, scorer), scorer)


def decided(finalists: list[Score[Guess]], scorer: Scorer) -> Outcome[Guess]:
    """Decide between the finalists, on more images where the best two are not told apart."""
    outcome = decide(finalists, scorer.labels)
    more = MORE_WORK
    while outcome.accuracy >= MIN_ACCURACY and not outcome.is_clear:
        assert outcome.runner_up is not None
        two = [outcome.best, outcome.runner_up]
        scorer.left, more = scorer.left + more, 0.0
        seen = [len(score.predicted) for score in two]
        n = max(*seen, _next(min(seen), len(two), two[0].guess, scorer))
        scores = scorer.scores([score.guess for score in two], n)
        if n < 1.5 * min(seen) or min(len(score.predicted) for score in scores) < n:
            break
        rest = [score for score in finalists if score not in two]
        finalists = [
            *(
                dataclasses.replace(score, divergence=before.divergence)
                for score, before in zip(scores, two, strict=True)
            ),
            *rest,
        ]
        outcome = decide(most_accurate_first(finalists, scorer.labels), scorer.labels)
    return outcome


def neighbours(best: list[Guess], choices: Choices, scorer: Scorer, few: int) -> list[Guess]:
    """Return neighbours of the best guesses that may have lost on few images by chance.

    Each has its own best scaling: an unusual geometry or another kind of pooling may lead with a
    scaling that does not suit the right one.
    """
    bases = [best[0], *[guess for guess in best if guess.pool != best[0].pool][:1]]
    bases += [choices.moved(best[0], geometry) for geometry in choices.geometries[:MOST_USUAL]]
    # A file that gives every step leaves no other geometry that fits its shapes.
    bases = [guess for guess in bases if scorer.scores(choices.scalings(guess), few)]
    near = [scorer.best(choices.scalings(guess), few, 1)[0].guess for guess in bases]
    # An order that was worse with another activation or scaling may be the right one with this.
    orders = scorer.best([best[0], *choices.structures(best[0])], few, BEAM)
    return [*near, *(score.guess for score in orders), *choices.functions(best[0])[1:4]]


def _affordable(scorer: Scorer, guess: Guess, n: int) -> int:
    """Fewer images for a large network."""
    return max(VERY_FEW, min(n, int(n * USUAL_WORK / scorer.cost(guess))))


def _decoded(
    choices: Choices, scorer: Scorer, ways: Sequence[Ways], starts: Sequence[Guess]
) -> list[Guess]:
    """Return the guesses that fit batch norms' statistics best. starts: fit the shapes."""
    works = [work for start in starts[:8] if (work := scorer.work(start)) is not None]
    cost = 4 * BEGINNINGS * max(work.cost for work in works)
    most = DECODED_NUMBERS // max(work.numbers for work in works)
    n = max(8, min(DECODED, int(WORK / 4 / cost), most))
    scorer.left -= n * cost
    decoder = Decoder(scorer.stack, scorer.tensors, scorer.images[:n])
    return decoder.guesses(choices, ways, PROMISING)


def _promising(guesses: list[Guess], scorer: Scorer, n: int, most: int) -> list[Guess]:
    """Return the first guess and the best on ``n`` images, of as many as WORK / 8 allows."""
    best = scorer.best(guesses, n, most, share=1 / 8)
    return list(dict.fromkeys([guesses[0], *(score.guess for score in best)]))


def _varied(starts: list[Guess], choices: Choices, scorer: Scorer, few: int) -> list[Score[Guess]]:
    """Return the best of many combinations: no start reads digits well by itself."""
    functions = [
        function
        for start in starts[:8]
        for kind in [start, *choices.structures(start)]
        for function in choices.functions(kind)[:6]
    ]
    # All inputs in turn: work may suffice for the most usual of the other choices only.
    functions.sort(key=lambda guess: guess.cost)
    every = (guess for each in functions for guess in choices.inputs(each, turned=True))
    varied = itertools.islice(every, VARIED)
    beam = scorer.best(varied, few // 2, 3 * BEAM, share=1 / 4)
    return scorer.best([*(score.guess for score in beam), *starts], few, BEAM)


def _climb(start: Guess, choices: Choices, scorer: Scorer, few: int, some: int) -> list[Guess]:
    """Change one part after the other for the better. Returns the good guesses on the way."""
    # Wrong scaling, order or pooling may each fit the others better: these together first.
    together = scorer.best([start, *choices.together(start)], few // 2, 4, share=1 / 8)
    top = scorer.best([start, *(score.guess for score in together)], few, 1)
    best, seen = top[0].guess, [start, top[0].guess]
    for _ in range(2):
        before = best
        turned = scorer.accuracy(scorer.best([best], few, 1)[0]) < DOUBTFUL
        inputs = choices.inputs(best, turned)
        for guesses in (inputs, choices.structures(best), choices.functions(best)):
            top = scorer.best([best, *guesses], few, 5)
            top = scorer.best([best, *(score.guess for score in top)], some, 3)
            seen += [score.guess for score in top]
            best = top[0].guess
            if scorer.left < WORK / 10:
                return seen
        if best == before:
            break
    return seen


def _race(guesses: list[Guess], scorer: Scorer, n: int) -> list[Score[Guess]]:
    """Return the likeliest, scored on ever more images while several are left."""
    best = scorer.best(guesses, n, FINALISTS)
    beaten: list[Score[Guess]] = []
    while len(best) > 1:
        n = _next(n, len(best), best[0].guess, scorer)
        if n < 1.5 * len(best[0].predicted):
            break
        best = scorer.best([score.guess for score in best], n, FINALISTS)
        beaten += [score for score in best if is_beaten(score, best[0])]
        same = [score for score in best[1:] if is_same(score, best[0])]
        best = [score for score in best if score not in beaten and score not in same]
    return [*best, *beaten]


def _next(n: int, racers: int, guess: Guess, scorer: Scorer) -> int:
    """Return how many images the next round of a race has, where ``n`` was the last."""
    affordable = int(0.7 * scorer.left / (racers * scorer.cost(guess)))
    return min(MORE * n, n + max(0, affordable), len(scorer.images))


def with_slopes(
    finalists: list[Score[Guess]], choices: Choices, scorer: Scorer
) -> list[Score[Guess]]:
    """Put the best guess with ReLU and with leaky ReLU first; the weights may tell which it is."""
    best = finalists[0].guess
    relu, leaky = choices.with_slope(best, "relu"), choices.with_slope(best, "leaky_relu")
    if relu == leaky:
        return finalists
    n = len(finalists[0].predicted)
    # One of them may have been scored on very few images only.
    scorer.left += 1.2 * n * scorer.cost(best)
    scorer.scores([relu, leaky], n)
    scores = scorer.best([relu, leaky], _next(n, 2, best, scorer), 2)
    is_scaled = best.input.std > 0.01
    trained = were_trained(
        _unused(relu, leaky, scorer),
        scorer.tensors,
        _behind_maps(scorer.stack),
        is_scaled=is_scaled,
    )
    if trained is None and is_scaled and moved_oppositely(scorer.ranges(relu), scorer.tensors):
        trained = True
    if trained is not None:
        refuted = (relu if trained else leaky).recipe(scorer.stack)
        scores = [
            dataclasses.replace(score, divergence=score.divergence + REFUTED)
            if score.guess.recipe(scorer.stack) == refuted
            else score
            for score in scores
        ]
    # Work may have sufficed for more images of one of them.
    n = min(len(score.predicted) for score in scores)
    scores.sort(key=lambda score: -score.fit(n))
    others = [score for score in finalists if score.guess not in (relu, leaky)]
    return [*scores, *others]


def _unused(relu: Guess, leaky: Guess, scorer: Scorer) -> dict[str, Tensor]:
    """Return, by linear layer, which inputs are always zero with ReLU and not with leaky ReLU."""
    other = scorer.used(leaky)
    return {name: ~used & other[name] for name, used in scorer.used(relu).items() if name in other}


def _behind_maps(stack: Stack) -> str:
    """Return the name of the linear layer that takes the maps."""
    return stack.linears[0].name if stack.convs and stack.linears else ""
