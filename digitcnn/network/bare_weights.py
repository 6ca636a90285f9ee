"""Bare weights: a state dict with no word on where it comes from, fitted to our network.

The layers of a stranger's file have any names. The six layers of this network have six different
shapes, so suffix (``weight``, ``bias``, ``running_mean``, ...) and shape tell which is which; two
layers of a file that fit one place are ambiguous and refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.claims import Claim, Refused, listed, shown
from digitcnn.network.model import MNIST_MEAN, MNIST_STD, DigitCNN

# Mean and deviation, on pixels from 0 to 1, of the scalings that people train with.
INPUT_SCALINGS = {
    "0 to 1": (0.0, 1.0),
    "MNIST mean and deviation": (MNIST_MEAN, MNIST_STD),
    "-1 to 1": (0.5, 0.5),
}

# The scalings are far apart; more images would only take longer.
IMAGES_TO_CHOOSE_ON = 500

Layers = dict[str, dict[str, Claim]]


def find_state(content: Any) -> tuple[str | None, dict[str, Claim]]:
    """The state dict in a file's outermost value, and its key there; None when it is that value.

    Training scripts often save {"epoch": ..., "model_state_dict": ..., "optimizer": ...}.
    Raises Refused when there is none, or more than one.
    """
    states: dict[str | None, dict[str, Claim]] = {}
    if isinstance(content, dict):
        states = {k: v for k, v in content.items() if type(k) is str and _is_state(v)}
        if _is_state(content):
            states[None] = content
    if not states:
        raise Refused("holds no weights by name; save the network's state_dict")
    if len(states) > 1:
        raise Refused(
            f"holds several sets of weights ({listed([str(k) for k in states])}); save the "
            "state_dict of one network alone"
        )
    return next(iter(states.items()))


def _is_state(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and len(values) > 0
        and all(type(k) is str and isinstance(v, Claim) for k, v in values.items())
    )


def match(state: Mapping[str, Claim]) -> dict[str, str]:
    """Our names to the file's names. Convolution biases and batch counters may be missing.

    Raises Refused, saying what network it is, when it is another; and when it is ambiguous.
    """
    layers = _layers(state)
    places = _layers(expected_claims())
    names: dict[str, str] = {}
    used: dict[str, str] = {}
    for place, expected in places.items():
        fitting = [layer for layer, claims in layers.items() if _fits(claims, expected)]
        if len(fitting) > 1:
            raise Refused(
                f"is ambiguous, for {listed(fitting, 2)} fit the same layer; save the state_dict "
                "of one network alone"
            )
        if not fitting:
            raise Refused(f"is {describe(state)}; digitcnn compares its own convolutional network")
        used[fitting[0]] = place
        for suffix in layers[fitting[0]]:
            names[_join(place, suffix)] = _join(fitting[0], suffix)
    others = [layer for layer in layers if layer not in used]
    if others:
        raise Refused(
            f"has layers that digitcnn's network has not ({listed(others)}), so it is another "
            "network; digitcnn compares its own"
        )
    return names


def expected_claims() -> dict[str, Claim]:
    """What each tensor of our network has to be, by name."""
    with torch.device("meta"):
        state = DigitCNN().state_dict()
    return {
        name: Claim(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in state.items()
    }


def _layers(state: Mapping[str, Claim]) -> Layers:
    layers: Layers = {}
    for name, claim in state.items():
        layer, _, suffix = name.rpartition(".")
        layers.setdefault(layer, {})[suffix] = claim
    return layers


def _join(layer: str, suffix: str) -> str:
    return f"{layer}.{suffix}" if layer else suffix


def _fits(claims: Mapping[str, Claim], expected: Mapping[str, Claim]) -> bool:
    """Whether suffixes and shapes agree; a convolution's bias and a counter may be missing."""
    is_convolution = len(expected["weight"].shape) == 4
    optional = {"bias"} if is_convolution else {"num_batches_tracked"}
    return (
        set(expected) - optional <= set(claims) <= set(expected)
        and all(claims[suffix].shape == expected[suffix].shape for suffix in claims)
    )  # fmt: skip


def describe(state: Mapping[str, Claim]) -> str:
    """What network these weights are of, in a few words."""
    weights = [claim.shape for name, claim in state.items() if name.endswith("weight")]
    kernels = [shape for shape in weights if len(shape) == 4]
    matrices = [shape for shape in weights if len(shape) == 2]
    chained = all(a[0] == b[1] for a, b in itertools.pairwise(matrices))
    if matrices and not kernels and chained and len(matrices) <= 8:
        sizes = [matrices[0][1], *(shape[0] for shape in matrices)]
        return f"a {'-'.join(map(str, sizes))} perceptron"
    parameters = sum(math.prod(claim.shape) for claim in state.values())
    if kernels:
        out, into, high, wide = kernels[0]
        return (
            f"another network with {len(kernels)} convolution{'s' * (len(kernels) > 1)} (the "
            f"first {out} filters of {into}x{high}x{wide}), {len(matrices)} linear "
            f"layer{'s' * (len(matrices) != 1)} and {parameters:,} numbers"
        )
    return f"another network of {len(state)} tensors ({listed(state)}) with {parameters:,} numbers"


@torch.inference_mode()
def choose_scaling(state: Mapping[str, Tensor], digits: DigitSet) -> tuple[float, float, str]:
    """The input scaling that a network of these weights was most likely trained with.

    state: our network's state dict. digits: held-out or drawn images, never a test set; labels are
    not looked at. Returns mean, deviation and name, of INPUT_SCALINGS.

    Batch norm keeps what the first convolution gave in training. The scaling under which it gives
    the same again is taken: the smallest Kullback-Leibler divergence of the two normal
    distributions, by the median channel, which dead channels do not sway. After 150 steps on MNIST
    the right scaling has less than 0.001 and the next 0.32, on MNIST's and on drawn digits alike.
    The loss would decide less clearly: 0.13 against 0.31 then, and after 40 steps not at all.
    """
    images = digits.images[:IMAGES_TO_CHOOSE_ON]
    divergences = {}
    for name, (mean, std) in INPUT_SCALINGS.items():
        network = DigitCNN(mean, std)
        network.load_state_dict(dict(state))
        seen = network.conv1(network.prepare(images))
        divergences[name] = _divergence(
            seen, state["norm1.running_mean"], state["norm1.running_var"]
        )
    best = min(divergences, key=divergences.__getitem__)
    return (*INPUT_SCALINGS[best], best)


def _divergence(seen: Tensor, mean: Tensor, variance: Tensor) -> float:
    """KL(seen || stored), in nats, of the median channel of ``seen`` [N, C, H, W]."""
    ratio = seen.var((0, 2, 3)).div(variance).clamp(min=1e-9)
    shift = seen.mean((0, 2, 3)).sub(mean).square().div(variance)
    return float((0.5 * (ratio + shift - 1 - ratio.log())).median())


def check_claims(state: Mapping[str, Claim], names: Mapping[str, str]) -> None:
    """Every tensor is of the dtype and shape that ours has, plain, and whole in the file.

    names: our names to those in ``state``. Raises Refused, naming the tensor and what is wrong.
    """
    expected = expected_claims()
    for ours, theirs in names.items():
        claim, wanted = state[theirs], expected[ours]
        tensor = f"its tensor {shown(theirs)}"
        if claim.shape != wanted.shape:
            raise Refused(
                f"is of another network, for {tensor} is {_sides(claim.shape)} where "
                f"{_sides(wanted.shape)} is expected; digitcnn compares its own network"
            )
        if claim.dtype != wanted.dtype:
            raise Refused(
                f"is refused, for {tensor} is {claim.dtype} where {wanted.dtype} is expected; "
                "save it in that type"
            )
        if claim.problem:
            raise Refused(
                f"is refused, for {tensor} {claim.problem}; save it again from clones of its "
                "tensors"
            )


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "a single number"
