"""Find geometries layer by layer, by the statistics that batch norms stored in training.

With a wrong padding, stride, pooling, order, activation or scaling, the maps differ in mean or
variance from those that the next batch norm has stored. A deep network has too many geometries to
try them all, so its convolutions are decided one after the other, and few beginnings are pursued.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
            longer = [after for one in beginnings for after in self._longer(one, _WAYS)]
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
        longer = (after for start in starts for after in self._longer(start, 2))
        best = sorted(longer, key=lambda one: one.total)
        return list(dict.fromkeys(one.guess for one in best))[:LIKELY]

    def _prepared(self, guess: Guess, ways: Ways) -> Tensor:
        form = dataclasses.replace(guess.input, side=ways.side, resized=ways.resized)
        if form not in self._inputs:
            self._inputs[form] = prepare(self._images, form)
        return self._inputs[form]

    def _longer(self, one: _Beginning, most: int) -> Iterator[_Beginning]:
        """Yield a beginning with one more convolution, in each likely way, up to its batch norm."""
        # Ways share their first steps. Maps are large, so only those of one beginning are stored.
        known: dict[tuple[Step, ...], tuple[Tensor, float]] = {}
        ways = sorted(one.ways.steps(one.places, one.side), key=lambda way: way[0])
        for cost, place, side in ways[:most]:
            steps = tuple(one.guess.steps_around(self._stack, len(one.places), place))
            norms = [number for number, step in enumerate(steps) if step.op == "norm"]
            x, divergence = one.x, 0.0
            for number in range(norms[-1] + 1 if norms else 0):
                step, done = steps[number], steps[: number + 1]
                if done not in known:
                    here = divergence_of(x, step.name, self._tensors) if step.op == "norm" else 0.0
                    known[done] = run(step, x, self._tensors), divergence + here
                x, divergence = known[done]
            yield dataclasses.replace(
                one,
                places=(*one.places, place),
                cost=one.cost + cost,
                side=side,
                divergence=one.divergence + divergence,
                steps=steps,
            )

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
