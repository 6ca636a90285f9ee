"""safetensors: the length of a JSON header, the header, and the bytes of the tensors.

Our own reader, of forty lines, so that its tensors are made like those of the other formats.
Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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


class SafetensorsFile:
    """A ``WeightFile`` in the safetensors format. Raises InvalidCheckpoint."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > len(data) - 8:
            raise InvalidCheckpoint("is truncated; copy or download it again")
        if size > MAX_DESCRIPTION:
            raise InvalidCheckpoint("describes more than one small network; choose another file")
        self._start = 8 + size
        try:
            header = json.loads(data[8 : self._start])
            if not isinstance(header, dict):
                raise ValueError
            self.content: dict[str, TensorSpec] = dict(self._specs(header))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidCheckpoint("has a damaged header; copy or download it again") from error
        self._check_places(header)

    def storage_bytes(self, storage: Storage) -> memoryview:
        """Return the bytes of a tensor."""
        start = self._start + int(storage.key)
        return self._data[start : start + storage.items * ITEM_SIZES[storage.dtype]]

    def _specs(self, header: dict[str, Any]) -> Iterator[tuple[str, TensorSpec]]:
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
            numbers = (*shape, start, end)
            if len(shape) > MAX_DIMENSIONS:
                raise ValueError
            if not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
                raise ValueError
            dtype = _DTYPES.get(entry["dtype"], shown(str(entry["dtype"]), 20))
            items = (end - start) // ITEM_SIZES.get(dtype, 1)
            storage = Storage(dtype, items, str(start))
            spec = TensorSpec(dtype, shape, contiguous_stride(shape), 0, storage)
            if dtype in ITEM_SIZES and spec.numbers * ITEM_SIZES[dtype] != end - start:
                raise InvalidCheckpoint(
                    f"declares a size for its tensor {shown(name)} that does not match its data; "
                    "copy or download it again"
                )
            yield name, spec

    def _check_places(self, header: dict[str, Any]) -> None:
        """Raise InvalidCheckpoint unless the tensors fill the rest of the file, without gaps."""
        places = sorted(
            tuple(entry["data_offsets"]) for n, entry in header.items() if n != "__metadata__"
        )
        expected = 0
        for start, end in places:
            if start != expected:
                raise InvalidCheckpoint("has inconsistent tensor offsets; save it again")
            expected = end
        if expected != len(self._data) - self._start:
            raise InvalidCheckpoint(
                "is truncated or has bytes after its tensors; copy or download it again"
            )
