"""The wire format of ONNX files (protobuf): recognise them, and bound what parsing them takes.

A few bytes of protobuf can describe an object of hundreds: 64 MB of empty nodes need gigabytes in
any parser. So the fields are counted before the package onnx parses a file.

Format: https://protobuf.dev/programming-guides/encoding and ``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator

from digitcnn.network.reader import InvalidCheckpoint

# A network of a hundred layers has about 3,000 fields.
MAX_FIELDS = 100_000
# Bytes of packed whole numbers, each of which takes eight when parsed.
MAX_PACKED = 2_000_000

_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5

# Message -> its fields that are messages. All others are numbers, texts or bytes.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "leaf", 14: "leaf"},
    "graph": {
        1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "annotation", 16: "leaf"
    },
    "node": {5: "attribute", 9: "leaf"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type"},
    "tensor": {3: "leaf", 13: "leaf", 16: "leaf"},
    "value": {2: "type", 4: "leaf"},
    "type": {1: "tensor type", 4: "element", 5: "element", 8: "tensor type", 9: "element"},
    "element": {1: "type", 2: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "leaf"},
    "annotation": {2: "leaf"},
    "leaf": {},
}  # fmt: skip
# Messages that no digit classifier needs, and what they are.
_REFUSED = {
    ("model", 20): "training information",
    ("model", 25): "functions of its own",
    ("model", 26): "a configuration for several devices",
    ("node", 10): "a configuration for several devices",
    ("graph", 15): "sparse weights",
    ("attribute", 22): "sparse weights",
    ("attribute", 23): "sparse weights",
}
_PACKED = {("tensor", 1), ("tensor", 5), ("tensor", 7), ("tensor", 11), ("attribute", 8)}
# The fields of a model by number: their wire types.
_MODEL = {
    1: _VARINT, 2: _LENGTH, 3: _LENGTH, 4: _LENGTH, 5: _VARINT, 6: _LENGTH, 7: _LENGTH, 8: _LENGTH,
    14: _LENGTH, 20: _LENGTH, 25: _LENGTH, 26: _LENGTH,
}  # fmt: skip


def is_onnx(data: bytes) -> bool:
    """Whether the bytes are, as far as their outermost level shows, one whole ONNX model."""
    has_graph = False
    try:
        for count, (number, kind, _, _) in enumerate(_fields(data, 0, len(data))):
            if _MODEL.get(number) != kind or count > MAX_FIELDS:
                return False
            has_graph |= number == 7
    except ValueError:
        return False
    return has_graph


def check_fields(data: bytes) -> None:
    """Raise InvalidCheckpoint for more fields or packed numbers than a small model has.

    Raises ValueError for a damaged file.
    """
    count = packed = 0
    pending = [("model", 0, len(data))]
    while pending:
        message, start, end = pending.pop()
        for number, kind, begin, stop in _fields(data, start, end):
            count += 1
            packed += (stop - begin) * ((message, number) in _PACKED)
            if count > MAX_FIELDS or packed > MAX_PACKED:
                raise InvalidCheckpoint(
                    "is an ONNX model with far more parts than a small digit classifier has; "
                    "choose another file"
                )
            if (message, number) in _REFUSED:
                raise InvalidCheckpoint(
                    f"is an ONNX model with {_REFUSED[message, number]}; export the network "
                    "again as a plain inference model"
                )
            inner = _MESSAGES[message].get(number)
            if inner is not None and kind == _LENGTH:
                pending.append((inner, begin, stop))


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and begin and end of the content of each field of a message.

    Raises ValueError for bytes that are not fields.
    """
    while at < end:
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        begin = at
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind == _LENGTH:
            size, begin = _varint(data, at, end)
            at = begin + size
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        else:
            raise ValueError
        if at > end or number == 0:
            raise ValueError
        yield number, kind, begin, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a number of seven bits per byte. Returns it and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError
