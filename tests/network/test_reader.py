"""The checkpoint reader: any weight file is read, and hostile files run nothing and cost little."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
import functools
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from digitcnn.errors import CheckpointError
from digitcnn.network import checkpoint, reader
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN
from digitcnn.network.own_format import FORMAT
from digitcnn.network.reader import TensorSpec
from digitcnn.network.reader.pickle_reader import MAX_DESCRIPTION
from digitcnn.network.reader.tensors import read_tensors

MARKER = "something-ran"

DETAILS = Details(
    digits="synthetic",
    epochs=2,
    planned_epochs=2,
    state="finished",
    seed=0,
    config={"digits": "synthetic", "learning_rate": 0.008, "train_images": None},
    history=[{"epoch": e, "loss": 0.5 / e, "accuracy": 0.9} for e in (1, 2)],
    fingerprints={"train": "0" * 64},
    metrics={"synthetic": {"n": 100, "accuracy": 0.95}},
    temperature=1.2,
    created="2026-01-02T03:04:05+00:00",
    versions={"torch": "2.11"},
)


# --- how files are made -------------------------------------------------------------------------


class Storage:
    """Pickled as PyTorch's persistent id of a storage."""

    def __init__(self, items: Any, kind: Any = torch.FloatStorage, key: str = "0") -> None:
        self.pid = ("storage", kind, key, "cpu", items)


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Runs:
    """Makes the marker when a pickle makes one by NEWOBJ, or sets its state by BUILD."""

    def __new__(cls, *folder: str) -> Runs:
        for name in folder:
            Path(name).mkdir()
        return super().__new__(cls)

    def __setstate__(self, folder: str) -> None:
        Path(folder).mkdir()


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.pid if isinstance(value, Storage) else None


def pickled(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def archive(
    records: dict[str, bytes] | list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in records.items() if isinstance(records, dict) else records:
            file.writestr(name, data)
    return buffer.getvalue()


def torch_file(pickle_bytes: bytes, **storages: bytes) -> bytes:
    data = {f"archive/data/{key.lstrip('s')}": value for key, value in storages.items()}
    return archive({"archive/data.pkl": pickle_bytes, "archive/version": b"3\n", **data})


def tensor(
    shape: tuple[int, ...], stride: tuple[int, ...], storage: Storage, offset: int = 0
) -> Call:
    hooks: OrderedDict[Any, Any] = OrderedDict()
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, stride, False, hooks)


@functools.cache
def _weights() -> dict[str, torch.Tensor]:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).state_dict()


def state() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in _weights().items()}


def own(**parts: Any) -> dict[str, Any]:
    """The content of a file of ours, with parts replaced."""
    content = {
        "format": FORMAT,
        "format_version": 1,
        "architecture": {
            "name": "digitcnn",
            "layers": {"convolutions": [32, 64], "kernel": 3, "hidden": 320, "classes": 10},
            "input_mean": 0.1307,
            "input_std": 0.3081,
            "dropout": 0.4,
        },
        "weights": state(),
        "details": DETAILS.to_plain(),
    }
    return {**content, **parts}


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def weights(**replaced: Any) -> bytes:
    """A file of ours with tensors replaced, or left out where None."""
    changes = {name.replace("__", "."): value for name, value in replaced.items()}
    values = {**state(), **changes}
    return saved(own(weights={k: v for k, v in values.items() if v is not None}))


def details(**replaced: Any) -> bytes:
    return saved(own(details={**DETAILS.to_plain(), **replaced}))


def good() -> bytes:
    return saved(own())


def safe(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safe_with(name: str, **changes: Any) -> bytes:
    """Our weights as safetensors, with the header's entry ``name`` changed."""
    data = safetensors.torch.save(state())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header[name].update(changes)
    return safe(header, data[8 + size :])


# --- pickles that run code ----------------------------------------------------------------------


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(function: Any) -> bytes:
    """GLOBAL."""
    return f"c{function.__module__}\n{function.__qualname__}\n".encode()


MKDIR = f"{os.mkdir.__module__}\nmkdir\n".encode()

# Each makes the folder MARKER in the working directory when Python's own pickle reads it.
RUNNING = {
    "reduce in protocol 0": lambda: pickled(Call(os.mkdir, MARKER), 0),
    "reduce in protocol 2": lambda: pickled(Call(os.mkdir, MARKER), 2),
    "stack global in protocol 4": lambda: pickled(Call(os.mkdir, MARKER), 4),
    "stack global in protocol 2": lambda: (
        b"\x80\x02" + text(os.mkdir.__module__) + text("mkdir") + b"\x93" + text(MARKER) + b"\x85R."
    ),
    "inst": lambda: b"\x80\x02(" + text(MARKER) + b"i" + MKDIR + b".",
    "obj": lambda: b"\x80\x02(c" + MKDIR + text(MARKER) + b"o.",
    "newobj": lambda: b"\x80\x02" + named(Runs) + text(MARKER) + b"\x85\x81.",
    "newobj_ex": lambda: b"\x80\x02" + named(Runs) + text(MARKER) + b"\x85}\x92.",
    "build": lambda: b"\x80\x02" + named(Runs) + b")\x81" + text(MARKER) + b"b.",
    "exec": lambda: pickled(Call(exec, f"import os; os.mkdir({MARKER!r})")),
    "a pickle in a pickle": lambda: pickled(Call(pickle.loads, pickled(Call(os.mkdir, MARKER)))),
    "a function found by getattr": lambda: (
        b"\x80\x02" + named(getattr) + b"(" + named(__import__) + text("os") + b"\x85R"
        + text("mkdir") + b"tR" + text(MARKER) + b"\x85R."
    ),
    "a reduce whose value is dropped": lambda: (
        b"\x80\x02c" + MKDIR + text(MARKER) + b"\x85R0N."
    ),
    "in a dictionary's key": lambda: pickled({"a": {}, Call(os.mkdir, MARKER): 1}),
    "in the details": lambda: pickled({"details": {"digits": Call(os.mkdir, MARKER)}}),
    "as hooks of a tensor": lambda: pickled(
        Call(print, 0, (1,), (1,), False, Call(os.mkdir, MARKER))
    ),
    "as metadata of a state dict": lambda: (
        b"\x80\x02ccollections\nOrderedDict\n)R}" + text("_metadata")
        + b"c" + MKDIR + text(MARKER) + b"\x85Rsb."
    ),
}  # fmt: skip


@pytest.mark.parametrize("route", RUNNING)
def test_every_hostile_pickle_runs_code_in_plain_pickle(
    route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(RUNNING[route]())
    assert (tmp_path / MARKER).exists()


# Routes without a control: they need a registered extension, or a reader that answers ids.
RUNNING_ELSEWHERE = {
    "extension 1": lambda: b"\x80\x02\x82\x01" + text(MARKER) + b"\x85R.",
    "persistent id as text": lambda: b"\x80\x02Pos.mkdir\n.",
    "a function as storage type": lambda: (
        b"\x80\x02(" + text("storage") + b"c" + MKDIR + text("0") + text("cpu") + b"K\x01tQ."
    ),
    "torch.load in a pickle": lambda: pickled(Call(torch.load, MARKER)),
    "copyreg": lambda: b"\x80\x02ccopyreg\n_reconstructor\n" + named(Runs) + b"\x85R.",
}


# --- files that are broken, too large, or of something else -------------------------------------


def in_archive(make: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: torch_file(make())


def truncated(end: Callable[[bytes], int]) -> Callable[[], bytes]:
    def make() -> bytes:
        data = good()
        return data[: end(data)]

    return make


def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
    return b"\x80\x02" + opening * levels + closing * levels + b"."


def laughing_details() -> bytes:
    """Four lists, each holding the one before 200 times: a kilobyte that spells a billion items."""
    value: Any = "ha"
    for _ in range(4):
        value = [value] * 200
    return details(config={"laugh": value})


def laughing_key() -> bytes:
    """A dictionary's key of nested tuples, each twice: a hash that never ends."""
    doubled = b"".join(b"q%ch%ch%c\x86" % (i, i, i) for i in range(40))
    return b"\x80\x02}K\x01" + doubled + b"Ns."


def endless_details() -> bytes:
    value: list[Any] = []
    value.append(value)
    return details(config={"self": value})


def lying_directory() -> bytes:
    """The central directory says that the first record is as large as 3 GB."""
    data = bytearray(torch_file(pickled({})))
    entry = data.index(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 3 * 10**9, 3 * 10**9)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(torch_file(pickled({})))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + flags] |= 1
    return bytes(data)


def overlapping() -> bytes:
    """A zip bomb without compression: 900 directory entries for one record of 1 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickled({}))
        file.writestr("archive/data/0", bytes(2**20))
        first = file.infolist()[-1]
        for number in range(1, 900):
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            for part in ("CRC", "file_size", "compress_size", "header_offset"):
                setattr(entry, part, getattr(first, part))
            file.filelist.append(entry)
    return buffer.getvalue()


def doubled_record() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return archive([("a/data.pkl", pickled({})), ("a/data.pkl", pickled([]))])


def script() -> bytes:
    program = {"net/code/__torch__.py": b"", "net/constants.pkl": pickled(())}
    return archive({"net/data.pkl": pickled({}), **program})


def quantised() -> bytes:
    storage = Storage(4, torch.QInt8Storage)
    scheme = (torch.per_tensor_affine, 0.1, 0)
    rebuilt = Call(torch._utils._rebuild_qtensor, storage, 0, (4,), (1,), scheme, False, {})
    return torch_file(pickled({"fc.weight": rebuilt}), s0=bytes(4))


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(256, 120), nn.Linear(120, 10)
    )


def perceptron() -> dict[str, torch.Tensor]:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)).state_dict()


def nan(name: str, value: float = float("nan")) -> torch.Tensor:
    broken = state()[name]
    broken.view(-1)[3] = value
    return broken


FLOAT = struct.pack("<f", 1.0)

# Name -> bytes of a file named x.pt.
PT: dict[str, Callable[[], bytes]] = {
    # bytes that are no archive
    "empty file": lambda: b"",
    "one byte": lambda: b"P",
    "text file": lambda: b"these are not the weights you are looking for\n",
    "web page": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "gzipped": lambda: b"\x1f\x8b\x08" + bytes(100),
    "picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "random bytes": lambda: random.Random(0).randbytes(10_000),
    # archives
    "empty archive": lambda: archive({}),
    "archive of something else": lambda: archive({"word/document.xml": b"<xml/>"}),
    "zip bomb": lambda: archive(
        {"a/data.pkl": pickled({}) + bytes(20 * 2**20)}, zipfile.ZIP_DEFLATED
    ),
    "overlapping records": overlapping,
    "record larger than the file": lying_directory,
    "two records of one name": doubled_record,
    "5,000 records": lambda: archive({f"a/data/{n}": b"" for n in range(5000)}),
    "1,500 records": lambda: archive({f"a/data/{n}": b"" for n in range(1500)}),
    "encrypted record": encrypted,
    "record that climbs out": lambda: archive({"a/data.pkl": pickled({}), "../../etc/x": b""}),
    "record name with a newline": lambda: archive({"a/data.pkl": pickled({}), "a/\nx": b""}),
    "record name of 1,000": lambda: archive({"a/data.pkl": pickled({}), "a/" + "x" * 1000: b""}),
    "TorchScript": script,
    "big-endian": lambda: archive({"a/data.pkl": pickled({}), "a/byteorder": b"big"}),
    # cut short
    "cut in the weights": truncated(lambda data: len(data) // 2),
    "cut by one byte": truncated(lambda data: len(data) - 1),
    "a flipped bit in the weights": lambda: (
        (data := bytearray(good())).__setitem__(2_000_000, data[2_000_000] ^ 1) or bytes(data)
    ),
    # pickles that end badly
    "pickle that takes from nothing": lambda: torch_file(b"\x80\x02a."),
    "pickle that closes what is not open": lambda: torch_file(b"\x80\x02t."),
    "memo that was never set": lambda: torch_file(b"\x80\x02h\x05."),
    "text longer than the pickle": lambda: torch_file(b"\x80\x02X\xff\xff\xff\x7fabc."),
    "a name that is no UTF-8": lambda: torch_file(b"\x80\x02ctorch\n\xff\n."),
    "an unknown instruction": lambda: torch_file(b"\x80\x02\xff."),
    "odd dictionary": lambda: torch_file(b"\x80\x02}(K\x01u."),
    "append to a number": lambda: torch_file(b"\x80\x02K\x01K\x01a."),
    "a number with 2,000 bits": lambda: torch_file(b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b"."),
    "10 GB of bytearray": lambda: torch_file(pickled(Call(bytearray, 10**10))),
    "a Counter": lambda: torch_file(pickled(Counter("abc"))),
    "250,000 nested lists": lambda: torch_file(nested(100_000, b"]", b"a")),
    "100,000 nested tuples as a key": lambda: torch_file(
        b"\x80\x02})" + b"\x85" * 100_000 + b"Ns."
    ),
    "key whose hash never ends": lambda: torch_file(laughing_key()),
    "pickle of 1 MB": lambda: torch_file(pickled(list(range(300_000)))),
    "250,000 marks": lambda: torch_file(b"\x80\x02" + b"(" * 250_000 + b"."),
    # tensors that are not what they say
    "100,000 x 100,000 by stride 0": lambda: torch_file(
        pickled({"fc.weight": tensor((100_000, 100_000), (0, 0), Storage(1))}), s0=FLOAT
    ),
    "100,000 x 100,000 contiguous": lambda: torch_file(
        pickled({"fc.weight": tensor((100_000, 100_000), (100_000, 1), Storage(1))}), s0=FLOAT
    ),
    "a huge tensor in a key that is replaced": lambda: torch_file(
        b"\x80\x02}" + text("a")
        + pickled(tensor((10**5, 10**5), (10**5, 1), Storage(1)))[2:-1]
        + b"s" + text("a") + b"Ns.",
        s0=FLOAT,
    ),
    "a huge tensor in the optimiser's state": lambda: torch_file(
        pickled(
            {"opt": {0: {"m": tensor((10**5, 10**5), (10**5, 1), Storage(1))}}, "model": {}}
        ),
        s0=FLOAT,
    ),
    "a storage larger than its record": lambda: torch_file(
        pickled({"fc.weight": tensor((4,), (1,), Storage(10**9))}), s0=FLOAT
    ),
    "a storage without a record": lambda: torch_file(
        pickled({"fc.weight": tensor((1,), (1,), Storage(1, key="7"))}), s0=FLOAT
    ),
    "a storage of two types": lambda: torch_file(
        pickled(
            [tensor((1,), (1,), Storage(1, torch.LongStorage)), tensor((2,), (1,), Storage(2))]
        ),
        s0=bytes(8),
    ),
    "a negative storage": lambda: torch_file(
        pickled({"fc.weight": tensor((1,), (1,), Storage(-1))}), s0=FLOAT
    ),
    "a negative stride": lambda: torch_file(
        pickled({"fc.weight": tensor((1,), (-1,), Storage(1))}), s0=FLOAT
    ),
    "an offset beyond the end": lambda: torch_file(
        pickled({"fc.weight": tensor((1,), (1,), Storage(1), offset=5)}), s0=FLOAT
    ),
    "sides whose product overflows": lambda: torch_file(
        pickled({"fc.weight": tensor((2**33, 2**33), (2**33, 1), Storage(1))}), s0=FLOAT
    ),
    "100 sides": lambda: torch_file(
        pickled({"fc.weight": tensor((1,) * 100, (1,) * 100, Storage(1))}), s0=FLOAT
    ),
    "a storage named like a path": lambda: torch_file(
        pickled({"fc.weight": tensor((1,), (1,), Storage(1, key="../data.pkl"))}), s0=FLOAT
    ),
    "a quantised tensor": quantised,
    "a sparse tensor": lambda: weights(output__bias=torch.zeros(10).to_sparse()),
    "a complex tensor": lambda: weights(output__bias=torch.zeros(10, dtype=torch.complex64)),
    "a half-precision tensor": lambda: weights(output__bias=torch.zeros(10).half()),
    "a float8 tensor": lambda: weights(output__bias=torch.zeros(10).to(torch.float8_e4m3fn)),
    "a stride-0 tensor of the right shape": lambda: weights(
        hidden__weight=torch.zeros(1, 1).expand(320, 3136)
    ),
    "a tensor marked as negated": lambda: weights(
        output__bias=torch._neg_view(torch.zeros(10))
    ),
    # weights that are not ours, or not sound
    "NaN weights": lambda: weights(hidden__weight=nan("hidden.weight")),
    "negative variance": lambda: weights(norm1__running_var=nan("norm1.running_var", -1.0)),
    "zero variance": lambda: weights(norm2__running_var=nan("norm2.running_var", 0.0)),
    "wrong shape": lambda: weights(output__weight=torch.zeros(11, 320)),
    "missing tensor": lambda: weights(output__bias=None),
    "additional tensor": lambda: weights(surprise=torch.zeros(3)),
    "a number among the weights": lambda: weights(output__bias=3),
    "weights as a list": lambda: saved(own(weights=list(state().values()))),
    "a perceptron in our format": lambda: saved(own(weights=perceptron())),
    "a network with a layer more": lambda: saved(
        {**state(), "extra.weight": torch.zeros(10, 10), "extra.bias": torch.zeros(10)}
    ),
    "two layers for one place": lambda: saved(
        {**state(), **{f"ema.{n}": v for n, v in state().items() if n.startswith("conv1")}}
    ),
    "60 MB of another network": lambda: saved({"fc.weight": torch.zeros(1000, 15_000)}),
    "70 MB": lambda: saved({"fc.weight": torch.zeros(1000, 17_500)}),
    "a whole module": lambda: saved(lenet()),
    "a tensor alone": lambda: saved(torch.zeros(3)),
    "nothing": lambda: saved(None),
    # our format, wrongly filled
    "a later format": lambda: saved(own(format_version=2)),
    "a format version of text": lambda: saved(own(format_version="1")),
    "another format": lambda: saved(own(format="digitcnn run")),
    "a part too many": lambda: saved(own(more=1)),
    "another dropout": lambda: saved(
        own(architecture={**own()["architecture"], "dropout": 0.9})
    ),
    "an input scaling of 0": lambda: saved(
        own(architecture={**own()["architecture"], "input_std": 0.0})
    ),
    "no architecture": lambda: saved(own(architecture=None)),
    "no details": lambda: saved(own(details={})),
    "details as text": lambda: saved(own(details="trained well")),
    "negative epochs": lambda: details(epochs=-3),
    "epochs as truth": lambda: details(epochs=True, planned_epochs=True),
    "a state that contradicts the epochs": lambda: details(state="stopped at epoch 1 of 2"),
    "no digit set": lambda: details(digits=None),
    "a digit set of two lines": lambda: details(digits="mnist\nnot"),
    "a digit set of 10,000 letters": lambda: details(digits="m" * 10_000),
    "a NaN temperature": lambda: details(temperature=float("nan")),
    "a temperature of 0": lambda: details(temperature=0.0),
    "an accuracy of 700 %": lambda: details(metrics={"mnist": {"n": 10, "accuracy": 7.0}}),
    "an accuracy of no images": lambda: details(metrics={"mnist": {"n": 0, "accuracy": 1.0}}),
    "metrics as a list": lambda: details(metrics=[1]),
    "a history of texts": lambda: details(history=["good", "better"]),
    "a history without losses": lambda: details(history=[{"epoch": 1}]),
    "a fingerprint that is none": lambda: details(fingerprints={"train": "abc"}),
    "a date that is none": lambda: details(created="yesterday"),
    "a date without zone": lambda: details(created="2026-01-02T03:04:05"),
    "versions as numbers": lambda: details(versions={"torch": 2}),
    "a tensor among the details": lambda: details(config={"t": torch.zeros(3)}),
    "numbers as names": lambda: details(config={1: 2}),
    "a number of 200 digits": lambda: details(seed=10**200),
    "details that hold themselves": endless_details,
    "details that never end": laughing_details,
    "100,000 details": lambda: details(config={"many": list(range(60_000))}),
    "bare pickle: exec": RUNNING["exec"],
    **{f"archive: {name}": in_archive(make) for name, make in RUNNING.items()},
    **{f"archive: {name}": in_archive(make) for name, make in RUNNING_ELSEWHERE.items()},
}  # fmt: skip

MAGIC_PICKLES = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
)


def legacy(content: bytes, keys: Any = (), data: bytes = b"") -> bytes:
    """A file in PyTorch's format before 1.6."""
    return MAGIC_PICKLES + content + pickle.dumps(list(keys), 2) + data


def legacy_tensor(items: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    return pickled({"fc.weight": tensor(shape, stride, Storage(items))})


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The beginning of an array's file."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n"
    if dtype.startswith("("):
        header = f"{dtype}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


class Built:
    """Pickled as an array that is made, and then filled by its state."""

    def __init__(self, *state: Any) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return np_reconstruct, (np.ndarray, (0,), b"b"), self.state


np_reconstruct = np.zeros(0).__reduce__()[0]


def array(shape: Any, numbers: Any) -> Any:
    """An array of float32 with this shape and these bytes, as a pickle's value."""
    return Built(1, shape, np.dtype("float32"), False, numbers)


def of_array(shape: Any, numbers: Any) -> bytes:
    return pickled({"fc.weight": array(shape, numbers)}, 2 if isinstance(numbers, Call) else 4)


# Instructions for one large number, a hundred thousand times.
MANY_SIDES = b"(\x8a\xff" + b"\x7f" * 255 + b"\x94" + b"h\x00" * 100_000 + b"t"


def of_joblib_array(shape: Any) -> bytes:
    """What joblib writes for an array, with this shape and 16 bytes."""
    sides = shape if isinstance(shape, bytes) else pickled(shape, 4)[2:-1]
    number_type = pickled(np.dtype("float32"), 4)[2:-1]
    state = b"}(\x8c\x05shape" + sides + b"\x8c\x05dtype" + number_type + b"\x8c\x05order\x8c\x01Cu"
    return (
        b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + state + b"b" + bytes(16) + b"."
    )


def many_of_one_text() -> Any:
    encoded = Call(codecs.encode, "\x00" * 20_000_000, "latin1")
    return {f"l{n}.weight": array((10, 784), encoded) for n in range(500)}


def repeated(instruction: bytes, setup: bytes, times: int = 60_000) -> bytes:
    """A pickle that does something costly many times with one value from the memo."""
    return b"\x80\x02" + setup + instruction * times + b"."


MANY = b"](" + b"N" * 60_000 + b"e"
PAIRS = b"](" + b"K\x01N\x86" * 20_000 + b"e"

# Name -> bytes of a file in a format that is not PyTorch's zip archive, or a costly pickle.
OTHER: dict[str, Callable[[], bytes]] = {
    "legacy: nothing after the header": lambda: MAGIC_PICKLES,
    "legacy: big-endian": lambda: saved(
        perceptron(), _use_new_zipfile_serialization=False
    ).replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"),
    "legacy: cut in the weights": lambda: saved(
        perceptron(), _use_new_zipfile_serialization=False
    )[:-100],
    "legacy: a storage of 8 EB": lambda: legacy(legacy_tensor(2**60, (2**60,), (1,)), ["0"]),
    "legacy: a negative storage": lambda: legacy(legacy_tensor(-1, (1,), (1,)), ["0"]),
    "legacy: a count that is another": lambda: legacy(
        legacy_tensor(1, (1,), (1,)), ["0"], struct.pack("<q", 2) + FLOAT
    ),
    "legacy: a stride beyond the storage": lambda: legacy(
        legacy_tensor(4, (2, 2), (4, 1)), ["0"], struct.pack("<q", 4) + 4 * FLOAT
    ),
    "legacy: a storage that is not listed": lambda: legacy(legacy_tensor(1, (1,), (1,))),
    "legacy: a listed storage that is not used": lambda: legacy(pickled({}), ["0"]),
    "legacy: a storage listed twice": lambda: legacy(
        legacy_tensor(1, (1,), (1,)), ["0", "0"], 2 * (struct.pack("<q", 1) + FLOAT)
    ),
    "legacy: a million keys": lambda: legacy(pickled({}), ["0"] * 200_000),
    "legacy: runs code": lambda: legacy(RUNNING["reduce in protocol 2"]()),
    "pickle: 60,000 copies of a list": lambda: repeated(
        b"(cbuiltins\nset\nh\x00\x85R0", MANY + b"q\x00", 3_000
    ),
    "pickle: thousands of dictionaries of pairs": lambda: repeated(
        b"h\x01h\x00\x85R0", PAIRS + b"q\x00ccollections\nOrderedDict\nq\x010", 20_000
    ),
    "pickle: names of 100 kB": lambda: repeated(
        b"h\x00h\x00\x930", text("x" * 100_000) + b"q\x00", 30_000
    ),
    "pickle: nested rebuilds": lambda: (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00N\x85"
        + b"q\x010h\x00h\x00N(h\x01t\x87" * 3000 + b"\x85R."
    ),
    "pickle: storages in storages": lambda: pickled(
        [Call(torch.storage._load_from_bytes, saved(
            torch.zeros(1).untyped_storage(), _use_new_zipfile_serialization=False
        ))] * 2000, 4
    ),
    "pickle: tens of thousands of objects": lambda: repeated(
        b"cx\ny\n)\x81", b"", 25_000
    ),
    "pickle: an object as a key": lambda: b"\x80\x02}cx\ny\n)\x81Ns.",
    "pickle: a module that contains itself": lambda: torch_file(pickled(self_containing())),
    "a Git LFS pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(100),
    "Keras": lambda: archive({"config.json": b"{}", "model.weights.h5": b"x"}),
    "npz: no arrays": lambda: archive({"w1.npy": b"x", "b1.npy": b"x"}),
    "npz: a header of 8 EB": lambda: archive({"w.npy": npy_header("<f4", (2**61,)) + FLOAT}),
    "npz: a deep header": lambda: archive({"w.npy": npy_header("(" * 9000, ())}),
    "npz: 400 MB of zeros": lambda: npz({f"w{n}": np.zeros((10, 10**6)) for n in range(5)}),
    "npz: runs code": lambda: npz({"w": np.array([Call(os.mkdir, MARKER)], dtype=object)}),
    "npz: whole numbers": lambda: npz({"fc.weight": np.zeros((10, 784), np.int8)}),
    "npz: an array in chunks of text": lambda: npz({"fc.weight": np.array(["x" * 100] * 10)}),
    "arrays: a shape beyond counting": lambda: of_array((2**62,) * 8, b""),
    "arrays: a negative side": lambda: of_array((-1, -4), bytes(16)),
    "arrays: a shape that contains itself": lambda: of_array([MANY], bytes(4)),
    "arrays: of objects that run code": lambda: pickle.dumps(
        np.array([Call(os.mkdir, MARKER)], dtype=object)
    ),
    "arrays: one long text as many arrays": lambda: pickled(many_of_one_text()),
    "arrays: hundreds of arrays in each of many lists": lambda: (
        b"\x80\x02](" + pickled(array((2, 2), 4 * FLOAT), 4)[2:-1] + b"q\x00"
        + b"h\x00" * 900 + b"eq\x010](" + b"}K\x00h\x01s" * 40_000 + b"e."
    ),
    "arrays: cyclic": lambda: b"\x80\x04]\x94(h\x00cnumpy.core.multiarray\n_reconstruct\n)R"
    b"\x94(h\x00h\x00h\x00h\x00h\x00tbh\x01e.",
    "NumPy array": lambda: b"\x93NUMPY" + bytes(100),
    "npy: of an object that runs code": lambda: npy(np.array(Call(os.mkdir, MARKER), dtype=object)),
    "npy: of an object, cut off": lambda: npy(np.array({"w": 1}, dtype=object))[:-9],
    "joblib: of an object that runs code": lambda: by_joblib([np.zeros(3), Call(os.mkdir, MARKER)]),
    "joblib: arrays of objects": lambda: by_joblib([np.array([Call(os.mkdir, MARKER)])]),
    "joblib: cut off": lambda: by_joblib({"w": np.zeros((10, 784), np.float32)})[:-2000],
    "joblib: a shape beyond counting": lambda: of_joblib_array((2**62,) * 8),
    "joblib: a negative side": lambda: of_joblib_array((-4, 1)),
    "joblib: thousands of sides": lambda: of_joblib_array(MANY_SIDES),
    "joblib: no shape": lambda: of_joblib_array(None),
    "zlib": lambda: by_joblib({"w": np.zeros((10, 784))}, compress=3),
    "TensorFlow Lite": lambda: bytes(4) + b"TFL3" + bytes(100),
    "tar": lambda: bytes(257) + b"ustar" + bytes(300),
    "JSON": lambda: json.dumps({"weights": [1, 2, 3]}).encode(),
    "an optimizer": lambda: saved(
        torch.optim.Adam(lenet().parameters()).state_dict()
    ),
    "a pickled object": lambda: pickle.dumps(argparse.Namespace(lr=1)),
}  # fmt: skip


def self_containing() -> Any:
    module = nn.Sequential(nn.Linear(2, 2))
    module.add_module("self", module)
    module._parameters["weight"] = None
    return Call(dict, {"m": module._modules})


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}

SAFETENSORS: dict[str, Callable[[], bytes]] = {
    "a header beyond the end": lambda: struct.pack("<Q", 1000) + b"{}",
    "a header of 1 MB": lambda: safe(b" " * 2**20),
    "a header that is no JSON": lambda: safe(b"{'a': 1}"),
    "a header that is a list": lambda: safe(list(range(50))),
    "a header nested 100,000 deep": lambda: safe(b"[" * 100_000),
    "an entry that is a number": lambda: safe({"a.weight": 7}),
    "a negative side": lambda: safe({"a.weight": {**ENTRY, "shape": [-1]}}, bytes(4)),
    "a side of 400 digits": lambda: safe({"a.weight": {**ENTRY, "shape": [10**400]}}, bytes(4)),
    "a side that is text": lambda: safe({"a.weight": {**ENTRY, "shape": ["1"]}}, bytes(4)),
    "one offset": lambda: safe({"a.weight": {**ENTRY, "data_offsets": [0]}}, bytes(4)),
    "a type that is a list": lambda: safe({"a.weight": {**ENTRY, "dtype": []}}, bytes(4)),
    "no tensors": lambda: safe({}),
    "a perceptron": lambda: safetensors.torch.save(perceptron()),
    "cut in the weights": lambda: safetensors.torch.save(state())[:-100],
    "bytes after the end": lambda: safetensors.torch.save(state()) + bytes(8),
    "offsets beyond the end": lambda: safe_with("conv1.bias", data_offsets=[2**40, 2**40 + 128]),
    "overlapping tensors": lambda: safe_with("conv1.bias", data_offsets=[0, 128]),
    "offsets that run backwards": lambda: safe_with("conv1.bias", data_offsets=[128, 0]),
    "a size that is not the shape's": lambda: safe_with("conv1.bias", data_offsets=[0, 4]),
}  # fmt: skip


def named_file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def sparse(folder: Path) -> Path:
    path = folder / "sparse.pt"
    with path.open("wb") as file:
        file.truncate(5 * 10**9)
    return path


def link(folder: Path, target: bytes | None) -> Path:
    path = folder / "link.pt"
    path.symlink_to(folder / "target.pt" if target is None else named_file(folder, "t.pt", target))
    return path


def directory(folder: Path) -> Path:
    (folder / "folder.pt").mkdir()
    return folder / "folder.pt"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.pt")
    return folder / "pipe.pt"


# Name -> what the file system holds.
PATHS: dict[str, Callable[[Path], Path]] = {
    "a symbolic link": lambda folder: link(folder, good()),
    "a symbolic link to nothing": lambda folder: link(folder, None),
    "a directory": directory,
    "a pipe": pipe,
    "a sparse file of 5 GB": sparse,
    "no such file": lambda folder: folder / "gone.pt",
    "a folder that is a file": lambda folder: named_file(folder, "a", b"x") / "b.pt",
    "a name of 200 characters": lambda folder: named_file(folder, "x" * 200 + ".pt", good()),
    "a name of two lines": lambda folder: named_file(folder, "one\ntwo.pt", good()),
    "a name with a zero byte": lambda folder: folder / "zero\0byte.pt",
    "a name with HTML": lambda folder: named_file(folder, "<img src=x onerror=go()>.pt", b"text"),
}


def in_folder(name: str, make: Callable[[], bytes]) -> Callable[[Path], Path]:
    return lambda folder: named_file(folder, name, make())


# Key -> makes the file in a folder of its own.
CORPUS: dict[str, Callable[[Path], Path]] = {
    **{f"pt: {name}": in_folder("x.pt", make) for name, make in PT.items()},
    **{
        f"safetensors: {name}": in_folder("x.safetensors", make)
        for name, make in SAFETENSORS.items()
    },
    **{f"other: {name}": in_folder("x.bin", make) for name, make in OTHER.items()},
    **{f"path: {name}": make for name, make in PATHS.items()},
}


def remove(path: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        path.unlink()


def assert_one_sentence(said: str) -> None:
    assert said.isprintable(), said
    assert 20 < len(said) < 400
    assert said.endswith(".")
    assert ". " not in said.removesuffix(".")
    assert "Traceback" not in said


# Loads one file after the other, each named by a line of JSON, and answers with a line of JSON.
LOADER = """
    import json, resource, sys, time
    from pathlib import Path
    import torch
    from digitcnn.errors import CheckpointError
    from digitcnn.network import checkpoint

    def peak():  # in MB; macOS counts bytes, Linux kilobytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1e6 if sys.platform == "darwin" else 1e3
        )

    torch.set_num_threads(1)
    for line in sys.stdin:
        # Of this process: other work on the machine does not count.
        before, started, said = peak(), time.process_time(), None
        try:
            checkpoint.load(Path(json.loads(line)))
        except CheckpointError as error:
            said = str(error)
        seconds = time.process_time() - started
        print(json.dumps([said, seconds, peak() - before]), flush=True)
"""


class Loader:
    """One process that loads every file of the corpus, so that its memory can be watched."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder
        self.grown = 0.0

    def load(self, path: Path) -> tuple[str | None, float]:
        """What it said, None when the file was let in, and the seconds of processor time."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the loading process ended with {self.process.wait(10)}"
        said, seconds, grown = json.loads(answer)
        self.grown += grown
        return said, seconds


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    folder = tmp_path_factory.mktemp("loader")
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LOADER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with process:
        loader = Loader(process, folder)
        # The first good file brings in what any loading needs; its memory is not the corpus's.
        assert loader.load(named_file(folder, "good.pt", good()))[0] is None
        loader.grown = 0.0
        yield loader


# Only scores on digits show what is wrong with these; that may take as long as accepting.
SCORED = {"pt: a network with a layer more"}


@pytest.mark.parametrize("name", CORPUS)
def test_every_hostile_or_broken_file_gets_one_sentence_quickly_in_little_memory_and_runs_nothing(
    name: str, loader: Loader, tmp_path: Path
) -> None:
    path = CORPUS[name](tmp_path)
    before = {entry.name for entry in tmp_path.iterdir()}
    said, seconds = loader.load(path)
    assert said is not None, "the file was let in"
    assert_one_sentence(said)
    assert seconds < (5 if name in SCORED else 2)
    assert loader.grown < 200, "MB, by the files so far together"
    assert {entry.name for entry in tmp_path.iterdir()} == before
    assert not (loader.folder / MARKER).exists()
    remove(path)  # else pytest keeps half a gigabyte of them


def test_the_files_that_the_corpus_starts_from_are_good() -> None:
    assert checkpoint.load(good(), "good.pt").details == DETAILS
    bare = checkpoint.load(safetensors.torch.save(state()), "good.safetensors")
    assert bare.details.digits is None


# --- the reader itself --------------------------------------------------------------------------


def same(read: Any, loaded: Any) -> bool:
    """Whether what the reader read is what PyTorch reads, tensors bit for bit."""
    if isinstance(read, TensorSpec):
        tensor = read_tensors({"x": read})["x"]
        return tensor.dtype == loaded.dtype and torch.equal(tensor, loaded)
    if isinstance(read, dict):
        return list(read) == list(loaded) and all(same(v, loaded[k]) for k, v in read.items())
    if isinstance(read, (list, tuple)):
        return (
            type(read) is type(loaded)
            and len(read) == len(loaded)
            and all(same(a, b) for a, b in zip(read, loaded, strict=True))
        )
    return type(read) is type(loaded) and read == loaded


VALUES = {
    "numbers": {"a": [1, -1, 2**31, -(2**40), 300, 70_000], "b": (), "c": (1,), "d": (1, 2, 3, 4)},
    "texts": {"texts": ["", "ä", "日本", "x" * 300], "none": None, "flags": [True, False], 7: 1.5},
    "shared": {"shared": [[1]] * 3, "many": {str(n): n for n in range(500)}},
    "state dict": OrderedDict(perceptron()),
    "training state": {"model": lenet().state_dict(), "opt": {"lr": 0.1}},
    "tensors": {
        "p": nn.Parameter(torch.randn(3)),
        "transposed": torch.randn(4, 5).T,
        "part": torch.randn(9)[2:5],
        "strided": torch.randn(6, 6)[::2, 1::3],
        "long": torch.tensor(3),
        "half": torch.randn(3).half(),
        "bfloat16": torch.randn(3).bfloat16(),
        "double": torch.randn(2, 2).double(),
        "empty": torch.zeros(0, 3),
    },
}


@pytest.mark.parametrize("form", ["zip", "legacy", "protocol 4", "legacy in protocol 4"])
@pytest.mark.parametrize("name", VALUES)
def test_the_reader_agrees_with_pytorch(name: str, form: str) -> None:
    options: dict[str, Any] = {"_use_new_zipfile_serialization": not form.startswith("legacy")}
    if form.endswith("4"):
        options["pickle_protocol"] = 4
    data = saved(VALUES[name], **options)
    content = reader.read_content(data)
    assert same(content, torch.load(io.BytesIO(data), weights_only=False))


def test_a_state_dict_in_a_plain_pickle_is_read() -> None:
    weights = perceptron()
    content = reader.read_content(pickle.dumps(weights))
    (found,) = reader.find_state_dicts(content)
    tensors = read_tensors(found.tensors)
    assert list(tensors) == list(weights)
    assert all(torch.equal(tensors[name], weight) for name, weight in weights.items())


class Stranger(nn.Module):
    """A network whose class the reader cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.scale = 2


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_module_is_read_by_its_tensors_and_attributes(zipped: bool) -> None:
    network = Stranger()
    data = saved({"net": network, "epoch": 3}, _use_new_zipfile_serialization=zipped)
    # Were the class resolved, this would fail.
    data = data.replace(b"Stranger", b"Stronger")
    with contextlib.suppress(zipfile.BadZipFile):
        data = repacked(data)
    content = reader.read_content(data)
    (found,) = reader.find_state_dicts(content)
    assert found.path == "net"
    tensors = read_tensors(found.tensors)
    assert all(torch.equal(tensors[name], weight) for name, weight in network.state_dict().items())
    modules = {module.name: module for module in found.modules}
    assert list(modules) == ["", "conv", "head", "head.0", "head.1"]
    assert modules["conv"].attributes["stride"] == (2, 2)
    assert modules["conv"].attributes["padding"] == (1, 1)
    assert (modules[""].kind, modules[""].is_torch) == ("Stronger", False)
    assert modules[""].attributes["scale"] == 2


def repacked(data: bytes) -> bytes:
    """The same archive with checksums that are right."""
    damaged = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        records = {}
        for info in file.infolist():
            start = info.header_offset
            name, extra = struct.unpack("<HH", damaged[start + 26 : start + 30])
            begin = start + 30 + name + extra
            records[info.filename] = bytes(damaged[begin : begin + info.file_size])
    return archive(records)


# Name -> a file's content and the path of its largest set of weights.
PLACES: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "outermost": (lambda weights: weights, ""),
    "state_dict": (lambda weights: {"epoch": 1, "state_dict": weights}, "state_dict"),
    "nested": (lambda weights: {"a": [{"net": weights}]}, "a.net"),
    "beside an optimizer": (
        lambda weights: {"optim": {"state": weights, "param_groups": []}, "model": weights},
        "model",
    ),
    "in an unknown object": (
        lambda weights: {"args": argparse.Namespace(lr=1, net=weights)},
        "args.net",
    ),
    "cyclic": (lambda weights: cyclic(weights), "weights"),
}


def cyclic(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    content: dict[str, Any] = {"weights": weights}
    content["self"] = [content]
    return content


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_wherever_they_are(place: str) -> None:
    make, path = PLACES[place]
    content = reader.read_content(saved(make(perceptron())))
    found = reader.find_state_dicts(content)
    assert [state.path for state in found] == [path]
    assert list(found[0].tensors) == list(perceptron())


@pytest.mark.parametrize("kind", ["pairs", "parameters", "without biases"])
def test_lists_of_weights_are_read_by_name_or_order(kind: str) -> None:
    tensors = perceptron()
    lists: dict[str, list[Any]] = {
        "pairs": list(tensors.items()),
        "parameters": list(tensors.values()),
        "without biases": [t for t in tensors.values() if t.dim() > 1],
    }
    (found,) = reader.find_state_dicts(reader.read_content(saved(lists[kind])))
    assert [spec.shape for spec in found.tensors.values()] == [
        tuple(t.shape) for t in (dict(lists[kind]).values() if kind == "pairs" else lists[kind])
    ]
    names = list(tensors) if kind == "pairs" else ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(found.tensors) == (names[::2] if kind == "without biases" else names)


def test_a_list_of_a_state_dicts_values_keeps_batch_norms_and_leaves_counters_out() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(676, 10))
    tensors = network.state_dict()
    (found,) = reader.find_state_dicts(reader.read_content(saved(list(tensors.values()))))
    assert list(found.tensors) == [
        "0.weight", "0.norm.weight", "0.norm.bias", "0.norm.running_mean", "0.norm.running_var",
        "1.weight", "1.bias",
    ]  # fmt: skip


def test_lists_in_an_archive_are_read_as_lists() -> None:
    weights = [np.zeros((30, 784)), np.zeros((10, 30))]
    biases = [np.zeros((30, 1)), np.zeros((10, 1))]
    lists = {"weights": np.array(weights, object), "biases": np.array(biases, object)}
    (found,) = reader.find_state_dicts(reader.read_content(npz(lists)))
    assert list(found.tensors) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    broken = npz({"weights": np.array([{}, "x"], object)})
    with pytest.raises(reader.InvalidCheckpoint, match="no named weights"):
        reader.find_state_dicts(reader.read_content(broken))


def test_names_of_keras_are_read_as_paths() -> None:
    names = ("conv2d/kernel:0", "conv2d/bias:0", "dense/kernel:0", "dense/bias:0")
    stored = {f"sequential/{name}": torch.zeros(1) for name in names}
    (found,) = reader.find_state_dicts(reader.read_content(saved(stored)))
    assert list(found.tensors) == ["conv2d.kernel", "conv2d.bias", "dense.kernel", "dense.bias"]


def test_a_layer_and_its_average_are_two_sets() -> None:
    layer = {"weight": torch.zeros(10, 784), "bias": torch.zeros(10)}
    content = reader.read_content(saved({"model": layer, "ema": dict(layer)}))
    assert [state.path for state in reader.find_state_dicts(content)] == ["model", "ema"]


ESTIMATORS = {
    "RandomForestClassifier": "which is not a neural network",
    "KNeighborsClassifier": "which is not a neural network",
    "Pipeline": "which changes the images before",
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_other_estimators_of_scikit_learn_are_refused_by_name(name: str) -> None:
    from sklearn import ensemble, linear_model, neighbors, pipeline, preprocessing

    estimators = {
        "RandomForestClassifier": ensemble.RandomForestClassifier(2),
        "KNeighborsClassifier": neighbors.KNeighborsClassifier(),
        "Pipeline": pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression()
        ),
    }
    images = np.random.default_rng(0).random((40, 784), np.float32)
    estimator = estimators[name].fit(images, np.arange(40) % 10)
    for data in (pickle.dumps({"model": estimator}), by_joblib(estimator)):
        with pytest.raises(reader.InvalidCheckpoint, match=f"{name}, {ESTIMATORS[name]}"):
            reader.find_state_dicts(reader.read_content(data))


def compressed(*names: str) -> bytes:
    """A compressed archive of empty files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, bytes(100))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (pickle.dumps({"a": 1}, 0), "is a pickle in text"),
        (pickle.dumps([1.5], 0), "is a pickle in text"),
        (pickle.dumps(argparse.Namespace(lr=1), 0), "is a pickle in text"),
        (b"\x80\x02cskorch.classifier\nNeuralNetClassifier\n)\x81}b.", "save_params"),
        (zlib.compress(bytes(100)), "is compressed"),
        (b'{"sizes": [784, 30, 10], "weights": [[' + b"0.25, " * 30_000, "is a JSON file"),
        (bytes(4) + b"ORTM" + bytes(100), "ONNX Runtime's own format"),
        (compressed("x/data.pkl", "x/code/__torch__.py", "x/constants.pkl"), "torch.jit.load"),
        (compressed("x/archive_format", "x/models/model.json"), "torch.export.load"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "is a MATLAB file"),
        (b"\x08\x01serving_default" + bytes(200), "is TensorFlow's"),
        (b"\x81\xa6params\x82\xa7Dense_0\x82" + bytes(200), "in msgpack, .* numpy.savez"),
        (b"\x12\x01" + bytes(200), "convert it to one of these"),
        (compressed("config.json", "model.weights.h5"), "model.export"),
    ],
)
def test_a_file_that_cannot_be_read_says_how_to_save_it(data: bytes, sentence: str) -> None:
    with pytest.raises(reader.InvalidCheckpoint, match=sentence):
        reader.find_state_dicts(reader.read_content(data))


def test_a_list_of_other_tensors_is_no_set_of_weights() -> None:
    images_and_labels = (torch.zeros(20, 28, 28), torch.zeros(20, dtype=torch.int64))
    many = [torch.zeros(10, 784), *[torch.zeros(10)] * 6]
    for content in (images_and_labels, many):
        with pytest.raises(reader.InvalidCheckpoint, match="no named weights"):
            reader.find_state_dicts(reader.read_content(saved(content)))


Arrays = dict[str, np.ndarray[Any, Any]]
OF_ARRAYS: dict[str, Callable[[Arrays], bytes]] = {
    "torch.save": saved,
    **{f"protocol {n}": functools.partial(pickle.dumps, protocol=n) for n in (2, 3, 4, 5)},
    "columns first": lambda arrays: pickle.dumps({n: a.copy("F") for n, a in arrays.items()}),
    "npz": npz,
    "npz without names": lambda arrays: npz({f"arr_{n}": a for n, a in enumerate(arrays.values())}),
    "a list": lambda arrays: pickle.dumps(list(arrays.values())),
    "a list of weights": lambda arrays: pickle.dumps({"weights": by_part(arrays)[0], "sizes": [1]}),
    "lists of weights and of biases": lambda arrays: pickle.dumps(
        argparse.Namespace(
            sizes=[784, 128, 10],
            weights=by_part(arrays)[0],
            biases=[b[:, None] for b in by_part(arrays)[1]],
        )
    ),
    "a list of biases first": lambda arrays: pickle.dumps(
        {
            "biases": [b[:, None] for b in by_part(arrays)[1]],
            "weights": by_part(arrays)[0],
        }
    ),
    "lists beside another array": lambda arrays: pickle.dumps(
        argparse.Namespace(
            classes_=np.arange(10),
            coefs_=by_part(arrays)[0],
            intercepts_=by_part(arrays)[1],
        )
    ),
    "pairs": lambda arrays: pickle.dumps([*zip(*by_part(arrays), strict=True), ()]),
    "a dictionary for each layer": lambda arrays: pickle.dumps(
        {"params": {f"Dense_{n}": {"kernel": w, "bias": b} for n, w, b in by_layer(arrays)}}
    ),
    "layers of a class of its own": lambda arrays: pickle.dumps(
        [
            argparse.Namespace(W=w, b=b[None], dW=w, x=np.zeros((64, 784), np.float32))
            for _, w, b in by_layer(arrays)
        ]
    ),
    "an array of arrays": lambda arrays: pickle.dumps(
        np.array([*arrays.values(), None], dtype=object)[:-1]
    ),
    "npy of a dictionary": lambda arrays: npy(np.array(arrays, dtype=object)),
    "joblib": lambda arrays: by_joblib(arrays),
    "joblib, columns first": lambda arrays: by_joblib({n: a.copy("F") for n, a in arrays.items()}),
}


def by_part(arrays: Arrays) -> tuple[list[Any], list[Any]]:
    """Weights, and biases."""
    return [a for a in arrays.values() if a.ndim > 1], [a for a in arrays.values() if a.ndim == 1]


def by_layer(arrays: Arrays) -> Iterator[tuple[int, Any, Any]]:
    for number, (weight, bias) in enumerate(zip(*by_part(arrays), strict=True)):
        yield number, weight, bias


def npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def by_joblib(content: Any, compress: int = 0) -> bytes:
    import joblib

    buffer = io.BytesIO()
    joblib.dump(content, buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("form", OF_ARRAYS)
def test_numpy_arrays_are_read_as_tensors(form: str) -> None:
    weights = perceptron()
    content = reader.read_content(OF_ARRAYS[form]({n: w.numpy() for n, w in weights.items()}))
    largest = reader.find_state_dicts(content)[0]
    read = read_tensors(largest.tensors).values()
    saved_weights = [w for w in weights.values() if form != "a list of weights" or w.ndim > 1]
    for tensor, weight in zip(read, saved_weights, strict=True):
        assert torch.equal(tensor.squeeze(), weight)


DAMAGED: dict[str, Any] = {
    "fewer bytes": bytes(4),
    "text of more bytes": Call(codecs.encode, "x" * 45_000, "latin1"),
    "text that is not of bytes": Call(codecs.encode, "\u20ac" * 15_000, "latin1"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_an_array_with_other_bytes_than_its_shape_needs_is_damaged(kind: str) -> None:
    with pytest.raises(CheckpointError, match="is damaged in the numbers"):
        checkpoint.load(of_array((10, 784), DAMAGED[kind]), "x.pkl")


def test_big_endian_arrays_are_read_from_npz_and_refused_in_pickles() -> None:
    weights = perceptron()
    arrays = {name: weight.numpy().astype(">f8") for name, weight in weights.items()}
    content = reader.read_content(npz(arrays))
    (found,) = reader.find_state_dicts(content)
    read = read_tensors(found.tensors, torch.float32)
    assert all(torch.equal(read[name], weight) for name, weight in weights.items())
    with pytest.raises(reader.InvalidCheckpoint, match="big-endian"):
        reader.find_state_dicts(reader.read_content(pickle.dumps(arrays)))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.net.model."])
def test_prefixes_of_all_names_are_removed(prefix: str) -> None:
    content = reader.read_content(saved({prefix + n: t for n, t in perceptron().items()}))
    (found,) = reader.find_state_dicts(content)
    assert list(found.tensors) == list(perceptron())


@pytest.mark.parametrize(
    "name", ["x.pt", "x.pth", "x.ckpt", "x.bin", "x.tar", "x", "x.safetensors"]
)
def test_a_file_is_recognised_by_its_content(name: str) -> None:
    for data in (good(), saved(state(), _use_new_zipfile_serialization=False)):
        assert checkpoint.load(data, name).network.input_std == pytest.approx(0.3081)


ACCEPTED: dict[str, Callable[[], bytes]] = {
    "a part of a larger tensor": lambda: weights(output__bias=torch.zeros(20)[:10]),
    "a transposed tensor": lambda: weights(output__weight=torch.zeros(320, 10).T),
    "half precision": lambda: safetensors.torch.save({k: half(v) for k, v in state().items()}),
    "beside 50 MB of others": lambda: saved(
        {"model": state(), "buffer": torch.zeros(12_500_000)}
    ),
    "beside two larger networks": lambda: saved(
        {
            "generator": nn.Linear(100, 30_000).state_dict(),
            "discriminator": nn.Linear(2_000_000, 1).state_dict(),
            "classifier": state(),
        }
    ),
    "beside an average of itself": lambda: saved({"model": state(), "ema": state()}),
    "an attribute of a dictionary": lambda: saved(with_attribute()),
}  # fmt: skip


def half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def with_attribute() -> OrderedDict[str, torch.Tensor]:
    """A state dict whose ``keys`` is no method where Python's pickle reads it."""
    values = OrderedDict(state())
    values.keys = "shadow"  # type: ignore[method-assign, assignment]
    return values


@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_files_of_our_network_are_read(name: str) -> None:
    network = checkpoint.load(ACCEPTED[name](), "x.pt").network
    assert torch.allclose(network.conv1.weight, state()["conv1.weight"], atol=1e-3)


def test_the_verdict_names_which_of_several_sets_of_weights_it_is() -> None:
    loaded = checkpoint.load(ACCEPTED["beside an average of itself"](), "x.pt")
    assert loaded.verdict.endswith("(its weights model)")


def test_reading_imports_nothing_that_a_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_by_the_file.py").write_text("raise SystemExit('it was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for data in (
        b"\x80\x02cimported_by_the_file\nThing\n)\x81.",
        b"\x80\x02cimported_by_the_file\nthing\n)R.",
    ):
        for content in (torch_file(data), data):
            with contextlib.suppress(reader.InvalidCheckpoint):
                reader.find_state_dicts(reader.read_content(content))


def assert_damage_is_refused(data: bytes, seed: int, packed: Callable[[bytes], bytes]) -> None:
    """Change one to three bytes at random, 800 times. packed: makes a file of the changed bytes."""
    chance = random.Random(seed)
    for _ in range(800):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with pytest.raises(CheckpointError) as refusal:
            checkpoint.load(packed(bytes(damaged)), "x.pt")
        assert_one_sentence(str(refusal.value))


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_anywhere_in_a_file_never_ends_in_another_error(zipped: bool) -> None:
    data = saved({"a.weight": torch.zeros(3, 2)}, _use_new_zipfile_serialization=zipped)
    assert_damage_is_refused(data, 1, bytes)


def test_damage_anywhere_in_the_description_never_ends_in_another_error() -> None:
    small = {"format": FORMAT, "format_version": 1, "weights": {"a": torch.zeros(2)}}
    with zipfile.ZipFile(io.BytesIO(saved({**small, **perceptron()}))) as file:
        folder = file.namelist()[0].split("/")[0]
        records = {name: file.read(name) for name in file.namelist()}
    description = f"{folder}/data.pkl"
    assert_damage_is_refused(
        records[description], 0, lambda damaged: archive({**records, description: damaged})
    )


def test_the_longest_training_still_fits_the_description() -> None:
    rows = [
        {
            **{name: random.Random(epoch).random() for name in ("loss", "accuracy", "seconds")},
            **{f"measure {n}": random.Random(n).random() for n in range(5)},
            "epoch": epoch,
        }
        for epoch in range(200)
    ]
    long = dataclasses.replace(DETAILS, history=rows)
    data = saved(own(details=long.to_plain()))
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.getinfo("archive/data.pkl").file_size < MAX_DESCRIPTION / 4
    assert checkpoint.load(data, "long.pt").details == long
