"""Rebuild a stranger's network from the names and shapes of its weights.

    modules   the steps of a whole pickled Sequential
    layers    names and shapes to layers in order, or what the network is instead
    plans     the padding, stride and pooling that the shapes allow
    guesses   what shapes do not tell: activations, kind of pooling, input scaling
    search    scores guesses on digits and decides
    recipe    the result as plain data
    network   a ``Classifier`` from a recipe and weights

Guesses are scored on training or generated digits, never on a test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.reader import InvalidCheckpoint, StateDict, WeightFile, shown
from digitcnn.network.reader.tensors import read_tensors
from digitcnn.network.rebuild.guesses import INPUT_SCALINGS, Choices, Facts
from digitcnn.network.rebuild.layers import Stack, norms_come_first, stack_of
from digitcnn.network.rebuild.modules import activation_of, steps_of
from digitcnn.network.rebuild.network import RebuiltNetwork
from digitcnn.network.rebuild.plans import geometries
from digitcnn.network.rebuild.recipe import Recipe
from digitcnn.network.rebuild.search import (
    MIN_ACCURACY,
    P_VALUE,
    Outcome,
    Scorer,
    search,
)

__all__ = ["IMAGES", "Rebuilt", "RebuiltNetwork", "Recipe", "rebuild"]

# Guesses are scored on so many images.
IMAGES = 1000
MAX_GEOMETRIES = 24
# From this share of equal answers the verdict names the runner-up, however clear the lead.
_NEARLY_SAME = 0.98


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A network, and how sure its rebuilding is. verdict: what it is, without a full stop."""

    network: RebuiltNetwork
    verdict: str


def rebuild(
    state: StateDict,
    file: WeightFile,
    digits: Callable[[], DigitSet],
    recipe: Recipe | None = None,
) -> Rebuilt:
    """Rebuild the network that a set of weights is of.

    digits: gives what guesses are scored on; training or generated images. recipe: of this set of
    weights, if it was rebuilt before.
    Raises InvalidCheckpoint, saying what it is instead or why it is ambiguous.
    """
    stack = stack_of(state)
    if recipe is not None:
        try:
            network = RebuiltNetwork(recipe, _tensors(stack, state, file))
        except ValueError as error:
            raise InvalidCheckpoint("now contains another model; choose it again") from error
        return Rebuilt(network, describe(stack))
    found = geometries(stack, state, MAX_GEOMETRIES)
    if not found:
        raise InvalidCheckpoint(f"is {describe(stack)}, {_misfit(stack)}")
    tensors = _tensors(stack, state, file)
    choices = Choices(stack, _facts(stack, state), found)
    scored_on = digits()
    scorer = Scorer(stack, tensors, scored_on.images[:IMAGES], scored_on.labels[:IMAGES].long())
    outcome = search(choices, scorer)
    if outcome is None:
        raise InvalidCheckpoint(f"is {describe(stack)}, {_misfit(stack)}")
    if not outcome.accepted:
        raise InvalidCheckpoint(_refusal(stack, outcome, scored_on))
    network = RebuiltNetwork(outcome.best.guess.recipe(stack), tensors)
    return Rebuilt(network, _verdict(stack, outcome, scored_on))


def _tensors(stack: Stack, state: StateDict, file: WeightFile) -> dict[str, Tensor]:
    """The weights of the layers, in float32, by ``layer.part``."""
    names = {
        f"{layer.name}.{part}": name for layer in stack.layers for part, name in layer.parts.items()
    }
    read = read_tensors(file, {name: state.tensors[name] for name in names.values()})
    tensors = {}
    for place, name in names.items():
        tensor = read[name].float()
        if not bool(torch.isfinite(tensor).all()):
            raise InvalidCheckpoint(
                f"has NaN or infinite numbers in its tensor {shown(name)}, so its training "
                "diverged; train it again"
            )
        if place.endswith(".running_var") and bool((tensor < 0).any()):
            raise InvalidCheckpoint(
                f"has negative variances in its tensor {shown(name)}; train it again"
            )
        tensors[place] = tensor
    return tensors


def _facts(stack: Stack, state: StateDict) -> Facts:
    """What a pickled module and the names say."""
    torch_modules = [module for module in state.modules if module.is_torch]
    activations = dict.fromkeys(filter(None, map(activation_of, torch_modules)))
    pools = dict.fromkeys(
        "max" if module.kind == "MaxPool2d" else "avg"
        for module in torch_modules
        if module.kind in ("MaxPool2d", "AvgPool2d")
    )
    return Facts(tuple(activations), tuple(pools), steps_of(state), norms_come_first(stack))


# --- words --------------------------------------------------------------------------------------


def describe(stack: Stack) -> str:
    """The layers in a few words: ``LeNet-like: conv 6 and 16 of 5x5, linear 400-120-84-10``."""
    parts = []
    if stack.convs:
        kernels = [layer.shape[2] for layer in stack.convs]
        if len(set(kernels)) == 1:
            parts.append(
                f"conv {_and([str(c.outputs) for c in stack.convs])} of {_size(kernels[0])}"
            )
        else:
            parts.append(
                "conv " + _and([f"{c.outputs} of {_size(c.shape[2])}" for c in stack.convs])
            )
    if any(layer.name in stack.norms for layer in [*stack.convs, *stack.linears]):
        parts.append("batch norm")
    if stack.linears:
        widths = [stack.linears[0].inputs, *(layer.outputs for layer in stack.linears)]
        parts.append(f"linear {'-'.join(map(str, widths))}")
    kind = _kind(stack)
    return f"{kind}: {', '.join(parts)}, {stack.parameters:,} parameters"


def _kind(stack: Stack) -> str:
    if not stack.convs:
        return "softmax regression" if len(stack.linears) == 1 else "perceptron"
    is_lenet = (
        [layer.outputs for layer in stack.convs[:2]] == [6, 16]
        and [layer.outputs for layer in stack.linears[-2:]] == [84, 10]
    )  # fmt: skip
    return "LeNet-like" if is_lenet else "convolutional network"


def _size(kernel: int) -> str:
    return f"{kernel}x{kernel}"


def _and(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _of(digits: DigitSet, n: int) -> str:
    name = digits.name
    if name == "synthetic":
        return f"{n:,} generated digits"
    shown_name = "MNIST" if name == "mnist" else name
    return f"{n:,} {shown_name} {'training ' if digits.split == 'train' else ''}images"


def _inferred(outcome: Outcome, stack: Stack) -> str:
    """What was not in the file, in words."""
    guess = outcome.best.guess
    parts = []
    names = list(
        dict.fromkeys(
            ([guess.activation] if stack.convs else [])
            + ([guess.linear_activation] if len(stack.linears) > 1 else [])
        )
    )
    if names and not guess.steps:
        parts.append(_and([_ACTIVATION_NAMES.get(name, name) for name in names]))
    if any(place.pool for place in guess.geometry.places) and not guess.steps:
        parts.append("max pooling" if guess.pool == "max" else "average pooling")
    form = guess.input
    scaling = next(
        (k for k, v in INPUT_SCALINGS.items() if v == (form.mean, form.std)),
        f"mean {form.mean:.3g}, deviation {form.std:.3g}",
    )
    parts.append(f"input scaled to {_SCALING_WORDS.get(scaling, scaling)}")
    if form.inverted:
        parts.append("dark digits on bright ground")
    if form.transposed:
        parts.append("transposed input")
    if form.side != 28:
        parts.append(f"input {'resized' if form.resized else 'padded'} to {form.side}x{form.side}")
    return _and(parts)


_ACTIVATION_NAMES = {
    "": "no activation", "relu": "ReLU", "leaky_relu": "leaky ReLU", "elu": "ELU", "gelu": "GELU",
    "silu": "SiLU", "selu": "SELU", "relu6": "ReLU6", "leaky_relu_0.1": "leaky ReLU (0.1)",
    "leaky_relu_0.2": "leaky ReLU (0.2)",
}  # fmt: skip
_SCALING_WORDS = {
    "MNIST mean and deviation": "MNIST's mean and deviation",
    "EMNIST mean and deviation": "EMNIST's mean and deviation",
}


def _verdict(stack: Stack, outcome: Outcome, digits: DigitSet) -> str:
    text = (
        f"{describe(stack)}; {_inferred(outcome, stack)} inferred "
        f"({100 * outcome.accuracy:.1f}% of {_of(digits, outcome.images)})"
    )
    # Even a significant lead does not tell two functions apart that give nearly the same answers,
    # such as ReLU and leaky ReLU.
    other_guess = outcome.runner_up.guess if outcome.runner_up else outcome.best.guess
    is_close = (
        outcome.p_value >= P_VALUE
        or outcome.agreement >= _NEARLY_SAME
        or other_guess.cost < outcome.best.guess.cost
    )
    if outcome.runner_up is not None and is_close:
        other = Outcome(outcome.runner_up, 0.0, 0, None, 1.0, 0.0)
        text += (
            f"; runner-up with the same answer on {100 * outcome.agreement:.1f}%: "
            f"{_inferred(other, stack)}"
        )
    return text


def _misfit(stack: Stack) -> str:
    if not stack.convs:
        side = math.isqrt(stack.linears[0].inputs)
        square = f", {side}x{side}" if side * side == stack.linears[0].inputs else ""
        return (
            f"which takes {stack.linears[0].inputs} numbers{square}; digitcnn's images have 784, "
            "28x28"
        )
    return (
        "but no usual padding and pooling leads from 28x28 to its linear layer; digitcnn rebuilds "
        "sequential networks for 28x28 digits"
    )


def _refusal(stack: Stack, outcome: Outcome, digits: DigitSet) -> str:
    where = _of(digits, outcome.images)
    if outcome.accuracy < MIN_ACCURACY:
        colour = (
            "which takes colour images, like CIFAR's, and " if stack.convs
            and stack.convs[0].inputs == 3 else "which "
        )  # fmt: skip
        return (
            f"is a {describe(stack)}, {colour}reads at best {100 * outcome.accuracy:.1f}% of "
            f"{where} under every usual pooling, activation and scaling, so it is not a "
            "sequential digit classifier that can be rebuilt; choose another file"
        )
    assert outcome.runner_up is not None
    other = Outcome(outcome.runner_up, 0.0, 0, None, 1.0, 0.0)
    return (
        f"is a {describe(stack)}, but its weights do not say how it computes: "
        f"{_inferred(outcome, stack)}, or {_inferred(other, stack)}, read {where} equally well "
        f"with different answers; save the whole module with torch.save"
    )
