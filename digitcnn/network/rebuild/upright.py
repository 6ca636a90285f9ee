"""Weights with other orders of sides: of Keras, of MLX, and of networks written by hand."""

from __future__ import annotations

import dataclasses

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network.reader import StateDict, TensorSpec
from digitcnn.network.reader.unnamed import named
from digitcnn.network.rebuild.layers import parts_of

# The orders in which weights have the sides that PyTorch's have: outputs and inputs of a matrix;
# outputs, inputs, rows and columns of a convolution in PyTorch, Keras and MLX. Those of Keras have
# their outputs last.
_ORDERS: dict[int, list[tuple[int, ...]]] = {
    2: [(0, 1), (1, 0)],
    4: [(0, 1, 2, 3), (3, 2, 0, 1), (0, 3, 1, 2)],
}


def upright(state: StateDict) -> StateDict:
    """Return the same weights with their sides in PyTorch's order, and biases without a side of 1.

    Biases tell which side counts the outputs, and kernels are square. Names that say nothing are
    replaced by numbers. Nothing is read or copied.
    """
    tensors = dict(state.tensors)
    layers = parts_of(tensors)[0]
    if all(parts == {"weight": name} for name, parts in layers.items()):
        tensors = named(list(tensors.values())) or tensors
        layers = parts_of(tensors)[0]
    weights: dict[int, list[str]] = {2: [], 4: []}
    evidence: dict[int, set[bool]] = {2: set(), 4: set()}  # whether the outputs come last
    for parts in layers.values():
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
            ends = weight.shape[0], weight.shape[-1]
            if ends[0] != ends[1] and bias.numbers in ends:
                evidence[sides].add(bias.numbers == ends[1])
    if weights[2] and not any(evidence.values()):
        first, last = (tensors[weights[2][-1]].shape[side] for side in (0, -1))
        evidence[2] |= {True} if first != CLASSES == last else set()
    # Matrices may differ from convolutions: those of networks written by hand often do.
    for sides in (4, 2):
        shapes = [tensors[name].shape for name in weights[sides]]
        square = [
            order
            for order in _ORDERS[sides]
            if all(shape[order[-2]] == shape[order[-1]] for shape in shapes)
        ]
        orders = (square if sides == 4 else []) or _ORDERS[sides]
        known = evidence[sides] or evidence[6 - sides]
        order = (*(each for each in orders if {each[0] > 0} == known), *orders)[0]
        if shapes and not evidence[4]:
            evidence[4] = {order[0] > 0}
        tensors |= {name: _turned(tensors[name], order) for name in weights[sides]}
    return dataclasses.replace(state, tensors=tensors)


def _turned(spec: TensorSpec, order: tuple[int, ...]) -> TensorSpec:
    return dataclasses.replace(
        spec,
        shape=tuple(spec.shape[side] for side in order),
        stride=tuple(spec.stride[side] for side in order),
    )
