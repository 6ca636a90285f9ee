"""Weights whose last side counts the outputs, as Keras and networks written by hand have them."""

from __future__ import annotations

import dataclasses

from digitcnn.network.reader import StateDict, TensorSpec
from digitcnn.network.rebuild.layers import parts_of

# Sides of a weight in PyTorch's order: outputs and inputs of a matrix; outputs, inputs, rows and
# columns of a convolution, which Keras stores as rows, columns, inputs, outputs.
_ORDERS = {2: (1, 0), 4: (3, 2, 0, 1)}


def upright(state: StateDict) -> StateDict:
    """Return the same weights with their outputs first, and biases without a side of 1.

    Biases tell which side counts the outputs. Nothing is read or copied.
    """
    tensors = dict(state.tensors)
    weights: dict[int, list[str]] = {2: [], 4: []}
    evidence: dict[int, set[str]] = {2: set(), 4: set()}
    for parts in parts_of(tensors)[0].values():
        weight = tensors[parts["weight"]] if "weight" in parts else None
        if weight is None or len(weight.shape) not in _ORDERS:
            continue
        sides = len(weight.shape)
        weights[sides].append(parts["weight"])
        if "bias" in parts:
            bias = tensors[parts["bias"]]
            if len(bias.shape) == 2 and 1 in bias.shape:  # added to rows or columns of features
                side = int(bias.shape[0] == 1)
                shape, stride = ((each[side],) for each in (bias.shape, bias.stride))
                bias = dataclasses.replace(bias, shape=shape, stride=stride)
                tensors[parts["bias"]] = bias
            if weight.shape[0] != weight.shape[-1]:
                ends = {weight.shape[0]: "first", weight.shape[-1]: "last"}
                evidence[sides] |= {ends[bias.numbers]} if bias.numbers in ends else set()
    for sides, names in weights.items():
        # Matrices may differ from convolutions: those of networks written by hand often do.
        if (evidence[sides] or evidence[6 - sides]) == {"last"}:
            tensors |= {name: _turned(tensors[name]) for name in names}
    return dataclasses.replace(state, tensors=tensors)


def _turned(spec: TensorSpec) -> TensorSpec:
    order = _ORDERS[len(spec.shape)]
    return dataclasses.replace(
        spec,
        shape=tuple(spec.shape[side] for side in order),
        stride=tuple(spec.stride[side] for side in order),
    )
