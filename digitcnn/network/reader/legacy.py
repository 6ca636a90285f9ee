"""PyTorch's format before 1.6, and plain pickles.

Four pickles one after the other (a magic number, the protocol, the machine's number sizes, the
content), then a pickled list of keys, then for each key the count of its numbers and the numbers.
Format: ``_legacy_save`` in ``torch/serialization.py``.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

from digitcnn.network.reader.pickle_reader import (
    MAX_INSTRUCTIONS,
    PickleReader,
    refuse_storage,
    storage_dtype,
)
from digitcnn.network.reader.tensors import ITEM_SIZES, InvalidCheckpoint, Storage, shown

MAGIC = 0x1950A86A20F9469CFC6C
# A storage within a plain pickle is a file of this format: a tensor's has 30 instructions.
_NESTED_LIMIT, _MAX_NESTED = 200, 1000


class LegacyFile:
    """A ``WeightFile`` in PyTorch's format before 1.6. Raises InvalidCheckpoint."""

    def __init__(self, data: bytes | memoryview, limit: int = MAX_INSTRUCTIONS) -> None:
        self._data = memoryview(data)
        self._limit, self._end = limit, 0
        self._declared: dict[str, Storage] = {}
        magic, protocol, system = (self._next() for _ in range(3))
        if magic != MAGIC or protocol != 1001 or not isinstance(system, dict):
            raise InvalidCheckpoint("is not a PyTorch file; choose a weight file")
        if system.get("little_endian") is not True:
            raise InvalidCheckpoint(
                "was saved on a big-endian machine; save it again on a little-endian one"
            )
        self.content: Any = self._next()
        self._places = self._find_storages(self._next())

    def storage_bytes(self, storage: Storage) -> memoryview:
        """Return the bytes of a storage, or of its part."""
        item = ITEM_SIZES[storage.dtype]
        start = self._places[storage.key] + storage.start * item
        return self._data[start : start + storage.items * item]

    def _next(self) -> Any:
        reader = PickleReader(self._data, self._resolve, self._end, limit=self._limit)
        value = reader.read()
        self._end = reader.end
        return value

    def _resolve(self, pid: tuple[Any, ...]) -> Storage:
        _, storage_type, key, _, items = pid[:5]
        view = pid[5] if len(pid) > 5 else None
        dtype = storage_dtype(storage_type)
        if type(key) is not str or not re.fullmatch(r"[0-9]{1,24}", key) or type(items) is not int:
            raise ValueError
        if not 0 <= items * ITEM_SIZES[dtype] <= len(self._data):
            raise InvalidCheckpoint(
                f"declares {shown(str(items), 24)} numbers of {dtype} in its storage {key}, more "
                "than the file has; copy or download it again"
            )
        whole = self._declared.setdefault(key, Storage(dtype, items, key))
        if (whole.dtype, whole.items) != (dtype, items):
            raise ValueError
        if view is None:
            return whole
        _, start, size = view
        if type(start) is not int or type(size) is not int or not 0 <= start <= start + size:
            raise ValueError
        if start + size > items:
            raise ValueError
        return Storage(dtype, size, key, start)

    def _find_storages(self, keys: Any) -> dict[str, int]:
        """Return where the numbers of each storage begin. Storages follow each other."""
        places: dict[str, int] = {}
        at = self._end
        if type(keys) is not list or len(keys) > len(self._declared):
            keys = [None]
        for key in keys:
            storage = self._declared.get(key) if type(key) is str else None
            if storage is None or key in places:
                raise InvalidCheckpoint(
                    "is damaged in its list of storages; copy or download it again"
                )
            size = storage.items * ITEM_SIZES[storage.dtype]
            count = int.from_bytes(self._data[at : at + 8], "little")
            if at + 8 + size > len(self._data) or count != storage.items:
                raise InvalidCheckpoint("is truncated or damaged; copy or download it again")
            places[key] = at + 8
            at += 8 + size
        if set(places) != set(self._declared):
            raise InvalidCheckpoint("is truncated or damaged; copy or download it again")
        return places


class PlainPickle:
    """A ``WeightFile`` that Python's ``pickle`` wrote: each storage is a legacy file inside."""

    def __init__(self, data: bytes) -> None:
        self._nested_files = 0
        self.content: Any = PickleReader(data, refuse_storage, nested=self._nested).read()

    def storage_bytes(self, storage: Storage) -> memoryview:
        """Never called: each storage reads itself."""
        raise AssertionError(storage)

    def _nested(self, data: Any) -> Storage:
        if not isinstance(data, memoryview) or self._nested_files >= _MAX_NESTED:
            raise ValueError
        file = LegacyFile(data, _NESTED_LIMIT)
        if not isinstance(file.content, Storage):
            raise ValueError
        self._nested_files += 1
        read = functools.partial(file.storage_bytes, file.content)
        return dataclasses.replace(file.content, start=0, read=read)
