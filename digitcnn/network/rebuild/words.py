"""Describe a rebuilt network, and why one cannot be rebuilt."""

from __future__ import annotations

import math
from typing import Any

from digitcnn.digits.digit_set import SIDE, DigitSet
from digitcnn.digits.names import joined
from digitcnn.network.rebuild.decision import MIN_ACCURACY, Outcome
from digitcnn.network.rebuild.guesses import IMAGENET, INPUT_SCALINGS, Guess
from digitcnn.network.rebuild.layers import Stack
from digitcnn.network.rebuild.recipe import InputForm

# The number of images that the stated accuracy refers to.
STATED_IMAGES = 1000


def describe(stack: Stack) -> str:
    """The layers in a few words: ``LeNet-like: conv 6 and 16 of 5x5, linear 400-120-84-10``."""
    parts = []
    if stack.convs:
        kernels = [layer.shape[2] for layer in stack.convs]
        if len(set(kernels)) == 1:
            parts.append(
                f"conv {joined([str(c.outputs) for c in stack.convs])} of {_size(kernels[0])}"
            )
        else:
            parts.append(
                "conv " + joined([f"{c.outputs} of {_size(c.shape[2])}" for c in stack.convs])
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


def images_of(digits: DigitSet, n: int) -> str:
    """So many images of a digit set, in words."""
    name = digits.name
    if name == "synthetic":
        return f"{n:,} generated digits"
    shown_name = "MNIST" if name == "mnist" else name
    return f"{n:,} {shown_name} {'training ' if digits.split == 'train' else ''}images"


def share_read(outcome: Outcome[Any], digits: DigitSet) -> str:
    """The accuracy of what was accepted, on the first images, which are the same for every file.

    Guesses are scored on more images where that is cheap, so their accuracies are not comparable.
    """
    predicted = outcome.best.predicted[:STATED_IMAGES]
    right = predicted == digits.labels[: len(predicted)].long()
    return f"{100 * float(right.double().mean()):.1f}% of the first {images_of(digits, len(right))}"


def _inferred(guess: Guess, stack: Stack) -> str:
    """Describe what the file does not say and was inferred."""
    parts = []
    names = list(
        dict.fromkeys(
            ([guess.activation] if stack.convs else [])
            + ([guess.linear_activation] if len(stack.linears) > 1 else [])
        )
    )
    if names and not guess.steps:
        parts.append(joined([_ACTIVATION_NAMES.get(name, name) for name in names]))
    if any(place.pool for place in guess.geometry.places) and not guess.steps:
        parts.append("max pooling" if guess.pool == "max" else "average pooling")
    return joined([*parts, *input_words(guess.input)])


def input_words(form: InputForm) -> list[str]:
    """What an input expects, in words."""
    scaling = next(
        (k for k, v in INPUT_SCALINGS.items() if v == (form.mean, form.std)),
        f"mean {form.mean:.3g}, deviation {form.std:.3g}",
    )
    parts = [f"input scaled to {_SCALING_WORDS.get(scaling, scaling)}"]
    if form.inverted:
        parts.append("dark digits on bright ground")
    if form.transposed:
        parts.append("transposed input")
    if form.framed:
        parts.append("digits enlarged to the frame as in EMNIST")
    if form.side != SIDE:
        how = "resized" if form.resized else "padded" if form.side > SIDE else "cropped"
        smooth = " without smoothing" if form.sharp else ""
        parts.append(f"input {how} to {form.side}x{form.side}{smooth}")
    return parts


_ACTIVATION_NAMES = {
    "": "no activation", "relu": "ReLU", "leaky_relu": "leaky ReLU", "elu": "ELU", "gelu": "GELU",
    "silu": "SiLU", "selu": "SELU", "relu6": "ReLU6", "leaky_relu_0.1": "leaky ReLU (0.1)",
    "leaky_relu_0.2": "leaky ReLU (0.2)", "hardtanh": "hard tanh", "hardswish": "hard swish",
}  # fmt: skip
_SCALING_WORDS = {
    "MNIST mean and deviation": "MNIST's mean and deviation",
    "EMNIST mean and deviation": "EMNIST's mean and deviation",
    IMAGENET: "ImageNet's means and deviations",
}


def verdict(stack: Stack, outcome: Outcome[Guess], digits: DigitSet) -> str:
    """What the network is, what was inferred, and on what."""
    inferred = _inferred(outcome.best.guess, stack)
    text = f"{describe(stack)}; {inferred} inferred ({share_read(outcome, digits)})"
    # Even a significant lead does not tell two functions apart that give nearly the same answers,
    # such as ReLU and leaky ReLU.
    if outcome.runner_up is not None and outcome.is_close:
        text += (
            f"; runner-up with the same answer for {100 * outcome.agreement:.1f}% of the images: "
            f"{_other_way(outcome, stack)}"
        )
    return text


def misfit(stack: Stack) -> str:
    """Why a network cannot take images of digits."""
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


def refusal(stack: Stack, outcome: Outcome[Guess], digits: DigitSet) -> str:
    """Why a guess that does best is not taken."""
    where = images_of(digits, outcome.images)
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
    ways = f"{_inferred(outcome.best.guess, stack)}, or {_other_way(outcome, stack)}"
    return (
        f"is a {describe(stack)}, but its weights do not say how it computes: {ways}, read {where} "
        "equally well with different answers; save the whole module with torch.save"
    )


LOW = "; such a network usually reads more, so what was inferred may be wrong"


def skips(stack: Stack, outcome: Outcome[Guess], digits: DigitSet) -> str:
    """Why a network that may have skip connections is not taken."""
    return (
        f"is a {describe(stack)}, which reads only {share_read(outcome, digits)} as a sequential "
        "network, so it may be a branching (residual) one, or pool where digitcnn does not look; "
        "export it to ONNX"
    )


def _other_way(outcome: Outcome[Guess], stack: Stack) -> str:
    """Describe what was inferred of the runner-up, or how it differs if that is the same."""
    assert outcome.runner_up is not None
    best, other = (_inferred(s.guess, stack) for s in (outcome.best, outcome.runner_up))
    return other if other != best else "the same, padded or pooled in other places"
