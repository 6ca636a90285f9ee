"""Score guesses on labelled digits, in a bounded amount of work.

Guesses that start with the same steps share the outputs of these steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network.reader import InvalidCheckpoint
from digitcnn.network.rebuild.decision import Score, likelihoods_of
from digitcnn.network.rebuild.guesses import Guess
from digitcnn.network.rebuild.layers import Stack
from digitcnn.network.rebuild.network import BATCH_NUMBERS, divergence_of, prepare, run
from digitcnn.network.rebuild.recipe import InputForm, Recipe, Step, Work

# What the search may cost, in multiplications of a wide convolution: a second and a quarter of one
# core. Not seconds: a slow machine decides as a fast one does.
WORK = 130e9
# What a step costs besides its multiplications, and what a guess costs besides its steps.
STEP, GUESS = 3e6, 30e6
# Images on which a ReLU has to give zero to count as unused.
USED_IMAGES = 1000


# The lowest and the highest values of a linear layer's inputs, [inputs] each.
Range = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class _Place:
    """A place on the way through a network.

    key: the input's form, or the step that led here. x: maps or features of a batch. divergence:
    of the batch norms so far. inputs: of each linear layer so far, the lowest and highest values.
    """

    key: InputForm | Step
    x: Tensor
    divergence: float = 0.0
    inputs: tuple[tuple[str, Tensor, Tensor], ...] = ()


@dataclass(eq=False)
class _Sums:
    """Totals over the images scored so far. logits: [N, 10]. divergence: added up over the images.

    used, ranges: see ``Scorer``.
    """

    logits: Tensor
    divergence: float = 0.0
    used: dict[str, Tensor] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)


class Scorer:
    """Scores guesses on the first images of a set, each image once.

    images: [N, 28, 28], 0 to 255. labels: int64 [N]. work: see WORK.
    """

    def __init__(
        self,
        stack: Stack,
        tensors: Mapping[str, Tensor],
        images: Tensor,
        labels: Tensor,
        work: float = WORK,
    ) -> None:
        self.stack, self.tensors = stack, tensors
        self.images, self.labels = images, labels
        self.left = work
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        # Guesses with the same function differ in their inputs only: there are many of each.
        self._steps: dict[tuple[object, ...], tuple[Step, ...]] = {}
        self._works: dict[Recipe, Work | None] = {}
        self._sums: dict[Recipe, _Sums] = {}
        self._scores: dict[Recipe, Score[Guess]] = {}

    def work(self, guess: Guess) -> Work | None:
        """Return what one image costs; None where the guess does not fit the shapes."""
        return self._work(self._recipe(guess))

    def cost(self, guess: Guess) -> float:
        """Return what one of many images costs. The guess has to fit the shapes."""
        work = self.work(guess)
        assert work is not None
        return work.cost + STEP * len(work.costs) * work.numbers / BATCH_NUMBERS

    def _recipe(self, guess: Guess) -> Recipe:
        key = guess.function
        if key not in self._steps:
            self._steps[key] = guess.recipe(self.stack).steps
        return Recipe(guess.input, self._steps[key])

    def _work(self, recipe: Recipe) -> Work | None:
        if recipe not in self._works:
            try:
                self._works[recipe] = recipe.check(self._shapes)
            except ValueError:
                self._works[recipe] = None
        return self._works[recipe]

    def used(self, guess: Guess) -> dict[str, Tensor]:
        """Return, for each linear layer by name, which inputs were ever not zero, bool [inputs].

        On the first USED_IMAGES images.
        """
        sums = self._sums.get(self._recipe(guess))
        return {} if sums is None else sums.used

    def ranges(self, guess: Guess) -> dict[str, Range]:
        """Return, for each linear layer by name, its inputs' range on all images so far."""
        sums = self._sums.get(self._recipe(guess))
        return {} if sums is None else sums.ranges

    def scores(self, guesses: Iterable[Guess], n: int, share: float = 1.0) -> list[Score[Guess]]:
        """Score guesses on at least the first ``n`` images, one of each recipe.

        Without those that do not fit the shapes. Once this share of WORK is done, or what is left
        of it, the later guesses are scored on the images so far, or not at all.
        """
        recipes: dict[Recipe, Guess] = {}
        for guess in guesses:
            recipe = self._recipe(guess)
            if recipe not in recipes or guess.cost < recipes[recipe].cost:
                recipes[recipe] = guess
        n = min(n, len(self.images))
        left = min(self.left, share * WORK)
        missing: dict[int, list[Recipe]] = {}
        for recipe in recipes:
            work = self._work(recipe)
            known = self._scores.get(recipe)
            done = 0 if known is None else len(known.predicted)
            if work is not None and done < n:
                batches = -(-(n - done) * work.numbers // BATCH_NUMBERS)
                left -= GUESS + STEP * len(work.costs) * batches + work.cost * (n - done)
                if left < 0:
                    break
                missing.setdefault(done, []).append(recipe)
        for done, together in missing.items():
            self._compute({recipe: recipes[recipe] for recipe in sorted(together)}, done, n)
        for recipe in recipes.keys() & self._scores.keys():
            # Of several descriptions of the same function, the most usual one counts.
            known = self._scores[recipe]
            if recipes[recipe].cost < known.guess.cost:
                self._scores[recipe] = replace(known, guess=recipes[recipe])
        return [self._scores[recipe] for recipe in recipes if recipe in self._scores]

    def best(
        self, guesses: Iterable[Guess], n: int, most: int, share: float = 1.0
    ) -> list[Score[Guess]]:
        """Return the best of many guesses on ``n`` images. share: as for ``scores``.

        Raises InvalidCheckpoint if a single one costs too much to be scored.
        """
        scores = self.scores(guesses, n, share)
        if not scores:
            raise InvalidCheckpoint(
                "is a network that takes too long to rebuild; choose a smaller classifier"
            )
        # One for which no work was left may look better by the luck of few images.
        n = min(n, len(self.images))
        return sorted(scores, key=lambda score: (len(score.predicted) < n, -score.fit(n)))[:most]

    def accuracy(self, score: Score[Guess]) -> float:
        """The share of right digits."""
        return score.accuracy(self.labels)

    @torch.inference_mode()
    def _compute(self, guesses: Mapping[Recipe, Guess], done: int, n: int) -> None:
        """Score guesses, sorted by recipe, that were scored on ``done`` images, on ``n``."""
        works = [work for recipe in guesses if (work := self._work(recipe)) is not None]
        batch = max(1, BATCH_NUMBERS // max(work.numbers for work in works))
        # Made first: small tensors between the large ones of the batches would fragment the memory.
        logits = torch.empty(len(guesses), n, CLASSES)
        for recipe, rows in zip(guesses, logits, strict=True):
            sums = self._sums.setdefault(recipe, _Sums(rows))
            rows[:done] = sums.logits[:done]
            sums.logits = rows
        for begin in range(done, n, batch):
            part = self.images[begin : min(begin + batch, n)]
            path: list[_Place] = []
            for recipe, work in zip(guesses, works, strict=True):
                self._follow(recipe, part, path, work)
                place, sums = path[-1], self._sums[recipe]
                sums.logits[begin : begin + len(part)] = place.x.flatten(1)
                sums.divergence += len(part) * place.divergence
                for name, low, high in place.inputs:
                    if begin < USED_IMAGES:
                        used = (low != 0) | (high != 0)
                        sums.used[name] = used | sums.used.get(name, used)
                    lowest, highest = sums.ranges.get(name, (low, high))
                    sums.ranges[name] = torch.minimum(low, lowest), torch.maximum(high, highest)
        results = zip(*likelihoods_of(logits, self.labels[:n]), strict=True)
        for (recipe, guess), result in zip(guesses.items(), results, strict=True):
            known = self._scores.get(recipe)
            best = guess if known is None or guess.cost < known.guess.cost else known.guess
            self._scores[recipe] = Score(best, *result, self._sums[recipe].divergence / n)
        self.left -= GUESS * len(guesses)

    def _follow(self, recipe: Recipe, images: Tensor, path: list[_Place], work: Work) -> None:
        """Change the path to that of a recipe, and compute what is new on it."""
        keys: list[InputForm | Step] = [recipe.input, *recipe.steps]
        same = 0
        while same < min(len(path), len(keys)) and path[same].key == keys[same]:
            same += 1
        del path[same:]
        for number, key in enumerate(keys[same:], same):
            if isinstance(key, InputForm):
                path.append(_Place(key, prepare(images, key)))
                continue
            x, divergence, inputs = path[-1].x, path[-1].divergence, path[-1].inputs
            if key.op == "norm":
                divergence += divergence_of(x, key.name, self.tensors)
            elif key.op == "linear":
                inputs = (*inputs, (key.name, x.amin(dim=0), x.amax(dim=0)))
            path.append(_Place(key, run(key, x, self.tensors), divergence, inputs))
            self.left -= STEP + len(images) * work.costs[number - 1]
