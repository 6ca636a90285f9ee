"""Rebuild a stranger's network from the names and shapes of its weights.

    modules     the steps of a whole pickled Sequential
    effective   computes weights that are stored in parts: pruned and normalised ones
    upright     turns weights that store their outputs last
    layers      names and shapes to layers in order, or what the network is instead
    plans       the padding, stride and pooling that the shapes allow
    guesses     what shapes do not tell: activations, kind of pooling, input scaling
    statistics  finds likely guesses by the statistics that batch norms store
    scoring     scores guesses on digits
    unused      tells ReLU from leaky ReLU by weights that ReLU never uses
    search      goes from one guess to better ones
    decision    decides between guesses by their scores
    words       describes what was found
    recipe      the result as plain data
    network     a ``Classifier`` from a recipe and weights

Guesses are scored on training or generated digits, never on a test set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.reader import InvalidCheckpoint, StateDict, shown
from digitcnn.network.reader.tensors import check_finite, read_tensors
from digitcnn.network.rebuild.effective import effective
from digitcnn.network.rebuild.guesses import Choices, Facts
from digitcnn.network.rebuild.layers import (
    Stack,
    may_skip_layers,
    norms_come_first,
    refuse_kinds,
    stack_of,
)
from digitcnn.network.rebuild.modules import activation_of, steps_of
from digitcnn.network.rebuild.network import RebuiltNetwork
from digitcnn.network.rebuild.plans import all_ways, geometries
from digitcnn.network.rebuild.recipe import CHANNELS, Recipe
from digitcnn.network.rebuild.scoring import Scorer
from digitcnn.network.rebuild.search import search
from digitcnn.network.rebuild.upright import upright
from digitcnn.network.rebuild.words import LOW, describe, misfit, refusal, skips, verdict

__all__ = ["IMAGES", "Rebuilt", "RebuiltNetwork", "Recipe", "SearchedInVain", "rebuild"]

# The most images that guesses are scored on, and the most geometries that are tried.
IMAGES = 10_000
MAX_GEOMETRIES = 100
# Networks of several layers that read fewer training digits are rarely rebuilt rightly.
# Those that were trained on others read fewer generated digits.
LOW_ACCURACY, LOW_ON_GENERATED = 0.9, 0.8


class SearchedInVain(InvalidCheckpoint):
    """A set of weights that was searched, which takes a second or two, without a clear result."""


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A network, and how sure its rebuilding is. verdict: what it is, without a full stop."""

    network: RebuiltNetwork
    verdict: str


def rebuild(
    state: StateDict, digits: Callable[[], DigitSet], recipe: Recipe | None = None
) -> Rebuilt:
    """Rebuild the network that a set of weights is of.

    digits: gives what guesses are scored on; training or generated images. recipe: of this set of
    weights, if it was rebuilt before.
    Raises InvalidCheckpoint, saying what it is instead or why it is ambiguous.
    """
    state = effective(state)
    refuse_kinds(state)
    stored_sides, state = _sides_of_kernels(state), upright(state)
    stack = stack_of(state)
    if recipe is not None:
        try:
            network = RebuiltNetwork(recipe, _tensors(stack, state))
        except ValueError as error:
            raise InvalidCheckpoint("now contains another model; choose it again") from error
        return Rebuilt(network, describe(stack))
    if stack.convs and stack.convs[0].inputs not in CHANNELS:
        raise InvalidCheckpoint(
            f"is a {describe(stack)}, whose first convolution takes {stack.convs[0].inputs} "
            "channels, but digits have one; choose a digit classifier"
        )
    # Each takes longer to find in a deep network, whose batch norms tell the geometry anyway.
    found = geometries(stack, state, MAX_GEOMETRIES // max(1, len(stack.convs) // 4))
    if not found:
        raise InvalidCheckpoint(f"is a {describe(stack)}, {misfit(stack)}")
    tensors = _tensors(stack, state)
    # Programs that store kernels in another order have their maps' channels last.
    channels_last = _sides_of_kernels(state) != stored_sides
    choices = Choices(stack, _facts(stack, state, channels_last), found)
    scored_on = digits()
    scorer = Scorer(stack, tensors, scored_on.images[:IMAGES], scored_on.labels[:IMAGES].long())
    has_norms = any(layer.name in stack.norms for layer in stack.convs)
    ways = all_ways(stack, state) if has_norms and not choices.is_known else []
    outcome = search(choices, scorer, ways)
    if outcome is None:
        raise InvalidCheckpoint(f"is a {describe(stack)}, {misfit(stack)}")
    if not outcome.accepted:
        raise SearchedInVain(refusal(stack, outcome, scored_on))
    low = LOW_ON_GENERATED if scored_on.name == "synthetic" else LOW_ACCURACY
    is_deep = len(stack.convs) + len(stack.linears) > 1
    is_low = is_deep and not choices.is_known and outcome.accuracy < low
    if is_low and may_skip_layers(stack):
        raise SearchedInVain(skips(stack, outcome, scored_on))
    network = RebuiltNetwork(outcome.best.guess.recipe(stack), tensors)
    return Rebuilt(network, verdict(stack, outcome, scored_on) + LOW * is_low)


def _tensors(stack: Stack, state: StateDict) -> dict[str, Tensor]:
    """The weights of the layers, in float32, by ``layer.part``."""
    names = {
        f"{layer.name}.{part}": name for layer in stack.layers for part, name in layer.parts.items()
    }
    specs = {name: state.tensors[name] for name in names.values()}
    read = read_tensors(specs, torch.float32)
    tensors = {}
    for place, name in names.items():
        tensor = read[name]
        check_finite(name, tensor)
        if place.endswith(".running_var") and bool((tensor < 0).any()):
            raise InvalidCheckpoint(
                f"has negative variances in its tensor {shown(name)}; train it again"
            )
        tensors[place] = tensor
    return tensors


def _sides_of_kernels(state: StateDict) -> list[tuple[int, ...]]:
    return [spec.shape for spec in state.tensors.values() if len(spec.shape) == 4]


def _facts(stack: Stack, state: StateDict, channels_last: bool) -> Facts:
    """What a pickled module, the names and the order of sides say."""
    torch_modules = [module for module in state.modules if module.is_torch]
    activations = dict.fromkeys(filter(None, map(activation_of, torch_modules)))
    pools = dict.fromkeys(
        "max" if module.kind == "MaxPool2d" else "avg"
        for module in torch_modules
        if module.kind in ("MaxPool2d", "AvgPool2d")
    )
    return Facts(
        tuple(activations), tuple(pools), steps_of(state), norms_come_first(stack), channels_last
    )
