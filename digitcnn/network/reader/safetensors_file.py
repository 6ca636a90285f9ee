"""safetensors: the length of a JSON header, the header, and the bytes of the tensors.

Our own reader, of forty lines, so that its tensors are made like those of the other formats.
Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from typing import Any

from digitcnn.network.reader.pickle_reader import MAX_DESCRIPTION
from digitcnn.network.reader.tensors import (
    ITEM_SIZES,
    MAX_DIMENSIONS,
    InvalidCheckpoint,
    Storage,
    TensorSpec,
    contiguous_stride,
    shown,
)

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


def read_safetensors(data: bytes) -> dict[str, TensorSpec]:
    """Return the tensors of a file by name. Raises InvalidCheckpoint."""
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):
        raise InvalidCheckpoint("is truncated; copy or download it again")
    if start - 8 > MAX_DESCRIPTION:
        raise InvalidCheckpoint("describes more than one small network; choose another file")
    numbers = memoryview(data)[start:]
    try:
        header = json.loads(data[8:start])
        if not isinstance(header, dict):
            raise ValueError
        header.pop("__metadata__", None)
        tensors = {name: _spec(name, entry, numbers) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidCheckpoint("has a damaged header; copy or download it again") from error
    expected = 0
    for begin, end in sorted(entry["data_offsets"] for entry in header.values()):
        if begin != expected:
            raise InvalidCheckpoint("has inconsistent tensor offsets; save it again")
        expected = end
    if expected != len(numbers):
        raise InvalidCheckpoint(
            "is truncated or has bytes after its tensors; copy or download it again"
        )
    return tensors


def _spec(name: str, entry: dict[str, Any], numbers: memoryview) -> TensorSpec:
    """Return a tensor by its entry in the header. numbers: the bytes of all tensors."""
    shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError
    if not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, start, end)):
        raise ValueError
    dtype = _DTYPES.get(entry["dtype"], shown(str(entry["dtype"]), 20))
    items = (end - start) // ITEM_SIZES.get(dtype, 1)
    storage = Storage(dtype, items, lambda: numbers[start:end])
    spec = TensorSpec(dtype, shape, contiguous_stride(shape), 0, storage)
    if dtype in ITEM_SIZES and spec.numbers * ITEM_SIZES[dtype] != end - start:
        raise InvalidCheckpoint(
            f"declares a size for its tensor {shown(name)} that does not match its data; "
            "copy or download it again"
        )
    return spec
