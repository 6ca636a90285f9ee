"""Find geometries layer by layer, by the statistics that batch norms stored in training.

With a wrong padding, stride, pooling, order, activation or scaling, the maps differ in mean or
variance from those that the next batch norm has stored. A deep network has too many geometries to
try them all, so its convolutions are decided one after the other, and few beginnings are pursued.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.network.rebuild.guesses import Choices, Guess
from digitcnn.network.rebuild.layers import Stack
from digitcnn.network.rebuild.network import divergence_of, prepare, run
from digitcnn.network.rebuild.plans import Geometry, Place, Ways
from digitcnn.network.rebuild.recipe import InputForm, Step

# The most beginnings that are pursued, and the most of them with the same side, stride, pooling and
# activation; the likely guesses to begin with, and the images that these are chosen on.
BEGINNINGS, OF_ONE_KIND, LIKELY, FIRST_IMAGES = 24, 3, 12, 16
# The most ways through one convolution that are tried, the likeliest first.
_WAYS = 14
# Weight of a guess's cost: the statistics decide, and the cost only where they are about equal.
_COST = 0.1


@dataclass(frozen=True, eq=False)
class _Beginning:
    """A network up to one of its convolutions.

    guess: what is the same in all layers. places, cost, side: as in ``Ways``. divergence: the sum
    over the batch norms so far. x: maps [N, C, S, S]; steps: what leads from them to those of the
    last convolution, empty once it is computed.
    """

    guess: Guess
    ways: Ways
    places: tuple[Place, ...]
    cost: float
    side: int
    x: Tensor
    divergence: float = 0.0
    steps: tuple[Step, ...] = ()

    @property
    def total(self) -> float:
        """How badly it fits, and a little of how unusual it is."""
        cost = self.ways.cost + self.cost
        geometry = dataclasses.replace(self.guess.geometry, cost=cost)
        return self.divergence + _COST * dataclasses.replace(self.guess, geometry=geometry).cost


class Decoder:
    """Finds likely guesses for a stack whose convolutions have batch norms.

    tensors: as for ``RebuiltNetwork``. images: a few training images, [N, 28, 28], 0 to 255.
    """

    def __init__(self, stack: Stack, tensors: Mapping[str, Tensor], images: Tensor) -> None:
        self._stack, self._tensors, self._images = stack, tensors, images
        self._inputs: dict[InputForm, Tensor] = {}

    @torch.inference_mode()
    def guesses(self, choices: Choices, ways: Sequence[Ways], most: int) -> list[Guess]:
        """Return at most ``most`` guesses with their geometries, the likeliest first."""
        likely = self._likely(choices, ways[0])
        beginnings = [
            _Beginning(guess, each, (), 0.0, each.side, self._prepared(guess, each))
            for each in ways
            for guess in likely
        ]
        for _ in self._stack.convs:
            longer = self._longer(beginnings, _WAYS)
            beginnings = [self._computed(one) for one in _spread(longer)]
        found = [
            choices.moved(one.guess, geometry)
            for one in beginnings
            for geometry in one.ways.ends(one.places, one.side, one.cost)
        ]
        return list(dict.fromkeys(found))[:most]

    def _likely(self, choices: Choices, ways: Ways) -> list[Guess]:
        """Return the scalings and kinds of layers that agree best with the first batch norm."""
        usual = choices.start(Geometry(ways.side, ways.resized, ()))
        kinds = dict.fromkeys(
            other for kind in (usual, *choices.structures(usual)) for other in choices.main(kind)
        )
        starts = []
        for form in choices.inputs(usual, turned=False):
            x = self._prepared(form, ways)[:FIRST_IMAGES]
            starts += [
                _Beginning(dataclasses.replace(kind, input=form.input), ways, (), 0.0, ways.side, x)
                for kind in kinds
            ]
        best = sorted(self._longer(starts, 2), key=lambda one: one.total)
        return list(dict.fromkeys(one.guess for one in best))[:LIKELY]

    def _prepared(self, guess: Guess, ways: Ways) -> Tensor:
        form = dataclasses.replace(guess.input, side=ways.side, resized=ways.resized)
        if form not in self._inputs:
            self._inputs[form] = prepare(self._images, form)
        return self._inputs[form]

    def _longer(self, beginnings: Iterable[_Beginning], most: int) -> list[_Beginning]:
        """Return them with one more convolution, in each likely way, up to its batch norm."""
        longer = []
        for one in beginnings:
            ways = sorted(one.ways.steps(one.places, one.side), key=lambda way: way[0])
            longer += [
                dataclasses.replace(
                    one,
                    places=(*one.places, place),
                    cost=one.cost + cost,
                    side=side,
                    steps=tuple(one.guess.steps_around(self._stack, len(one.places), place)),
                )
                for cost, place, side in ways[:most]
            ]
        divergences = self._divergences(longer)
        return [
            dataclasses.replace(one, divergence=one.divergence + more)
            for one, more in zip(longer, divergences, strict=True)
        ]

    def _divergences(self, beginnings: Sequence[_Beginning]) -> list[float]:
        """Return how far the batch norms among their steps are from their statistics."""
        found = [0.0] * len(beginnings)
        # Many share their first steps. Sorted by steps, only the maps on the way to the current one
        # have to be kept, since maps are large.
        order = range(len(beginnings))
        x, path = None, list[tuple[Step, Tensor, float]]()
        for number in sorted(order, key=lambda k: (id(beginnings[k].x), beginnings[k].steps)):
            one = beginnings[number]
            if one.x is not x:
                x, path = one.x, []
            norms = [place for place, step in enumerate(one.steps) if step.op == "norm"]
            if not norms:
                continue
            steps = one.steps[: norms[-1] + 1]
            same = 0
            while same < min(len(path), len(steps)) and path[same][0] == steps[same]:
                same += 1
            del path[same:]
            for step in steps[same:]:
                maps, divergence = path[-1][1:] if path else (one.x, 0.0)
                if step.op == "norm":
                    divergence += divergence_of(maps, step.name, self._tensors)
                path.append((step, run(step, maps, self._tensors), divergence))
            found[number] = path[-1][2]
        return found

    def _computed(self, one: _Beginning) -> _Beginning:
        x = one.x
        for step in one.steps:
            x = run(step, x, self._tensors)
        return dataclasses.replace(one, x=x, steps=())


def _spread(beginnings: list[_Beginning]) -> list[_Beginning]:
    """Return the best, few of one kind: which maps, and what follows a norm, shows only later."""
    best: list[_Beginning] = []
    alike: Counter[tuple[int, int, str, str]] = Counter()
    for one in sorted(beginnings, key=lambda one: one.total):
        kind = one.side, one.places[-1].stride, one.guess.pool, one.guess.activation
        alike[kind] += 1
        if alike[kind] <= OF_ONE_KIND:
            best.append(one)
    return best[:BEGINNINGS]
