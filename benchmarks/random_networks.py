"""Random sequential digit classifiers, trained briefly and saved as other people save theirs.

``benchmarks.rebuild`` measures how well they are rebuilt from their files, and
``tests/network/test_rebuild.py`` tries a few.
"""

from __future__ import annotations

import argparse
import io
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits.digit_set import DigitSet

SCALINGS = {"0 to 1": (0.0, 1.0), "MNIST's": (0.1307, 0.3081), "-1 to 1": (0.5, 0.5)}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU, "leaky ReLU": nn.LeakyReLU, "tanh": nn.Tanh, "ELU": nn.ELU,
}  # fmt: skip
STYLES = ("sequential", "named", "prefixed", "parts", "blocks", "words")
FORMS = (
    "zip", "legacy", "safetensors", "pickle", "training", "lightning", "whole", "float64",
    "float16", "onnx",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A network, how it scales its input, and its file. about: a description for people."""

    network: nn.Sequential
    scaling: tuple[float, float]
    data: bytes
    about: str

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, 10], of the original for images [N, 28, 28] from 0 to 255."""
        return torch.cat([self.network(scaled(p, self.scaling)) for p in images.split(500)])


def sample(seed: int, digits: DigitSet, steps: int) -> Sample:
    """Draw a network, train it on ``steps`` batches of 64, and save it."""
    chance = random.Random(seed)
    network, about = random_network(chance)
    scaling, style, form = (chance.choice(list(each)) for each in (SCALINGS, STYLES, FORMS))
    train(network, SCALINGS[scaling], digits, steps, seed)
    if form == "float16":
        network.half().float()  # its file stores no more digits
    data = in_file(network, form, style)
    return Sample(network, SCALINGS[scaling], data, f"{about}; {scaling}; {style}; {form}")


def random_network(chance: random.Random) -> tuple[nn.Sequential, str]:
    """One to three convolutions and one to three linear layers for 28x28, and a description."""
    activation = chance.choice(list(ACTIVATIONS))
    pool = chance.choice(["max", "avg"])
    has_norms, is_padded = chance.random() < 0.5, chance.random() < 0.5
    order = chance.choice(["norm act pool", "norm act pool", "act norm pool", "act pool norm"])
    torch.manual_seed(chance.getrandbits(32))
    layers: list[nn.Module] = []
    channels, side, kernels = 1, 28, []
    for _ in range(chance.randint(1, 3)):
        kernel = chance.randint(2, 5)
        padding = kernel // 2 if is_padded else 0
        after = side + 2 * padding - kernel + 1
        if after < 4:
            break
        kernels.append(kernel)
        wide = chance.choice([4, 8, 12, 16])
        layers.append(nn.Conv2d(channels, wide, kernel, padding=padding))
        pools = after >= 8 and chance.random() < 0.8
        for part in order.split():
            if part == "norm" and has_norms:
                layers.append(nn.BatchNorm2d(wide))
            elif part == "act":
                layers.append(ACTIVATIONS[activation]())
            elif part == "pool" and pools:
                layers.append(nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2))
        side, channels = after // 2 if pools else after, wide
    layers.append(nn.Flatten())
    width, hidden = channels * side * side, chance.randint(0, 2)
    for _ in range(hidden):
        wide = chance.choice([32, 48, 64])
        layers += [nn.Linear(width, wide), ACTIVATIONS[activation]()]
        layers += [nn.Dropout(0.2)] if chance.random() < 0.3 else []
        width = wide
    layers.append(nn.Linear(width, 10))
    norms = f", {order}" if has_norms else ""
    about = f"conv {kernels}{' padded' if is_padded else ''}, {hidden + 1} linear"
    return nn.Sequential(*layers), f"{about}, {activation}, {pool} pooling{norms}"


def scaled(images: Tensor, scaling: tuple[float, float]) -> Tensor:
    """Inputs [N, 1, 28, 28] for images [N, 28, 28] from 0 to 255."""
    return (images.unsqueeze(1).float() / 255 - scaling[0]) / scaling[1]


def train(
    network: nn.Module, scaling: tuple[float, float], digits: DigitSet, steps: int, seed: int = 0
) -> None:
    """Train on random batches of 64; leaves the network in evaluation mode."""
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(steps):
        picked = torch.randint(len(digits), (64,), generator=generator)
        logits = network(scaled(digits.images[picked], scaling))
        optimizer.zero_grad()
        functional.cross_entropy(logits, digits.labels[picked].long()).backward()
        optimizer.step()
    network.eval()


# --- files --------------------------------------------------------------------------------------


class Tree(nn.Module):
    """Modules by name, as a stranger's own class registers them; its forward is not in files."""


def renamed(network: nn.Sequential, style: str) -> nn.Module:
    """The same modules under the names that a script would give them."""
    if style == "sequential":
        return network
    root = Tree()
    names = _part_names(network) if style in ("parts", "blocks") else _layer_names(network, style)
    for name, module in names:
        *parents, last = name.split(".")
        at: nn.Module = root
        for parent in parents:
            if parent not in dict(at.named_children()):
                at.add_module(parent, nn.Sequential() if style in ("parts", "blocks") else Tree())
            at = at.get_submodule(parent)
        at.add_module(last, module)
    if style == "parts":
        return root
    outer = Tree()
    outer.add_module("module", root)
    return outer if style == "prefixed" else root


_WORDS = {
    "conv": ("first", "second", "third"), "bn": ("norm_a", "norm_b", "norm_c"),
    "fc": ("hidden", "dense", "output"),
}  # fmt: skip


def _layer_names(network: nn.Sequential, style: str) -> Iterator[tuple[str, nn.Module]]:
    """``conv1``, ``bn1``, ``fc1``, or words; modules without weights appear only in ``forward``."""
    kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "bn", nn.Linear: "fc"}
    counts = dict.fromkeys(kinds.values(), 0)
    for module in network:
        kind = kinds.get(type(module))
        if kind is not None:
            number = counts[kind]
            counts[kind] += 1
            yield _WORDS[kind][number] if style == "words" else f"{kind}{number + 1}", module


def _part_names(network: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """``features.0``, ``classifier.1``: two Sequentials, split before Flatten."""
    part, number = "features", 0
    for module in network:
        if isinstance(module, nn.Flatten):
            part, number = "classifier", 0
        yield f"{part}.{number}", module
        number += 1


def in_file(network: nn.Sequential, form: str, style: str) -> bytes:
    """Return the network as a file. form: of FORMS. style: of STYLES, ignored for ONNX."""
    if form == "onnx":
        return as_onnx(network)
    module = renamed(network, style)
    state = module.state_dict()
    if form == "safetensors":
        return safetensors.torch.save({name: value.contiguous() for name, value in state.items()})
    if form == "pickle":
        return pickle.dumps(state)
    content: Any = state
    if form == "training":
        optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)
        content = {
            "epoch": 5,
            "model_state_dict": state,
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": torch.tensor(0.1),
            "args": argparse.Namespace(lr=0.01, epochs=5),
        }
    elif form == "lightning":
        content = {
            "epoch": 3,
            "pytorch-lightning_version": "2.0.1",
            "state_dict": {f"model.{name}": value for name, value in state.items()},
            "hyper_parameters": {"lr": 0.01},
        }
    elif form == "whole":
        content = module
    elif form in ("float64", "float16"):
        dtype = getattr(torch, form)
        content = {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=form != "legacy")
    return buffer.getvalue()


def as_onnx(network: nn.Sequential) -> bytes:
    """The network as an ONNX model for any number of images. Needs the package onnx."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []
    at = "images"
    for number, module in enumerate(network):
        operator, attributes = _operator(module)
        names = ["weight", "bias", "running_mean", "running_var"]
        state = module.state_dict()
        inputs = [f"{number}.{name}" for name in names if name in state]
        weights += [
            numpy_helper.from_array(state[name.partition(".")[2]].numpy(), name) for name in inputs
        ]
        nodes.append(helper.make_node(operator, [at, *inputs], [f"out{number}"], **attributes))
        at = f"out{number}"
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return content


def _operator(module: nn.Module) -> tuple[str, dict[str, Any]]:
    if isinstance(module, nn.Conv2d):
        return "Conv", {"pads": [*map(int, module.padding)] * 2}
    if isinstance(module, nn.Linear):
        return "Gemm", {"transB": 1}
    if isinstance(module, nn.LeakyReLU):
        return "LeakyRelu", {"alpha": module.negative_slope}
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        kind = "MaxPool" if isinstance(module, nn.MaxPool2d) else "AveragePool"
        return kind, {"kernel_shape": [2, 2], "strides": [2, 2]}
    names = {
        "ReLU": "Relu", "ELU": "Elu", "BatchNorm2d": "BatchNormalization", "Dropout": "Identity",
    }  # fmt: skip
    return names.get(type(module).__name__, type(module).__name__), {}
