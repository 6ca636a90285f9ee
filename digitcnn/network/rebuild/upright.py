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
    weights, first, last = [], False, False
    for parts in parts_of(tensors)[0].values():
        weight = tensors[parts["weight"]] if "weight" in parts else None
        if weight is None or len(weight.shape) not in _ORDERS:
            continue
        weights.append(parts["weight"])
        if "bias" in parts:
            bias = tensors[parts["bias"]]
            if len(bias.shape) == 2 and 1 in bias.shape:  # added to rows or columns of features
                side = int(bias.shape[0] == 1)
                shape, stride = ((each[side],) for each in (bias.shape, bias.stride))
                bias = dataclasses.replace(bias, shape=shape, stride=stride)
                tensors[parts["bias"]] = bias
            first |= bias.numbers == weight.shape[0] != weight.shape[-1]
            last |= bias.numbers == weight.shape[-1] != weight.shape[0]
    if last and not first:
        tensors |= {name: _turned(tensors[name]) for name in weights}
    return dataclasses.replace(state, tensors=tensors)


def _turned(spec: TensorSpec) -> TensorSpec:
    order = _ORDERS[len(spec.shape)]
    return dataclasses.replace(
        spec,
        shape=tuple(spec.shape[side] for side in order),
        stride=tuple(spec.stride[side] for side in order),
    )
