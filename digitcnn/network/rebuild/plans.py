"""Which geometries the shapes allow: padding, stride and pooling of each convolution.

Weights say which kernels there are and how many numbers reach the first linear layer; everything
between has to lead from the image's side to that number. The ways are listed by plausibility, the
usual ones first. What a pickled module says of its stride, padding and pooling limits the list.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from digitcnn.digits.digit_set import SIDE
from digitcnn.network.reader import StateDict
from digitcnn.network.rebuild.layers import Layer, Stack
from digitcnn.network.rebuild.recipe import pooled_side

# Kernel, stride, padding and ceil mode; and how unusual it is.
Pool = tuple[int, int, int, int]
_POOLS: dict[Pool | None, float] = {
    (2, 2, 0, 0): 0.0, (3, 2, 0, 0): 3.0, (3, 3, 0, 0): 3.0, (3, 2, 1, 0): 3.0, (2, 2, 0, 1): 4.0,
    (4, 4, 0, 0): 4.0, (2, 1, 0, 0): 4.0, (2, 2, 1, 0): 5.0, (3, 1, 1, 0): 5.0, (5, 5, 0, 0): 6.0,
}  # fmt: skip
_NO_POOL = 1.0
# Costs of neighbouring convolutions in different styles, also where the image is padded besides,
# and of maps that become smaller without more channels.
_MIXED, _MIXED_AND_LARGE, _EARLY = 0.6, 3.0, 0.5
# The cost of pooling maps that are then pooled adaptively.
_POOLED_TWICE = 1.5
# No map of a digit is larger.
MAX_SIDE = 64
# How many beginnings of geometries are looked at, and how many poolings a pickled network may have.
MAX_BEGINNINGS = 50_000
MAX_REGISTERED = 12


@dataclass(frozen=True)
class Place:
    """What surrounds one convolution."""

    stride: int
    padding: int
    dilation: int
    groups: int
    pool: Pool | None


@dataclass(frozen=True)
class Geometry:
    """The side of the input, what surrounds each convolution, and how the maps end.

    resized: see InputForm. final: the side to which maps are pooled adaptively before they are
    flattened; 0 where they are not. cost: how unusual it is; 0 is the usual.
    """

    side: int
    resized: bool
    places: tuple[Place, ...]
    final: int = 0
    cost: float = dataclasses.field(default=0.0, compare=False)


def geometries(stack: Stack, state: StateDict, most: int) -> list[Geometry]:
    """The most plausible geometries, best first. Empty where the shapes allow none."""
    if not stack.convs:
        side = math.isqrt(stack.linears[0].inputs)
        if side * side != stack.linears[0].inputs:
            return []
        return [Geometry(side, resized, (), 0, cost) for cost, of, resized in _SIDES if of == side]
    found: list[Geometry] = []
    for ways in _every_way(stack, state):
        limit = found[most - 1].cost if len(found) >= most else math.inf
        found = sorted([*found, *itertools.islice(ways.geometries(limit), most)], key=_cost)
        found = list(dict.fromkeys(found))
    return [dataclasses.replace(g, cost=g.cost - found[0].cost) for g in found[:most]]


def _cost(geometry: Geometry) -> float:
    return geometry.cost


# The cost of an input, its side, and whether images are resized to it, else padded or cropped.
_SIDES = [
    (0.0, SIDE, False), (1.2, 32, False), (1.5, 32, True), (3.0, 16, True), (3.0, 14, True),
    (3.5, 20, True), (3.5, 20, False), (4.0, 24, True), (4.0, 24, False),
]  # fmt: skip
_USUAL_SIDES = 3
_DILATED = 2.0


def all_ways(stack: Stack, state: StateDict) -> list[Ways]:
    """The ways from each usual size of the input, for a network with convolutions."""
    layers = _Layers(stack, state)
    return [Ways(layers, *side) for side in _SIDES[:_USUAL_SIDES]]


def _every_way(stack: Stack, state: StateDict) -> Iterator[Ways]:
    """Yield the ways from inputs of each size, then those through dilated kernels."""
    layers = _Layers(stack, state)
    for side in _SIDES:
        yield Ways(layers, *side)
    wide = [layer.shape[2] > 2 for layer in stack.convs]
    patterns = {
        tuple(dilation if is_wide else 1 for dilation, is_wide in zip(pattern, wide, strict=True))
        for pattern in (
            [2] * len(wide),
            [1, *[2] * (len(wide) - 1)],
            [2 ** min(number, 3) for number in range(len(wide))],
        )
    }
    for dilations in sorted(patterns):
        if max(dilations) > 1:
            cost = _DILATED * sum(dilation > 1 for dilation in dilations)
            yield Ways(_Layers(stack, state, dilations), cost, SIDE, False)


class Ways:
    """The ways from an image to the linear layers, convolution by convolution.

    cost, side, resized: of the input, as a ``Geometry`` has them.
    """

    def __init__(self, layers: _Layers, cost: float, side: int, resized: bool) -> None:
        self.cost, self.side, self.resized = cost, side, resized
        self._layers = layers
        self._convs = layers.convs

    def steps(self, places: tuple[Place, ...], side: int) -> list[tuple[float, Place, int]]:
        """Return the ways through the next convolution from which there is a way to the end.

        places: of those before it. side: of their maps. Each way has its cost, what surrounds the
        convolution, and the side of its maps.
        """
        return [
            (cost + self._style(places, place), place, after)
            for cost, place, after in self._layers.possible(len(places), side)
        ]

    def _style(self, places: tuple[Place, ...], place: Place) -> float:
        """Return the cost of a convolution whose padding or pooling differs from earlier ones."""
        if not places:
            return 0.0
        cost = _MIXED * (places[-1].pool != place.pool)
        if _is_padded_otherwise(places, place, self._convs):
            cost += _MIXED if self.side == SIDE else _MIXED_AND_LARGE
        return cost

    def ends(self, places: tuple[Place, ...], side: int, cost: float) -> Iterator[Geometry]:
        """Yield the geometries with these places, whose last maps have that side."""
        for extra, final in self._layers.ends(side):
            if final and places[-1].pool:
                extra += _POOLED_TWICE
            yield Geometry(self.side, self.resized, places, final, self.cost + cost + extra)

    def geometries(self, limit: float = math.inf) -> Iterator[Geometry]:
        """Yield geometries by cost, up to ``limit``: a best-first search, layer by layer.

        Only beginnings that can be completed are pursued: a deep network has too many.
        """
        # Least cost in all, tie, cost so far, side, the places so far.
        heap: list[tuple[float, int, float, int, tuple[Place, ...]]] = [
            (self._layers.rest(0, self.side), 0, 0.0, self.side, ())
        ]
        ties = itertools.count(1)
        while heap:
            least, _, cost, side, places = heapq.heappop(heap)
            if self.cost + least > limit:
                return
            if len(places) == len(self._convs):
                yield from self.ends(places, side, cost)
                continue
            for extra, place, after in self.steps(places, side):
                tie = next(ties)
                if tie > MAX_BEGINNINGS:
                    return
                least = cost + extra + self._layers.rest(len(places) + 1, after)
                # Of equal costs the latest comes first: it is the most complete.
                heapq.heappush(heap, (least, -tie, cost + extra, after, (*places, place)))


class _Layers:
    """What may surround the convolutions, and how far each map is from the end, for every input.

    dilations: of the convolutions whose modules do not say it; empty for none.
    """

    def __init__(self, stack: Stack, state: StateDict, dilations: tuple[int, ...] = ()) -> None:
        self.convs = stack.convs
        self._options = _options(stack, state, dilations or (1,) * len(stack.convs))
        self._into = stack.linears[0].inputs if stack.linears else 0
        self._steps: dict[tuple[int, int], list[tuple[float, Place, int]]] = {}
        self._costs: dict[tuple[int, int], float] = {}

    def possible(self, number: int, side: int) -> list[tuple[float, Place, int]]:
        """Return the ways after ``number`` convolutions, whatever surrounds these."""
        key = number, side
        if key not in self._steps:
            self._steps[key] = [
                step
                for step in self._options[number](side)
                if step[2] <= MAX_SIDE and math.isfinite(self.rest(number + 1, step[2]))
            ]
        return self._steps[key]

    def rest(self, number: int, side: int) -> float:
        """Return the least cost of a way to the last map; infinite where there is none."""
        key = number, side
        if key not in self._costs:
            if number == len(self._options):
                costs = [0.0 for _ in self.ends(side)]
            else:
                costs = [
                    extra + self.rest(number + 1, after)
                    for extra, _, after in self.possible(number, side)
                ]
            self._costs[key] = min(costs, default=math.inf)
        return self._costs[key]

    def ends(self, side: int) -> Iterator[tuple[float, int]]:
        """Yield how the last maps, of that side, may end: a cost and ``Geometry.final``."""
        return _ends(side, self.convs[-1].outputs, self._into)


def _ends(side: int, channels: int, into: int) -> Iterator[tuple[float, int]]:
    """How maps of that side may become the first linear layer's inputs, or the ten logits."""
    if into == 0:
        if side > 1:
            yield 0.5 + _large(side), 1
        else:
            yield 0.0, 0
        return
    if into % channels:
        return
    wanted = math.isqrt(into // channels)
    if wanted * wanted * channels != into:
        return
    if side == wanted:
        yield 0.0, 0
    elif side > wanted:
        # AdaptiveAvgPool2d: global pooling is usual, other sides are not.
        yield (0.7 + _large(side) if wanted == 1 else 3.5), wanted


def _large(side: int) -> float:
    """Return the extra cost of pooling a whole map of that side, which is usually small by then."""
    return 0.15 * max(0, side - 8)


def _is_padded_otherwise(places: tuple[Place, ...], place: Place, convs: list[Layer]) -> bool:
    """Whether a convolution is padded in another style than those before it."""

    def is_padded(number: int, at: Place) -> bool:
        return at.padding == at.dilation * (convs[number].shape[2] // 2)

    # A 1x1 convolution has no style of padding.
    wide = [n for n in range(len(places)) if convs[n].shape[2] > 1]
    if not wide or convs[len(places)].shape[2] == 1:
        return False
    return is_padded(wide[-1], places[wide[-1]]) != is_padded(len(places), place)


class _Options:
    """What may surround one convolution, given the side of its input."""

    def __init__(
        self,
        layer: Layer,
        groups: int,
        facts: dict[str, int | None],
        pools: dict[Pool | None, float],
        grows: bool,
    ) -> None:
        self.layer, self.groups, self.facts, self.pools = layer, groups, facts, pools
        self.dilation = facts["dilation"] or 1
        self.grows = grows

    def __call__(self, side: int) -> Iterator[tuple[float, Place, int]]:
        kernel, dilation = self.layer.shape[2], self.dilation
        for padding, stride in itertools.product(self._paddings(kernel), self._strides(kernel)):
            after = (side + 2 * padding[0] - dilation * (kernel - 1) - 1) // stride[0] + 1
            if after < 1:
                continue
            for pool, cost in self.pools.items():
                pooled = after if pool is None else pooled_side(after, *pool[:3], bool(pool[3]))
                # Pooling after a stride of 2 is unusual, not pooling after it is usual.
                if stride[0] > 1:
                    cost = 1.5 if pool else 0.0
                if not self.grows and (stride[0] > 1 or pool):
                    cost += _EARLY
                if pooled >= 1:
                    place = Place(stride[0], padding[0], dilation, self.groups, pool)
                    yield padding[1] + stride[1] + cost, place, pooled

    def _paddings(self, kernel: int) -> list[tuple[int, float]]:
        known = self.facts.get("padding")
        if known is not None:
            return [(known, 0.0)]
        same = self.dilation * (kernel // 2)
        costs = {0: 0.2, same: 0.2} if kernel > 1 else {0: 0.0}
        for other in (1, 2):
            if other <= kernel // 2 and self.dilation == 1:
                costs.setdefault(other, 2.5)
        return list(costs.items())

    def _strides(self, kernel: int) -> list[tuple[int, float]]:
        known = self.facts.get("stride")
        if known is not None:
            return [(known, 0.0)]
        return [(1, 0.0), (2, 2.0)] if kernel > 1 else [(1, 0.0)]


def _options(stack: Stack, state: StateDict, dilations: tuple[int, ...]) -> list[_Options]:
    modules = {module.name: module for module in state.modules}
    registered = _registered_pools(state)
    options = []
    channels = stack.convs[0].inputs
    for number, layer in enumerate(stack.convs):
        module = modules.get(layer.name)
        facts = {
            name: square(module.attributes.get(name)) if module else None
            for name in ("stride", "padding", "dilation")
        }
        if facts["stride"] == 0:  # no module has it
            facts["stride"] = None
        facts["dilation"] = facts["dilation"] or dilations[number]
        following = stack.convs[number + 1] if number + 1 < len(stack.convs) else None
        pools: dict[Pool | None, float] = {None: _NO_POOL, **_POOLS}
        if registered:
            pools = {None: _NO_POOL, **dict.fromkeys(registered, 0.0)}
        slots = _slots(layer, following, stack)
        if slots is not None and slots < 2:
            pools = {pool: cost + (3.0 if pool else -1.0) for pool, cost in pools.items()}
        elif slots is not None:
            pools = {pool: cost + (0.0 if pool else 1.0) for pool, cost in pools.items()}
        grows = following is None or following.outputs > layer.outputs
        options.append(_Options(layer, max(1, channels // layer.inputs), facts, pools, grows))
        channels = layer.outputs
    return options


def _slots(layer: Layer, following: Layer | None, stack: Stack) -> int | None:
    """How many modules without weights a Sequential has between two layers, by their numbers.

    None where the numbers do not tell, such as those of a list of weights.
    """
    if following is None:
        return None
    parent, _, number = layer.name.rpartition(".")
    other, _, end = following.name.rpartition(".")
    if parent != other or not re.fullmatch(r"\d{1,3}", number) or not end.isdecimal():
        return None
    between = int(end) - int(number) - 1
    if between <= 0:
        return None
    norms = [stack.norms.get(layer.name), stack.others.get(layer.name)]
    return between - sum(norm is not None for norm in norms)


def _registered_pools(state: StateDict) -> list[Pool]:
    pools = []
    for module in state.modules:
        if module.is_torch and module.kind in ("MaxPool2d", "AvgPool2d"):
            pool = pool_of(module.attributes)
            if pool is not None:
                pools.append(pool)
    return list(dict.fromkeys(pools))[:MAX_REGISTERED]


def pool_of(attributes: dict[str, object]) -> Pool | None:
    """The numbers of a pickled pooling module; None where they are not square."""
    kernel = square(attributes.get("kernel_size"))
    stride = square(attributes.get("stride"))
    padding = square(attributes.get("padding", 0))
    if not kernel or padding is None or stride == 0:
        return None
    return kernel, stride or kernel, padding, int(bool(attributes.get("ceil_mode")))


def square(value: object) -> int | None:
    """The number of a pair of equal numbers, or of one number."""
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, (tuple, list)) and len(set(map(str, value))) == 1:
        return square(value[0])
    return None
