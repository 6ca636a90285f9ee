"""Tensors as a file describes them, and tensors made from its checked bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digitcnn.errors import CheckpointError

MAX_DIMENSIONS = 8
MAX_TENSORS = 1000
# The limit for all tensors of one file: 64 MB in float32.
MAX_NUMBERS = 16_000_000
MAX_SIZE = 4 * MAX_NUMBERS  # bytes

ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex128": 16, "complex64": 8,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
FLOATS = {"float64", "float32", "float16", "bfloat16"}


class InvalidCheckpoint(CheckpointError):
    """A file that cannot be used. The text lacks its subject, the file's name, and the full stop.

    ``checkpoint.load`` adds both.
    """


BIG_ENDIAN = "was saved on a big-endian machine; save it again on a little-endian one"


@dataclass(frozen=True)
class Storage:
    """A run of numbers in a file, read on demand.

    items: how many numbers it has. read: returns their bytes, or raises InvalidCheckpoint.
    """

    dtype: str
    items: int
    read: Callable[[], bytes | memoryview] = field(compare=False)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as its file describes it; its data is not read.

    dtype: PyTorch's name, such as ``float32``. shape, stride, offset: as in PyTorch, in numbers;
    none is negative.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def check(self, name: str) -> None:
        """Raise InvalidCheckpoint where it needs more numbers than its storage has.

        An expanded tensor (stride 0) is refused too: a small file could ask for any amount.
        """
        last = self.offset + sum(
            (side - 1) * step for side, step in zip(self.shape, self.stride, strict=True)
        )
        fits = self.numbers <= self.storage.items and (
            self.numbers == 0 or last < self.storage.items
        )
        if not fits:
            raise InvalidCheckpoint(
                f"declares {shown(sides(self.shape))} numbers for its tensor {shown(name)}, but "
                f"stores {self.storage.items}; copy or download it again"
            )


@dataclass(frozen=True)
class Module:
    """A module of a pickled network.

    name: within the network, such as ``features.0``. kind: its class, such as ``Conv2d``.
    is_torch: whether the class is PyTorch's. attributes: plain values, such as its stride.
    """

    name: str
    kind: str
    is_torch: bool
    attributes: dict[str, Any]


@dataclass(frozen=True)
class StateDict:
    """A set of weights.

    path: where it is in the file, such as ``model_state_dict``; empty for the outermost value.
    modules: of a whole pickled network, in the order in which they were registered, parents
    first; else empty.
    """

    path: str
    tensors: dict[str, TensorSpec]
    modules: list[Module] = field(default_factory=list)

    @property
    def numbers(self) -> int:
        """How many weights it has."""
        return sum(spec.numbers for spec in self.tensors.values())


def read_tensors(
    specs: dict[str, TensorSpec], dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Return contiguous tensors in memory of their own.

    dtype: converted to this type, one after the other; None: in the file's types.
    Raises InvalidCheckpoint for tensors outside their storage and for more than MAX_NUMBERS.
    """
    numbers = sum(spec.numbers for spec in specs.values())
    size = sum(spec.numbers * ITEM_SIZES.get(spec.dtype, 1) for spec in specs.values())
    # Tensors that share a storage may have more bytes than their file.
    if numbers > MAX_NUMBERS or size > MAX_SIZE:
        raise InvalidCheckpoint(
            f"has {numbers / 1e6:,.0f} million weights ({size / 1e6:,.0f} MB), but digit "
            f"classifiers have about one million and the limit is {MAX_NUMBERS / 1e6:.0f} million "
            f"({MAX_SIZE / 1e6:.0f} MB); choose another file"
        )
    tensors = {}
    for name, spec in specs.items():
        tensor = _read_tensor(name, spec)
        tensors[name] = tensor if dtype is None else tensor.to(dtype)
    return tensors


def _read_tensor(name: str, spec: TensorSpec) -> Tensor:
    spec.check(name)
    if spec.dtype not in ITEM_SIZES:
        raise wrong_type(name, spec)
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if spec.numbers == 0:
        return torch.empty(spec.shape, dtype=dtype)
    # Only what the tensor has is copied: many small tensors may be parts of one large storage.
    size = ITEM_SIZES[spec.dtype]
    data = spec.storage.read()
    if len(data) != spec.storage.items * size:
        raise InvalidCheckpoint(
            f"is damaged in the numbers of its tensor {shown(name)}; copy or download it again"
        )
    numbers = np.frombuffer(data, np.dtype(f"V{size}"))
    # A step along a side of one is never taken, and may be of any size.
    steps = [step * size * (side > 1) for side, step in zip(spec.shape, spec.stride, strict=True)]
    strided = np.lib.stride_tricks.as_strided(
        numbers[spec.offset :], spec.shape, steps, writeable=False
    )
    copied = strided.copy().reshape(-1).view(np.uint8)
    return torch.from_numpy(copied).view(dtype).reshape(spec.shape)


def check_count(tensors: Collection[str]) -> None:
    """Raise InvalidCheckpoint for a set of more than MAX_TENSORS weights."""
    if len(tensors) > MAX_TENSORS:
        raise InvalidCheckpoint(
            f"has {len(tensors):,} tensors, so it is not a small digit classifier; choose another "
            "file"
        )


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise InvalidCheckpoint for weights with NaN or infinite numbers."""
    if not bool(torch.isfinite(tensor).all()):
        raise InvalidCheckpoint(
            f"has NaN or infinite numbers in its tensor {shown(name)}, so its training diverged; "
            "train it again"
        )


def wrong_type(name: str, spec: TensorSpec) -> InvalidCheckpoint:
    """Return the error for a tensor whose numbers cannot be weights."""
    return InvalidCheckpoint(
        f"has numbers of type {shown(spec.dtype, 20)} in its tensor {shown(name)}; save it as "
        "float32"
    )


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor of this shape."""
    strides, step = [], 1
    for side in reversed(shape):
        strides.append(step)
        step *= max(side, 1)
    return tuple(reversed(strides))


def sides(shape: tuple[int, ...]) -> str:
    """Return a shape for a sentence: ``32x1x3x3``."""
    return "x".join(map(str, shape)) if shape else "1"


def shown(text: str, length: int = 60) -> str:
    """Return an untrusted text for a sentence: on one line, printable, short."""
    plain = "".join(c if c.isprintable() else "?" for c in text[: length + 1])
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def listed(names: Collection[str], most: int = 3) -> str:
    """Return the first of many names, for a sentence."""
    first = [shown(name, 40) for name in list(names)[:most]]
    return ", ".join(first) + (", …" if len(names) > most else "")
