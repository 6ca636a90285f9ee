"""What shapes do not tell, as a set of choices; and the recipe that a choice gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from digitcnn.digits.digit_set import SIDE
from digitcnn.network.model import MNIST_MEAN, MNIST_STD
from digitcnn.network.rebuild.layers import Layer, Stack
from digitcnn.network.rebuild.plans import Geometry, Place
from digitcnn.network.rebuild.recipe import ACTIVATIONS, IMAGENET_SCALING, InputForm, Recipe, Step

IMAGENET = "ImageNet means and deviations"
# Mean and standard deviation, on pixels from 0 to 1, of the scalings that people train with.
INPUT_SCALINGS = {
    "0 to 1": (0.0, 1.0),
    "MNIST mean and deviation": (MNIST_MEAN, MNIST_STD),
    "-1 to 1": (0.5, 0.5),
    "0 to 255": (0.0, 1 / 255),
    "EMNIST mean and deviation": (0.1736, 0.3317),
    IMAGENET: IMAGENET_SCALING,
}

# How much better a guess has to fit than the usual one, as the logarithm of the ratio of their mean
# negative log-likelihoods. From networks of known make: another activation fits up to a tenth
# better than the one that a network was trained with.
_COSTS = {
    "relu": 0.0, "leaky_relu": 0.01, "elu": 0.1, "tanh": 0.05, "sigmoid": 0.05, "": 0.15,
    "relu6": 0.09, "selu": 0.17, "hardtanh": 0.14, "softsign": 0.07,
    "0 to 255": 0.25, "EMNIST mean and deviation": 0.2,
}  # fmt: skip
_UNUSUAL_ACTIVATION = 0.3
_GEOMETRY_COST = 0.06


def input_cost(form: InputForm) -> float:
    """How unusual an input is, on the same scale."""
    cost = 0.1 * (form.inverted + form.transposed + form.sharp) + 0.2 * form.framed
    for name, scaling in INPUT_SCALINGS.items():
        cost += _COSTS.get(name, 0.0) * (scaling == (form.mean, form.std))
    return cost


def _scalings(form: InputForm) -> list[tuple[float, float]]:
    """ImageNet's is for colour images only."""
    names = [name for name in INPUT_SCALINGS if name != IMAGENET or form.channels == 3]
    return [INPUT_SCALINGS[name] for name in names]


def inputs(form: InputForm, turned: bool) -> list[InputForm]:
    """An input in all scalings; turned: and with inverted ground and transposed.

    Smaller images are scaled down with and without smoothing.
    """
    flags = (False, True) if turned else (False,)
    shrinks = form.resized and form.side < SIDE
    return [
        dataclasses.replace(
            form, mean=mean, std=std, inverted=inverted, transposed=transposed, sharp=sharp
        )
        for mean, std in _scalings(form)
        for inverted in {*flags, form.inverted}
        for transposed in {*flags, form.transposed}
        for sharp in ((False, True) if shrinks else (False,))
    ]


# The order of batch norm, activation and pooling after a convolution.
Order = tuple[str, str, str]
_ORDERS: tuple[Order, ...] = (
    ("norm", "act", "pool"), ("act", "norm", "pool"), ("act", "pool", "norm"),
    ("norm", "pool", "act"), ("pool", "norm", "act"), ("pool", "act", "norm"),
)  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """One way to fill in what the file does not say.

    activation: after convolutions; linear_activation: after linear layers but the last; ``""`` is
    none. pool: ``max`` or ``avg``. order: after a convolution; linear_order: likewise without
    pooling. flatten: ``flatten`` or ``flatten_last``. final: how maps are pooled adaptively.
    bare: whether convolutions without a batch norm, where others have one, have no activation.
    steps: where the file says them all; then nothing but the input is guessed.
    """

    geometry: Geometry
    input: InputForm
    activation: str = "relu"
    linear_activation: str = "relu"
    pool: str = "max"
    order: Order = _ORDERS[0]
    linear_order: tuple[str, str] = ("norm", "act")
    flatten: str = "flatten"
    final: str = "adaptive_avg"
    bare: bool = False
    steps: tuple[Step, ...] = ()

    @property
    def cost(self) -> float:
        """How unusual it is, on the scale of ``_COSTS``."""
        # Of many convolutions, each may be a little unusual.
        layers = max(1.0, len(self.geometry.places) / 2)
        cost = _GEOMETRY_COST * self.geometry.cost / layers + input_cost(self.input)
        for name in {self.activation, self.linear_activation}:
            cost += _COSTS.get(name, _UNUSUAL_ACTIVATION)
        cost += 0.15 * (self.activation != self.linear_activation)
        cost += 0.1 * (self.flatten == "flatten_last") + 0.01 * self.bare
        cost += 0.03 * (self.pool == "avg") + 0.1 * (self.final == "adaptive_max")
        usual = self.order in _ORDERS[:3] and self.linear_order == ("norm", "act")
        return cost + 0.12 * (not usual) + 0.01 * _ORDERS.index(self.order)

    @property
    def function(self) -> tuple[object, ...]:
        """Everything but the input: what decides about the steps."""
        return (
            self.geometry, self.activation, self.linear_activation, self.pool, self.order,
            self.linear_order, self.flatten, self.final, self.bare, self.steps,
        )  # fmt: skip

    def recipe(self, stack: Stack) -> Recipe:
        """The network's input and steps."""
        return Recipe(self.input, self.steps or tuple(self._steps(stack)))

    def steps_around(self, stack: Stack, number: int, place: Place) -> Iterator[Step]:
        """Yield a convolution and what surrounds it, and before the first a norm of the input."""
        layer = stack.convs[number]
        if number == 0 and "" in stack.norms:
            yield Step("norm", stack.norms[""].name)
        yield Step("conv", layer.name, (place.stride, place.padding, place.dilation, place.groups))
        last = number == len(stack.convs) - 1 and not stack.linears
        is_bare = last or (self.bare and layer.name not in stack.norms)
        for part in self.order:
            if part == "pool" and place.pool is not None:
                yield Step(f"{self.pool}_pool", "", place.pool)
            elif part == "norm":
                yield from _norm(stack, layer)
            elif part == "act" and not is_bare:
                yield from _activation(stack, layer, self.activation)

    def _steps(self, stack: Stack) -> Iterator[Step]:
        if not stack.convs and "" in stack.norms:
            yield Step("norm", stack.norms[""].name)
        for number, place in enumerate(self.geometry.places):
            yield from self.steps_around(stack, number, place)
        if self.geometry.final:
            yield Step(self.final, "", (self.geometry.final,))
        yield Step(self.flatten)
        if "flatten" in stack.norms:
            yield Step("norm", stack.norms["flatten"].name)
        for number, layer in enumerate(stack.linears):
            yield Step("linear", layer.name)
            last = number == len(stack.linears) - 1
            for part in self.linear_order:
                if part == "norm":
                    yield from _norm(stack, layer)
                elif not last:
                    yield from _activation(stack, layer, self.linear_activation)


def _norm(stack: Stack, layer: Layer) -> Iterator[Step]:
    if layer.name in stack.norms:
        yield Step("norm", stack.norms[layer.name].name)
    other = stack.others.get(layer.name)
    if other is not None and other.kind == "layer_norm":
        yield Step("layer_norm", other.name)


def _activation(stack: Stack, layer: Layer, activation: str) -> Iterator[Step]:
    prelus = [other for other in stack.others.values() if other.kind == "prelu"]
    own = stack.others.get(layer.name)
    if own is not None and own.kind == "prelu":
        yield Step("prelu", own.name)
    elif len(prelus) == 1 and prelus[0].outputs == 1:
        yield Step("prelu", prelus[0].name)  # one module for all layers
    elif activation:
        yield Step("activation", activation)


class Choices:
    """The values that each part of a guess may have, given what the file says."""

    def __init__(self, stack: Stack, facts: Facts, geometries: list[Geometry]) -> None:
        self.geometries = geometries
        self._steps = facts.steps
        self._flatten = "flatten_last" if facts.channels_last else "flatten"
        self._all_orders = _ORDERS if not facts.norms_first else (_ORDERS[0], _ORDERS[3])
        channels = stack.convs[0].inputs if stack.convs else 1
        self.channels = channels
        self.activations = facts.activations or ("", *ACTIVATIONS)
        self.pools = facts.pools or ("max", "avg")
        normed = [layer.name in stack.norms for layer in stack.convs]
        self._has_norms = any(normed)
        # The last one has no activation anyway if no linear layer follows.
        self._some_are_bare = self._has_norms and not all(normed if stack.linears else normed[:-1])
        self._linear_norms = any(
            layer.name in stack.norms or layer.name in stack.others for layer in stack.linears
        )
        self._has_convs, self._hidden = bool(stack.convs), len(stack.linears) > 1
        self._flattens = bool(stack.linears) and (
            not stack.convs or stack.linears[0].inputs > stack.convs[-1].outputs
        )

    @property
    def is_known(self) -> bool:
        """Whether the file says all steps."""
        return bool(self._steps)

    def _orders(self, pool: str) -> tuple[Order, ...]:
        """Those that differ: a maximum commutes with an increasing activation."""
        if self._has_norms:
            usual = [order for order in self._all_orders if order in _ORDERS[:3]]
            return tuple(usual) if pool == "max" else self._all_orders
        return _ORDERS[:1] if pool == "max" else (_ORDERS[0], _ORDERS[-1])

    def start(self, geometry: Geometry) -> Guess:
        """The usual choices for a geometry."""
        mean, std = INPUT_SCALINGS["MNIST mean and deviation"]
        form = InputForm(
            mean, std, side=geometry.side, resized=geometry.resized, channels=self.channels
        )
        activation = "relu" if "relu" in self.activations else self.activations[0]
        return Guess(
            geometry, form, activation, activation, self.pools[0], flatten=self._flatten,
            steps=self._steps,
        )  # fmt: skip

    def moved(self, guess: Guess, geometry: Geometry) -> Guess:
        """Return the same choices for another geometry."""
        form = dataclasses.replace(
            guess.input,
            side=geometry.side,
            resized=geometry.resized,
            sharp=guess.input.sharp and geometry.resized and geometry.side < SIDE,
        )
        return dataclasses.replace(guess, geometry=geometry, input=form)

    def inputs(self, guess: Guess, turned: bool) -> list[Guess]:
        """The other scalings; turned: and inverted grounds and transposed images."""
        return [dataclasses.replace(guess, input=form) for form in inputs(guess.input, turned)]

    def scalings(self, guess: Guess) -> list[Guess]:
        """Return the same choices with each input scaling, and with EMNIST framing."""
        forms = [
            *(dataclasses.replace(guess.input, mean=m, std=s) for m, s in _scalings(guess.input)),
            dataclasses.replace(guess.input, framed=True),
        ]
        return [dataclasses.replace(guess, input=form) for form in forms]

    def functions(self, guess: Guess) -> list[Guess]:
        """The other activations, for all layers and for each kind."""
        if guess.steps:
            return [guess]
        replace = dataclasses.replace
        found = [replace(guess, activation=a, linear_activation=a) for a in self.activations]
        if self._has_convs and self._hidden:
            found += [replace(guess, activation=a) for a in self.activations[:4]]
            found += [replace(guess, linear_activation=a) for a in self.activations[:4]]
        # Nobody mixes these two, and they differ too little to be told apart layer by layer.
        mixed = {"relu", "leaky_relu"}
        return [each for each in found if {each.activation, each.linear_activation} != mixed]

    def with_slope(self, guess: Guess, name: str) -> Guess:
        """Return a guess with ReLU or leaky ReLU with that one instead, if the file allows it."""
        slopes = {"relu", "leaky_relu"}
        if guess.steps or not slopes <= set(self.activations):
            return guess
        return dataclasses.replace(
            guess,
            activation=name if guess.activation in slopes else guess.activation,
            linear_activation=(
                name if guess.linear_activation in slopes else guess.linear_activation
            ),
        )

    def main(self, guess: Guess) -> list[Guess]:
        """The usual activations, for all layers."""
        names = [a for a in ("relu", "elu", "tanh", "sigmoid") if a in self.activations]
        replace = dataclasses.replace
        others = [replace(guess, activation=a, linear_activation=a) for a in names]
        return [guess] if guess.steps else list(dict.fromkeys([guess, *others]))

    def together(self, guess: Guess) -> list[Guess]:
        """Scalings, kinds of pooling, orders and usual activations, in all combinations."""
        kinds = [other for kind in (guess, *self.structures(guess)) for other in self.main(kind)]
        return list(dict.fromkeys(form for kind in kinds for form in self.inputs(kind, False)))

    def structures(self, guess: Guess) -> list[Guess]:
        """The other kinds of pooling, and orders of the steps."""
        if guess.steps:
            return []
        replace = dataclasses.replace
        found = []
        if self._has_convs:
            found += [
                replace(guess, pool=pool, order=order)
                for pool in self.pools
                for order in self._orders(pool)
            ]
            if self._flattens:
                found += [replace(guess, flatten=f) for f in ("flatten", "flatten_last")]
        if self._some_are_bare:
            found += [replace(other, bare=not guess.bare) for other in (guess, *found)]
        if guess.geometry.final:
            found += [replace(guess, final=f) for f in ("adaptive_avg", "adaptive_max")]
        if self._linear_norms:
            found += [replace(guess, linear_order=o) for o in (("norm", "act"), ("act", "norm"))]
        return [other for other in found if other != guess]


@dataclass(frozen=True)
class Facts:
    """What a file says beyond shapes; empty is unknown."""

    activations: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    norms_first: bool = False
    channels_last: bool = False
