"""PyTorch's format before 1.6, and plain pickles.

Four pickles one after the other (a magic number, the protocol, the machine's number sizes, the
content), then a pickled list of keys, then for each key the count of its numbers and the numbers.
Format: ``_legacy_save`` in ``torch/serialization.py``.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

from digitcnn.network.reader.pickle_reader import (
    MAX_INSTRUCTIONS,
    PickleReader,
    refuse_storage,
    storage_dtype,
)
from digitcnn.network.reader.tensors import (
    BIG_ENDIAN,
    ITEM_SIZES,
    InvalidCheckpoint,
    Storage,
    shown,
)

MAGIC = 0x1950A86A20F9469CFC6C
# A storage within a plain pickle is a file of this format: a tensor's has 30 instructions.
_NESTED_LIMIT, _MAX_NESTED = 200, 1000


class LegacyFile:
    """A file in PyTorch's format before 1.6."""

    def __init__(self, data: bytes | memoryview, limit: int = MAX_INSTRUCTIONS) -> None:
        """Read ``content``; limit: of the instructions of each pickle. Raises InvalidCheckpoint."""
        self._data = memoryview(data)
        self._limit, self._end = limit, 0
        self._declared: dict[str, Storage] = {}
        # Where the numbers of each storage begin.
        self._places: dict[str, int] = {}
        magic, protocol, system = (self._next() for _ in range(3))
        if magic != MAGIC or protocol != 1001 or not isinstance(system, dict):
            raise InvalidCheckpoint("is not a PyTorch file; choose a weight file")
        if system.get("little_endian") is not True:
            raise InvalidCheckpoint(BIG_ENDIAN)
        self.content: Any = self._next()
        self._find_storages(self._next())

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
        whole = self._declared.setdefault(key, self._part(dtype, key, 0, items))
        if (whole.dtype, whole.items) != (dtype, items):
            raise ValueError
        if view is None:
            return whole
        # A part of a storage: PyTorch before 0.4.
        _, start, size = view
        if type(start) is not int or type(size) is not int:
            raise ValueError
        if not 0 <= start <= start + size <= items:
            raise ValueError
        return self._part(dtype, key, start, size)

    def _part(self, dtype: str, key: str, start: int, items: int) -> Storage:
        # Without self, in whose content the storage is: a cycle would keep the file's bytes.
        data, places, item = self._data, self._places, ITEM_SIZES[dtype]

        def read() -> memoryview:
            place = places[key] + start * item
            return data[place : place + items * item]

        return Storage(dtype, items, read)

    def _find_storages(self, keys: Any) -> None:
        """Fill ``_places`` with where each storage begins; they are stored back to back."""
        places, at = self._places, self._end
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


def read_pickle(data: bytes) -> Any:
    """Return what Python's ``pickle`` wrote, where each storage is a legacy file of its own.

    Raises InvalidCheckpoint.
    """
    count = itertools.count()

    def storage(part: Any) -> Storage:
        if not isinstance(part, memoryview) or next(count) >= _MAX_NESTED:
            raise ValueError
        content = LegacyFile(part, _NESTED_LIMIT).content
        if not isinstance(content, Storage):
            raise ValueError
        return content

    return PickleReader(data, refuse_storage, nested=storage).read()
