"""ONNX models made with ``onnx.helper``, for tests. Needs the package onnx."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet

FLOAT = TensorProto.FLOAT


@functools.cache
def training_digits() -> DigitSet:
    return synthetic.draw("synthetic", "train", images=1500)


@functools.cache
def trained(scale: float = 1 / 127.5, shift: float = 1.0) -> nn.Sequential:
    """A small convolutional network for images times ``scale`` less ``shift``."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
        nn.Linear(8 * 7 * 7, 10),
    )  # fmt: skip
    digits = training_digits()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(120):
        picked = torch.arange(64 * step, 64 * (step + 1)) % len(digits)
        inputs = digits.images[picked].float()[:, None] * scale - shift
        loss = functional.cross_entropy(network(inputs), digits.labels[picked].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def arrays(network: nn.Sequential) -> dict[str, np.ndarray]:
    """Its weights by the names that the nodes below use."""
    conv, linear = network[0], network[4]
    return {
        "conv.w": conv.weight.numpy(),
        "conv.b": conv.bias.numpy(),
        "fc.w": linear.weight.T.contiguous().numpy(),
        "fc.b": linear.bias.numpy(),
    }


NODES = [
    helper.make_node("Conv", ["maps", "conv.w", "conv.b"], ["c"], pads=[2] * 4),
    helper.make_node("Relu", ["c"], ["r"]),
    helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[4, 4], strides=[4, 4]),
    helper.make_node("Flatten", ["m"], ["flat"]),
    helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"]),
]


def model(
    nodes: Sequence[Any],
    weights: dict[str, np.ndarray],
    shape: Sequence[int | str] = ("N", 1, 28, 28),
    output: tuple[str, int, Sequence[int | str] | None] = ("logits", FLOAT, None),
    also_inputs: bool = False,
    opset: int = 17,
    name: str = "images",
) -> Any:
    """A model of one input and one output; also_inputs: its weights are listed as inputs too."""
    inputs = [helper.make_tensor_value_info(name, FLOAT, shape)]
    tensors = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    if also_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    graph = helper.make_graph(
        list(nodes), "digits", inputs, [helper.make_tensor_value_info(*output)], tensors
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if also_inputs else 8
    )


def reshaping(shape: Sequence[int | str], *, channels_last: bool = False) -> Any:
    """The trained network behind an input of that shape, for images from -1 to 1."""
    batch = -1 if isinstance(shape[0], str) else int(np.prod(shape)) // 784
    to = [batch, 28, 28, 1] if channels_last else [batch, 1, 28, 28]
    nodes = [helper.make_node("Reshape", ["images", "to"], ["rows" if channels_last else "maps"])]
    if channels_last:
        nodes.append(helper.make_node("Transpose", ["rows"], ["maps"], perm=[0, 3, 1, 2]))
    return model([*nodes, *NODES], {**arrays(trained()), "to": np.array(to)}, shape)


def like_the_model_zoo() -> Any:
    """In the form of the ONNX model zoo's MNIST: as CNTK wrote it, for images from 0 to 255."""
    weights = arrays(trained(1.0, 0.0))
    weights["conv.b"] = weights["conv.b"].reshape(8, 1, 1)
    weights["fc.w"] = weights["fc.w"].reshape(8, 7, 7, 10)
    weights["fc.b"] = weights["fc.b"].reshape(1, 10)
    weights |= {"flat.shape": np.array([1, 392]), "fc.shape": np.array([392, 10])}
    make = helper.make_node
    nodes = [
        make(
            "Conv", ["Input3", "conv.w"], ["c"], kernel_shape=[5, 5], strides=[1, 1],
            auto_pad="SAME_UPPER", dilations=[1, 1], group=1,
        ),
        make("Add", ["c", "conv.b"], ["a"]),
        make("Relu", ["a"], ["r"]),
        make(
            "MaxPool", ["r"], ["m"], kernel_shape=[4, 4], strides=[4, 4], pads=[0] * 4,
            auto_pad="NOTSET",
        ),
        make("Reshape", ["m", "flat.shape"], ["flat"]),
        make("Reshape", ["fc.w", "fc.shape"], ["w"]),
        make("MatMul", ["flat", "w"], ["p"]),
        make("Add", ["p", "fc.b"], ["Plus214_Output_0"]),
    ]  # fmt: skip
    output = ("Plus214_Output_0", FLOAT, [1, 10])
    return model(nodes, weights, (1, 1, 28, 28), output, also_inputs=True, opset=8, name="Input3")


def saved(value: Any) -> bytes:
    content: bytes = value.SerializeToString()
    return content


def expected(images: torch.Tensor, scale: float = 1 / 127.5, shift: float = 1.0) -> torch.Tensor:
    """The logits of the trained network."""
    logits: torch.Tensor = trained(scale, shift)(images.float()[:, None] * scale - shift)
    return logits


__all__ = ["NODES", "arrays", "expected", "like_the_model_zoo", "model", "onnx", "reshaping"]
