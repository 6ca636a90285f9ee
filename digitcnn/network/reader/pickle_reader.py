"""Interpret a pickle as data: nothing that it names is imported, looked up or called.

A pickle is a program for a small stack machine. ``PickleReader`` runs its instructions on plain
values. A class or function that it names becomes an inert ``Placeholder``, and so does the result
of calling one. Only a fixed list of names has a meaning here: those that PyTorch writes for
tensors, and a few containers. Python's own unpickler would run code; PyTorch's refuses every class
that it does not know.

Instructions: ``pickletools.py`` of Python. Tensors: ``torch/_utils.py``. joblib's files are pickles
with the bytes of arrays between the instructions.
"""

from __future__ import annotations

import math
import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from digitcnn.network.reader.tensors import (
    MAX_DIMENSIONS,
    InvalidCheckpoint,
    Storage,
    TensorSpec,
    shown,
)

T = TypeVar("T")

# The pickle of a checkpoint after 200 epochs has 25 KB. Bytes and long texts are not counted.
MAX_DESCRIPTION = 256_000
MAX_INSTRUCTIONS = 256_000
MAX_NAME = 500
# Longer texts are not decoded: only the bytes of NumPy's arrays are written as such.
MAX_TEXT = 10_000

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
# joblib's stand-in for an array; ``joblib/numpy_pickle.py``.
JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
# Functions that make other kinds of tensors, and a description of each for an error.
OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data (meta)",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_tensor_v3": "a tensor of an unusual number type",
}


class Placeholder:
    """An inert stand-in for a class, a function or an object that a pickle names or makes.

    name: of the class or function, as the pickle gives it.
    args: of the call that made it; None for the class or function itself.
    state: set by BUILD, else None. items, entries: values appended, and set by key.
    """

    __slots__ = ("args", "entries", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name = name
        self.args = args
        self.state: Any = None
        self.items: list[Any] = []
        self.entries: dict[Any, Any] = {}


@dataclass(frozen=True)
class Hidden:
    """A dictionary's key that is not a plain value. Hashed by identity, so hashing is cheap."""

    key: Any
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class PickleReader:
    """Reads one pickle from ``data``, starting at ``start``.

    resolve: turns a storage's persistent id, a tuple, into a Storage.
    nested: reads a file within the pickle, given its bytes. limit: of instructions.
    After ``read``, ``end`` is the position of the next byte.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        resolve: Callable[[tuple[Any, ...]], Any],
        start: int = 0,
        nested: Callable[[Any], Any] | None = None,
        limit: int = MAX_INSTRUCTIONS,
    ) -> None:
        self._data, self._limit = memoryview(data), limit
        self._resolve, self._nested = resolve, nested
        self.end = start
        self._counted = 0
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        """Return the outermost value. Raises InvalidCheckpoint."""
        try:
            for _ in range(self._limit):
                name = _NAMES[chr(self._take(1)[0])]
                argument = self._argument(name)
                if name == "STOP":
                    return self._stack.pop()
                self._step(name, argument)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            # Too few operands, memo entries or bytes: truncated or tampered with.
            raise InvalidCheckpoint(
                "is damaged in its description; copy or download it again"
            ) from error
        raise InvalidCheckpoint(
            f"needs more than {self._limit:,} instructions to describe what it holds; save "
            "the network's state_dict alone"
        )

    # --- bytes

    def _take(self, size: int, counted: bool = True) -> memoryview:
        part = self._data[self.end : self.end + size]
        if len(part) != size:
            raise ValueError
        self.end += size
        if counted:
            self._charge(size)
        return part

    def _charge(self, amount: int) -> None:
        self._counted += amount
        if self._counted > MAX_DESCRIPTION:
            raise InvalidCheckpoint(
                f"needs more than {MAX_DESCRIPTION // 1000} kB to describe what it holds; save "
                "the network's state_dict alone"
            )

    def _line(self) -> str:
        window = bytes(self._data[self.end : self.end + 1000])
        return bytes(self._take(window.index(b"\n") + 1))[:-1].decode()

    def _argument(self, name: str) -> Any:
        if name in _NUMBERS:
            layout = _NUMBERS[name]
            return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        if name in _LENGTHS:
            length = int.from_bytes(self._take(_LENGTHS[name]), "little")
            if name in _BYTES or (length > MAX_TEXT and name in _TEXTS):
                return self._take(length, counted=False)
            data = bytes(self._take(length))
            if name in ("LONG1", "LONG4"):
                return int.from_bytes(data[:256], "little", signed=True)
            if name in ("BINSTRING", "SHORT_BINSTRING"):  # Python 2's str
                return data.decode("latin-1")
            return data.decode("utf-8", "surrogatepass")
        if name in ("GLOBAL", "INST"):
            return f"{self._line()}.{self._line()}"
        return None

    # --- instructions

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif name == "MARK":
            self._outer.append(stack)
            self._stack = []
        elif name in _CLOSING:
            self._stack = self._outer.pop()
            self._close(name, stack, argument)
        elif name in _ARRANGING:
            self._arrange(name)
        elif name in _MAKING:
            self._make(name, argument)
        elif name not in ("PROTO", "FRAME"):
            what = f" for {shown(argument)}" if isinstance(argument, str) else ""
            raise InvalidCheckpoint(
                f"uses the pickle instruction {name}{what}, which weights do not need, so it was "
                "not opened; save the network's state_dict with torch.save"
            )

    def _arrange(self, name: str) -> None:
        """Execute an instruction that puts values of the stack into others."""
        stack = self._stack
        if name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise IndexError
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "POP":
            stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "APPEND":
            item = stack.pop()
            _append(stack[-1], [item])
        else:  # SETITEM
            value, key = stack.pop(), stack.pop()
            _set(stack[-1], [key, value])

    def _make(self, name: str, argument: Any) -> None:
        """Execute an instruction that names, makes or fills an object."""
        stack = self._stack
        if name == "GLOBAL":
            stack.append(Placeholder(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = _exactly(str, stack.pop()), _exactly(str, stack.pop())
            if len(module) + len(attribute) > MAX_NAME:
                raise ValueError
            stack.append(Placeholder(f"{module}.{attribute}"))
        elif name == "BINPERSID":
            stack.append(self._persistent(stack.pop()))
        elif name == "BUILD":
            state = stack.pop()
            # On a dictionary: the attributes of an OrderedDict, such as a state_dict's versions.
            if isinstance(stack[-1], Placeholder):
                stack[-1].state = state
                if stack[-1].name == JOBLIB_ARRAY:
                    stack[-1].args = (self._array_bytes(state),)
        else:  # REDUCE, NEWOBJ, NEWOBJ_EX
            if name == "NEWOBJ_EX":
                stack.pop()
            arguments = _exactly(tuple, stack.pop())
            stack[-1] = self._call(stack[-1], arguments)

    def _close(self, name: str, items: list[Any], argument: Any) -> None:
        """Execute an instruction that ends at a mark; ``items`` are the values since."""
        stack = self._stack
        if name == "TUPLE":
            stack.append(tuple(items))
        elif name in ("LIST", "FROZENSET"):
            stack.append(items)
        elif name == "DICT":
            stack.append({})
            _set(stack[-1], items)
        elif name in ("APPENDS", "ADDITEMS"):
            _append(stack[-1], items)
        elif name == "SETITEMS":
            _set(stack[-1], items)
        elif name == "INST":
            stack.append(Placeholder(argument, tuple(items)))
        elif name == "OBJ":
            stack.append(self._call(items[0], tuple(items[1:])))

    def _array_bytes(self, state: Any) -> memoryview:
        """Return the bytes of an array that joblib writes between two instructions."""
        number_type, shape = state["dtype"].args[0], _exactly(tuple, state["shape"])
        if len(shape) > MAX_DIMENSIONS:
            raise ValueError
        if number_type[:1] == "O":
            raise InvalidCheckpoint(
                "has arrays of objects, which joblib pickles one by one; save it with pickle.dump"
            )
        if state.get("numpy_array_alignment_bytes") is not None:
            self._take(self._take(1)[0])  # padding
        return self._take(int(number_type[1:]) * math.prod(shape), counted=False)

    def _persistent(self, pid: Any) -> Any:
        kind = _exactly(tuple, pid)[0]
        if kind == "module":  # PyTorch before 1.6: a class with its source
            return pid[1]
        if kind != "storage":
            raise ValueError
        return self._resolve(pid)

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return the result that a call would have: a container, TensorSpec or Placeholder."""
        if not isinstance(function, Placeholder) or function.args is not None:
            return Placeholder("object", arguments)
        name = function.name
        if name in _MAPPINGS:
            return self._mapping(arguments)
        if name in _SEQUENCES:
            # Not copied: a pickle could ask for as many copies as it has instructions.
            return arguments[0] if arguments else []
        if name == "torch.Size":
            return arguments[0] if arguments else ()
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            if len(arguments) > 6 and arguments[6]:
                raise InvalidCheckpoint(
                    "has tensors marked as negated or conjugated; save clones of them"
                )
            return tensor_spec(*arguments[:4])
        if name.startswith("torch._utils._rebuild_parameter"):
            return arguments[0]
        if name == _FROM_TYPE and arguments[0].name != _FROM_TYPE:
            return self._call(arguments[0], _exactly(tuple, arguments[2]))
        if name == "torch.storage._load_from_bytes" and self._nested:
            # A tensor in a plain pickle: its storage is a file of PyTorch before 1.6 of its own.
            return self._nested(arguments[0])
        return Placeholder(name, arguments)

    def _mapping(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        """Return a dictionary, from a list of pairs if there is one (Python 2's OrderedDict)."""
        values: dict[Any, Any] = {}
        if arguments and type(arguments[0]) is list:
            self._charge(len(arguments[0]))
            for pair in arguments[0]:
                if type(pair) not in (list, tuple) or len(pair) != 2:
                    raise ValueError
                _set(values, list(pair))
        return values


_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}

# Arguments of a fixed size, as ``struct`` writes them.
_NUMBERS = {
    "PROTO": "<B", "BINPUT": "<B", "BINGET": "<B", "LONG_BINPUT": "<I", "LONG_BINGET": "<I",
    "BININT": "<i", "BININT1": "<B", "BININT2": "<H", "BINFLOAT": ">d", "FRAME": "<Q",
}  # fmt: skip
# Arguments that begin with their length, and the number of bytes of that length.
_LENGTHS = {
    "SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8, "SHORT_BINSTRING": 1, "BINSTRING": 4,
    "SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8, "LONG1": 1, "LONG4": 4,
}  # fmt: skip
_TEXTS = {"BINUNICODE", "BINUNICODE8", "BINSTRING"}
_BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_VALUES = {*_LENGTHS, "BININT", "BININT1", "BININT2", "BINFLOAT"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": lambda: (),
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ARRANGING = {*_TUPLES, "POP", "DUP", "APPEND", "SETITEM"}
_MAKING = {"GLOBAL", "STACK_GLOBAL", "BINPERSID", "BUILD", "REDUCE", "NEWOBJ", "NEWOBJ_EX"}
_CLOSING = {
    "TUPLE", "LIST", "FROZENSET", "DICT", "APPENDS", "ADDITEMS", "SETITEMS", "INST", "OBJ",
    "POP_MARK",
}  # fmt: skip
_MAPPINGS = {
    "collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict",
}  # fmt: skip
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_SEQUENCES = {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("list", "tuple", "set", "frozenset")
}


def tensor_spec(storage: Any, offset: Any, shape: Any, stride: Any) -> TensorSpec:
    """Check the arguments of PyTorch's rebuild functions. Raises ValueError and TypeError."""
    if not isinstance(storage, Storage):
        raise TypeError
    if not len(shape) == len(stride) <= MAX_DIMENSIONS:
        raise ValueError
    shape, stride = tuple(shape), tuple(stride)
    for number in (*shape, *stride, offset):
        if type(number) is not int or not 0 <= number < 2**63:
            raise ValueError
    return TensorSpec(storage.dtype, shape, stride, offset, storage)


def refuse_storage(pid: tuple[Any, ...]) -> Any:
    """Raise ValueError: the ``resolve`` of a pickle without storages of its own."""
    raise ValueError(pid)


def storage_dtype(storage_type: Any) -> str:
    """Return the number type of a storage's class. Raises InvalidCheckpoint for quantised ones."""
    name = storage_type.name if isinstance(storage_type, Placeholder) else ""
    dtype = _STORAGES.get(name.rpartition(".")[2])
    if not re.fullmatch(r"torch(\.cuda|\.storage)?\.\w+", name) or dtype is None:
        if re.fullmatch(r"torch\.(QU?Int\w+|UntypedStorage|storage\.UntypedStorage)", name):
            raise InvalidCheckpoint("has quantised or unusual tensors; save plain float32 weights")
        raise ValueError
    return dtype


def _exactly(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise TypeError
    return value


def _append(target: Any, items: list[Any]) -> None:
    if isinstance(target, Placeholder):
        target = target.items
    if type(target) is not list:
        raise TypeError
    target.extend(items)


def _set(target: Any, items: list[Any]) -> None:
    """Set keys and values, which alternate in ``items``."""
    if isinstance(target, Placeholder):
        target = target.entries
    if type(target) is not dict or len(items) % 2:
        raise TypeError
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing nested tuples can take for ever or overflow the stack.
        plain = key is None or type(key) in (str, int, float, bool)
        target[key if plain else Hidden(key)] = value
