"""NumPy arrays as weights: within pickles, and in the ``.npz`` archives of ``numpy.savez``.

An array's pickle has its shape, number type, order and bytes, in one of two forms (``__reduce__``
and ``__reduce_ex__`` in numpy/_core/src/multiarray/methods.c), or in joblib's. What arrays of
objects hold is read as data, never unpickled.
"""

from __future__ import annotations

import functools
import io
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

import numpy as np

from digitcnn.digits.own_arrays import READ_ERRORS, read_header
from digitcnn.network.reader.pickle_reader import (
    JOBLIB_ARRAY,
    PickleReader,
    Placeholder,
    refuse_storage,
)
from digitcnn.network.reader.tensors import (
    BIG_ENDIAN,
    ITEM_SIZES,
    MAX_DIMENSIONS,
    MAX_SIZE,
    InvalidCheckpoint,
    Storage,
    TensorSpec,
    contiguous_stride,
    shown,
)

_RECONSTRUCTED = re.compile(r"numpy\._?core\.multiarray\._reconstruct")
_FROM_BUFFER = re.compile(r"numpy\._?core\.numeric\._frombuffer")
_ENCODED = {"_codecs.encode", "__builtin__.bytes", "builtins.bytes"}
# By the letter and the size that pickles name a number type with.
_TYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "c16": "complex128", "c8": "complex64",
    "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8", "u1": "uint8", "b1": "bool",
}  # fmt: skip


def array_spec(value: Any) -> TensorSpec | None:
    """Return a pickled array as a tensor; None for anything else, and for arrays of objects.

    Raises InvalidCheckpoint where its parts do not fit one another.
    """
    if not isinstance(value, Placeholder) or value.args is None:
        return None
    try:
        if _RECONSTRUCTED.fullmatch(value.name) and value.state is not None:
            _, shape, dtype, is_columnwise, numbers = value.state
        elif _FROM_BUFFER.fullmatch(value.name):
            numbers, dtype, shape, order = value.args
            is_columnwise = order == "F"
        elif value.name == JOBLIB_ARRAY:
            shape, dtype = value.state["shape"], value.state["dtype"]
            is_columnwise, (numbers,) = value.state["order"] == "F", value.args
        else:
            return None
        name = _TYPES.get(dtype.args[0])
        if name is None:
            return None
        if dtype.state is not None and dtype.state[1] == ">":
            raise InvalidCheckpoint(BIG_ENDIAN)
        return _spec(name, shape, bool(is_columnwise), numbers)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise InvalidCheckpoint(
            "is damaged in its description of a NumPy array; copy or download it again"
        ) from error


def _spec(dtype: str, shape: Any, is_columnwise: bool, numbers: Any) -> TensorSpec:
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise ValueError
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError
    items = math.prod(shape)
    stride = contiguous_stride(shape)
    if is_columnwise:
        stride = contiguous_stride(shape[::-1])[::-1]
    storage = Storage(dtype, items, _bytes(numbers, items * ITEM_SIZES[dtype]))
    return TensorSpec(dtype, shape, stride, 0, storage)


def _bytes(numbers: Any, size: int) -> Callable[[], bytes | memoryview]:
    """Return a function that returns an array's bytes; ``read_tensors`` checks their number.

    size: the expected number of bytes.
    """
    if isinstance(numbers, Placeholder) and numbers.name in _ENCODED:
        # Protocols 0 to 2 write bytes as text, where each takes one or two bytes of UTF-8.
        text = numbers.args[0] if numbers.args else ""
        if not isinstance(text, (str, memoryview)) or not size <= len(text) <= 2 * size:
            raise ValueError
        return functools.partial(_encoded, text)
    if isinstance(numbers, str):  # Python 2's bytes
        numbers = memoryview(numbers.encode("latin-1"))
    if not isinstance(numbers, memoryview):
        raise ValueError
    return lambda: numbers


def _encoded(text: str | memoryview) -> bytes:
    """Return the bytes that a text stands for; empty if it has other characters."""
    try:
        return (text if isinstance(text, str) else str(text, "utf-8")).encode("latin-1")
    except UnicodeError:
        return b""


def object_pickle(data: bytes) -> bytes:
    """Return the pickle within a ``.npy`` file of objects. Raises InvalidCheckpoint."""
    file = io.BytesIO(data)
    try:
        _, dtype = read_header(file)
    except READ_ERRORS as error:
        raise InvalidCheckpoint(
            "is damaged in its description of a NumPy array; copy or download it again"
        ) from error
    if not dtype.hasobject:
        raise InvalidCheckpoint(
            "is a NumPy array, not a network; save the network's weights with numpy.savez"
        )
    return data[file.tell() :]


def is_npz(records: Mapping[str, zipfile.ZipInfo]) -> bool:
    """Whether all records of an archive are arrays."""
    return bool(records) and all(name.endswith(".npy") for name in records)


def read_npz(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo]) -> Any:
    """Return an archive's arrays by name, or as a list if they were saved without names.

    An array's declared size is compared with the archive's before it is read.
    Raises InvalidCheckpoint.
    """
    if sum(info.file_size for info in records.values()) > MAX_SIZE + 1000 * len(records):
        raise InvalidCheckpoint(
            f"unpacks to more than {MAX_SIZE / 1e6:.0f} MB, but digit classifiers have about 5; "
            "choose another file"
        )
    arrays = {}
    for name, info in records.items():
        try:
            arrays[name.removesuffix(".npy")] = _read_member(archive, info)
        except (*READ_ERRORS, OSError, MemoryError, AttributeError, LookupError) as error:
            raise InvalidCheckpoint(
                f"is damaged in its array {shown(name)}; save it again with numpy.savez"
            ) from error
    if all(re.fullmatch(r"arr_\d+", name) for name in arrays):
        return [arrays[name] for name in sorted(arrays, key=lambda name: int(name[4:]))]
    return arrays


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> TensorSpec | list[Any]:
    """Return an array, or the list that an array of objects was made from."""
    with archive.open(info) as file:
        shape, dtype = read_header(cast(BinaryIO, file))
        stored = info.file_size - file.tell()
        if dtype.hasobject:
            array = PickleReader(file.read(), refuse_storage).read()
            return list(array.state[-1])
    if dtype.kind not in "buifc" or math.prod(shape) * dtype.itemsize != stored:
        raise ValueError
    with archive.open(info) as file:
        array = np.load(cast(Any, file), allow_pickle=False)
    numbers = np.ascontiguousarray(array, dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    storage = Storage(dtype.name, array.size, lambda: numbers.data)
    return TensorSpec(dtype.name, shape, contiguous_stride(shape), 0, storage)
