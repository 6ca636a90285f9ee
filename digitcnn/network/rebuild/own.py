"""Recognise the weights of digitcnn's own network under any names.

Its six layers have six different shapes, so the last part of a name (``weight``, ``bias``,
``running_mean``, ...) and the shape tell which tensor is which.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.model import MNIST_MEAN, MNIST_STD, DigitCNN, Network
from digitcnn.network.reader import TensorSpec

# Mean and deviation, on pixels from 0 to 1, of the scalings that digitcnn's network may have.
INPUT_SCALINGS = {
    "0 to 1": (0.0, 1.0),
    "MNIST mean and deviation": (MNIST_MEAN, MNIST_STD),
    "-1 to 1": (0.5, 0.5),
}

# The scalings are far apart; more images would only take longer.
IMAGES_TO_CHOOSE_ON = 500

Shapes = Mapping[str, tuple[int, ...]]


def expected_specs(
    network_class: type[Network] = DigitCNN,
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The type and shape of each tensor of a network of ours, by name."""
    with torch.device("meta"):
        state = network_class().state_dict()
    return {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in state.items()
    }


def match(tensors: Mapping[str, TensorSpec]) -> dict[str, str] | None:
    """Return our names to the file's; None where the weights are not of our network.

    Biases of convolutions and counters of batches may be missing.
    """
    layers = _layers({name: spec.shape for name, spec in tensors.items()})
    names: dict[str, str] = {}
    used = set()
    for place, expected in _layers(
        {n: shape for n, (_, shape) in expected_specs().items()}
    ).items():
        fitting = [layer for layer, shapes in layers.items() if _fits(shapes, expected)]
        if len(fitting) != 1:
            return None
        used.add(fitting[0])
        names |= {_join(place, part): _join(fitting[0], part) for part in layers[fitting[0]]}
    return names if used == set(layers) else None


def _layers(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = shape
    return layers


def _join(layer: str, part: str) -> str:
    return f"{layer}.{part}" if layer else part


def _fits(shapes: Shapes, expected: Shapes) -> bool:
    optional = {"bias"} if len(expected["weight"]) == 4 else {"num_batches_tracked"}
    return set(expected) - optional <= set(shapes) <= set(expected) and all(
        shapes[part] == expected[part] for part in shapes
    )


@torch.inference_mode()
def choose_scaling(state: Mapping[str, Tensor], digits: DigitSet) -> tuple[float, float, str]:
    """Return the input scaling that our network was most likely trained with.

    state: our network's state dict. digits: training or generated images; labels are not used.
    Returns mean, deviation and name, of INPUT_SCALINGS.

    Batch norm stores the statistics of the first convolution's output in training. The scaling
    under which they come out the same is chosen: the least Kullback-Leibler divergence of the two
    normal distributions, by the median channel, which dead channels do not affect. After 150 steps
    on MNIST the right scaling has less than 0.001 and the next 0.32, on MNIST and generated digits
    alike. The loss would decide less clearly: 0.13 to 0.31 then, and after 40 steps not at all.
    """
    images = digits.images[:IMAGES_TO_CHOOSE_ON]
    divergences = {}
    for name, (mean, std) in INPUT_SCALINGS.items():
        network = DigitCNN(mean, std)
        network.load_state_dict(dict(state))
        maps = network.conv1(network.prepare(images))
        divergences[name] = _divergence(
            maps, state["norm1.running_mean"], state["norm1.running_var"]
        )
    best = min(divergences, key=divergences.__getitem__)
    return (*INPUT_SCALINGS[best], best)


def _divergence(maps: Tensor, mean: Tensor, variance: Tensor) -> float:
    """KL(maps || stored), in nats, of the median channel of ``maps`` [N, C, H, W]."""
    ratio = maps.var((0, 2, 3)).div(variance).clamp(min=1e-9)
    shift = maps.mean((0, 2, 3)).sub(mean).square().div(variance)
    return float((0.5 * (ratio + shift - 1 - ratio.log())).median())
