"""Weights that PyTorch stores in parts and computes before each use.

    pruning        weight_orig, weight_mask: their product
    weight norm    weight_g, weight_v: a length and a direction
    spectral norm  weight_orig, weight_u, weight_v: divided by its largest singular value

Formulas: ``torch/nn/utils``. ``torch.nn.utils.parametrizations`` has other names for the same.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from digitcnn.network.reader import StateDict, TensorSpec
from digitcnn.network.reader.tensors import FLOATS, Storage, contiguous_stride, read_tensors


def _pruned(weight: Tensor, mask: Tensor) -> Tensor:
    return weight * mask


def _weight_norm(length: Tensor, direction: Tensor) -> Tensor:
    sides = [number for number, side in enumerate(length.shape) if side == 1] or None
    stored: Tensor = torch.linalg.vector_norm(direction, dim=sides, keepdim=True)
    return direction * (length / stored)


def _spectral_norm(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return weight / (rows @ (weight.flatten(1) @ columns))


# The endings of the parts' names, and the function that computes the weight from them.
_FORMS: list[tuple[tuple[str, ...], Callable[..., Tensor]]] = [
    (("_orig", "_mask"), _pruned),
    (("_g", "_v"), _weight_norm),
    ((".original0", ".original1"), _weight_norm),
    (("_orig", "_u", "_v"), _spectral_norm),
    ((".original", ".0._u", ".0._v"), _spectral_norm),
]
_FIRST_PART = re.compile(r"(.*?)(?:parametrizations\.)?(weight|bias)(_orig|_g|\.original0?)", re.S)


def effective(state: StateDict) -> StateDict:
    """Return the weights that a network computes with, in the file's order.

    Those that are not in such parts stay as they are. No numbers are read yet.
    """
    tensors: dict[str, TensorSpec] = {}
    used: set[str] = set()
    for name, spec in state.tensors.items():
        match = _FIRST_PART.fullmatch(name)
        for ends, compute in _FORMS if match else []:
            stem = name.removesuffix(ends[0])
            names = [stem + end for end in ends]
            parts = [state.tensors[part] for part in names if part in state.tensors]
            if match and len(parts) == len(ends) and _fit(parts, compute):
                tensors[match[1] + match[2]] = _computed(parts, compute)
                used |= set(names)
        if name not in used:
            tensors[name] = spec
    return dataclasses.replace(
        state, tensors={name: spec for name, spec in tensors.items() if name not in used}
    )


def _fit(parts: list[TensorSpec], compute: Callable[..., Tensor]) -> bool:
    if any(part.dtype not in {*FLOATS, "bool"} for part in parts):
        return False
    first, second, *third = (part.shape for part in parts)
    if compute is _pruned:
        return first == second
    if compute is _weight_norm:
        sides = zip(first, second, strict=False)
        return len(first) in (0, len(second)) and all(a in (1, b) for a, b in sides)
    return len(first) > 1 and (second, *third) == (first[:1], (math.prod(first[1:]),))


def _computed(parts: list[TensorSpec], compute: Callable[..., Tensor]) -> TensorSpec:
    """Return a tensor whose numbers are computed when they are read."""
    shape = parts[compute is _weight_norm].shape

    def read() -> memoryview:
        names = dict(zip("abc", parts, strict=False))
        weight = compute(*read_tensors(names, torch.float32).values())
        return weight.contiguous().numpy().data.cast("B")

    storage = Storage("float32", math.prod(shape), read)
    return TensorSpec("float32", shape, contiguous_stride(shape), 0, storage)
