"""What a weight file says of its tensors, read as data: nothing is built, nothing is called.

The pickle inside a ``.pt`` file is a program. ``PickleReader`` follows the few instructions that
``torch.save`` writes and gives numbers, texts, lists, dictionaries, and tensors as claims. Every
other instruction, function or class is refused by name.

Where the pickle comes from is left to ``gate``, what the claims should say to ``checkpoint`` and
``bare_weights``.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from digitcnn.errors import CheckpointError

# No tensor of a network like ours has more.
MAX_SIDES = 8

ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex128": 16, "complex64": 8,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
_STORAGES = {
    "torch.DoubleStorage": "float64", "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16", "torch.BFloat16Storage": "bfloat16",
    "torch.ComplexDoubleStorage": "complex128", "torch.ComplexFloatStorage": "complex64",
    "torch.LongStorage": "int64", "torch.IntStorage": "int32", "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8", "torch.ByteStorage": "uint8", "torch.BoolStorage": "bool",
}  # fmt: skip
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_ORDERED_DICT = "collections.OrderedDict"
_OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data (meta)",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_tensor_v3": "a tensor of a rare number type",
    "torch._utils._rebuild_tensor": "a tensor in a form of PyTorch before 0.4",
    "torch.QInt8Storage": "a quantised tensor",
    "torch.QUInt8Storage": "a quantised tensor",
    "torch.QInt32Storage": "a quantised tensor",
}


class Refused(CheckpointError):
    """A file is not let in. The text is a sentence without its subject, the file's name.

    ``checkpoint.load`` puts the name in front and the full stop behind.
    """


@dataclass(frozen=True)
class Claim:
    """A tensor as its file describes it; nothing is loaded.

    dtype: PyTorch's name, such as ``float32``. shape: every side at least 0.
    problem: why it is no contiguous tensor that fills its storage; empty if it is one.
    """

    dtype: str
    shape: tuple[int, ...]
    problem: str = ""


class _Mark:
    """A function or class that a pickle names; never the thing itself."""

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass(frozen=True)
class _Storage:
    dtype: str
    items: int


class PickleReader:
    """Reads the instructions that ``torch.save`` writes (pickle protocol 2); calls nothing.

    sizes: the bytes that the file has for each storage, by its key.
    storages: those that the pickle asks for, once it is read.

    Follows ``torch._weights_only_unpickler`` instruction by instruction, so that PyTorch reads the
    same values afterwards. The keys of dictionaries are texts or whole numbers only: hashing
    nested tuples can take for ever or overflow the stack.
    """

    def __init__(self, data: bytes, sizes: Mapping[str, int]) -> None:
        self._data, self._sizes = data, sizes
        self.storages: dict[str, _Storage] = {}
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        """The outermost value. Raises Refused."""
        try:
            file = io.BytesIO(self._data)
            while True:
                name = _NAMES[_exactly(file, 1).decode("latin-1")]
                argument = _argument(name, file)
                if name == "STOP":
                    return self._stack.pop()
                self._step(name, argument)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            # Short of operands, memo entries or bytes: cut off or tampered with.
            raise Refused("is damaged in its description; copy or download it again") from error

    def _step(self, name: str, argument: Any) -> None:  # noqa: C901
        stack = self._stack
        if name in _LITERALS:
            stack.append(_LITERALS[name](argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            self._outer.append(stack)
            self._stack = []
        elif name in ("TUPLE", "APPENDS", "SETITEMS"):
            self._stack = self._outer.pop()
            self._close(name, stack)
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise IndexError
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            item = stack.pop()
            _of_type(stack[-1], list).append(item)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set(_of_type(stack[-1], dict), key, value)
        elif name == "GLOBAL":
            stack.append(_allowed(argument))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments = _of_type(stack.pop(), tuple)
            stack[-1] = _reduced(_of_type(stack[-1], _Mark).name, arguments)
        elif name == "BUILD":
            state = _of_type(stack.pop(), dict)
            _of_type(stack[-1], dict)
            # A state_dict's versions of its modules. Any other attribute could hide a method.
            if set(state) - {"_metadata"}:
                raise Refused("sets attributes of Python objects; save the state_dict alone")
        elif name == "PROTO":
            if argument != 2:
                raise Refused(
                    f"is written in pickle protocol {argument} where torch.save writes 2; save it "
                    "with torch.save as it is"
                )
        else:
            what = f" for {shown(argument)}" if argument else ""
            raise Refused(
                f"uses the pickle instruction {name}{what}, which weights do not need, so it was "
                "not opened; save the network's state_dict with torch.save"
            )

    def _close(self, name: str, items: list[Any]) -> None:
        if name == "TUPLE":
            self._stack.append(tuple(items))
        elif name == "APPENDS":
            _of_type(self._stack[-1], list).extend(items)
        else:
            if len(items) % 2:
                raise ValueError
            target = _of_type(self._stack[-1], dict)
            for key, value in zip(items[::2], items[1::2], strict=True):
                _set(target, key, value)

    def _storage(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, items = _of_type(pid, tuple)
        dtype = _STORAGES[_of_type(storage_type, _Mark).name]
        if kind != "storage" or not re.fullmatch(r"[0-9]{1,6}", _of_type(key, str)):
            raise ValueError
        if self._sizes.get(key) != _of_type(items, int) * ITEM_SIZES[dtype]:
            raise Refused(
                f"claims {shown(str(items), 24)} numbers of {dtype} in its record {key}, which "
                f"has {self._sizes.get(key, 0)} bytes; copy or download it again"
            )
        # PyTorch would take the type that came first for both.
        storage = self.storages.setdefault(key, _Storage(dtype, items))
        if storage.dtype != dtype:
            raise ValueError
        return storage


_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}

# The arguments of a fixed size, as ``struct`` writes them; all others have none or a size.
_NUMBERS = {
    "PROTO": "<B", "BINPUT": "<B", "BINGET": "<B", "LONG_BINPUT": "<I", "LONG_BINGET": "<I",
    "BININT": "<i", "BININT1": "<B", "BININT2": "<H", "BINFLOAT": ">d",
}  # fmt: skip


def _argument(name: str, file: io.BytesIO) -> Any:
    """The argument of an instruction, read as PyTorch reads it; None without one."""
    if name in _NUMBERS:
        size = struct.calcsize(_NUMBERS[name])
        return struct.unpack(_NUMBERS[name], _exactly(file, size))[0]
    if name == "BINUNICODE":
        size = int.from_bytes(_exactly(file, 4), "little")
        return _exactly(file, size).decode("utf-8", "surrogatepass")
    if name == "LONG1":
        return int.from_bytes(_exactly(file, _exactly(file, 1)[0]), "little", signed=True)
    if name in ("GLOBAL", "INST"):
        return ".".join(file.readline()[:-1].decode() for _ in range(2))
    return None


def _exactly(file: io.BytesIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ValueError
    return data


_LITERALS: dict[str, Any] = {
    **dict.fromkeys(
        ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), lambda value: value
    ),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _set(target: dict[Any, Any], key: Any, value: Any) -> None:
    if type(key) not in (str, int):
        raise TypeError
    target[key] = value


def _allowed(name: str) -> _Mark:
    if name in (_TENSOR, _PARAMETER, _ORDERED_DICT) or name in _STORAGES:
        return _Mark(name)
    if name in _OTHER_TENSORS:
        raise Refused(f"holds {_OTHER_TENSORS[name]}; save plain float32 weights")
    raise Refused(
        f"wants to call {shown(name)}, which weights do not need, so it was not opened; save the "
        "network's state_dict instead of whole objects"
    )


def _reduced(function: str, arguments: tuple[Any, ...]) -> Any:
    """What the call of an allowed function would give, as a claim."""
    if function == _ORDERED_DICT:
        if arguments:
            raise ValueError
        return {}
    if function == _PARAMETER:
        tensor, _, hooks = arguments
        if hooks != {}:
            raise ValueError
        return _of_type(tensor, Claim)
    if function != _TENSOR:
        raise ValueError
    storage, offset, shape, stride, requires_grad, hooks = arguments
    _of_type(storage, _Storage)
    _of_type(requires_grad, bool)
    if hooks != {}:
        raise ValueError
    if not len(_of_type(shape, tuple)) == len(_of_type(stride, tuple)) <= MAX_SIDES:
        raise ValueError
    for number in (*shape, *stride, offset):
        if not 0 <= _of_type(number, int) < 2**63:
            raise ValueError
    _check_bounds(storage, offset, shape, stride)
    return Claim(storage.dtype, shape, _problem(storage, offset, shape, stride))


def _check_bounds(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    """No tensor has more numbers than its storage, none lies beyond its end.

    Looked at for every tensor, wanted or not: PyTorch would make room for whatever is claimed.
    """
    numbers = math.prod(shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if numbers > storage.items or (numbers and last >= storage.items):
        sides = "x".join(map(str, shape)) or "1"
        raise Refused(
            f"claims a tensor of {shown(sides)} numbers that reaches beyond the {storage.items} in "
            "its record; copy or download it again"
        )


def _problem(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> str:
    if not _is_contiguous(shape, stride):
        return "is not stored contiguously"
    if offset != 0 or storage.items != math.prod(shape):
        return "is a part of a larger tensor"
    return ""


def _is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    expected = 1
    for side, step in zip(reversed(shape), reversed(stride), strict=True):
        if side != 1 and step != expected:
            return False
        expected *= side
    return True


def shown(text: str, length: int = 60) -> str:
    """A text from outside for a sentence: on one line, without what cannot be seen, short."""
    plain = "".join(c if c.isprintable() else "?" for c in text[: length + 1])
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def listed(names: Collection[str], most: int = 3) -> str:
    """The first names of many, for a sentence."""
    first = [shown(name, 40) for name in list(names)[:most]]
    return ", ".join(first) + (", …" if len(names) > most else "")
