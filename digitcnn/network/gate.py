"""What a weight file claims to hold, found out without building anything that it asks for.

A ``.pt`` file is a zip archive around a pickle, and a pickle is a program. The gate reads that
program itself: numbers, texts, lists, dictionaries, and tensors as claims (dtype, shape, place in
a record). Everything else (another function, another instruction, another class) is refused
before PyTorch sees the file. Only claims that were looked at and agreed to are then loaded, by
``torch.load(weights_only=True)``, from an archive packed here from the checked records: PyTorch's
zip reader, which trusts the sizes in a file, never reads a stranger's.

What the claims should say is left to ``checkpoint`` and ``bare_weights``.

The file formats: ``torch/serialization.py`` and ``torch/_weights_only_unpickler.py`` of PyTorch;
PKWARE's APPNOTE 6.3; https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from digitcnn.network.claims import ITEM_SIZES, MAX_SIDES, Claim, PickleReader, Refused, shown

# A checkpoint has 4.9 MB, with an optimiser's state 13. Of larger files only the description is
# read, to say what they are.
MAX_BYTES = 64_000_000
MAX_LOADED = 16_000_000
# The pickle of a checkpoint after 200 epochs has 25 KB, the header of bare weights 2 KB.
MAX_DESCRIPTION = 256_000
MAX_RECORDS = 1000


class WeightFile(Protocol):
    """A file whose description was read; its tensors are not."""

    @property
    def content(self) -> Any:
        """The outermost value, with claims for tensors."""

    def load(self) -> Any:
        """The same value with tensors. Only to be called when every claim was agreed to."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES. Raises Refused for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        # Asked first, for opening a device can already do something.
        _check_kind(path.lstat())
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            # Asked again of what was opened, which may have taken the name since.
            _check_kind(os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise Refused("does not exist; check the name") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Refused(f"cannot be read ({reason}); check the file and its permissions") from error
    except ValueError as error:
        raise Refused("is no possible file name; rename the file") from error
    check_size(len(data))
    return data


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Refused("is a symbolic link; give the file itself")
    if stat.S_ISDIR(status.st_mode):
        raise Refused("is a folder; give a file of weights")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("is a pipe, socket or device; give a file of weights")
    check_size(status.st_size)


def check_size(size: int) -> None:
    """Raises Refused for an empty file and for more than MAX_BYTES."""
    if size == 0:
        raise Refused("is empty; copy or download it again")
    if size > MAX_BYTES:
        raise Refused(
            f"has {size / 1e6:,.0f} MB where a checkpoint of digitcnn has about 5 and at most "
            f"{MAX_BYTES / 1e6:.0f} are read; choose another file"
        )


def open_weights(data: bytes, suffix: str) -> WeightFile:
    """What the file's description says. ``suffix``: ``.pt`` or ``.safetensors``.

    Raises Refused for every other suffix and every file that is not what its suffix says.
    """
    check_size(len(data))
    if suffix == ".pt":
        return TorchFile(data)
    if suffix == ".safetensors":
        return SafetensorsFile(data)
    raise Refused("is not named .pt or .safetensors, the two kinds that are read; choose another")


# --- .pt ----------------------------------------------------------------------------------------


class TorchFile:
    """A ``.pt`` file: records without compression in a zip archive, one of them the pickle."""

    def __init__(self, data: bytes) -> None:
        self._archive = _open_archive(data)
        self._records = _checked_records(self._archive, len(data))
        if any(name.startswith("code/") or name == "constants.pkl" for name in self._records):
            raise Refused(
                "is a TorchScript program, not weights; save the network's state_dict instead"
            )
        if "data.pkl" not in self._records:
            raise Refused("is a zip archive but none of PyTorch's; choose a checkpoint")
        if self._records["data.pkl"].file_size > MAX_DESCRIPTION:
            raise Refused(
                "describes far more than one small network holds (its data.pkl is "
                f"{self._records['data.pkl'].file_size / 1e3:,.0f} kB); save the network's "
                "state_dict alone"
            )
        if "byteorder" in self._records:
            _check_byte_order(self._read("byteorder"))
        self._pickle = self._read("data.pkl")
        sizes = {
            name.removeprefix("data/"): record.file_size
            for name, record in self._records.items()
            if name.startswith("data/")
        }
        reader = PickleReader(self._pickle, sizes)
        self.content: Any = reader.read()
        self._storages = {key: sizes[key] for key in reader.storages}

    def _read(self, name: str) -> bytes:
        try:
            return self._archive.read(self._records[name])
        except _ZIP_ERRORS as error:
            raise Refused(f"is damaged in its record {name}; copy or download it again") from error

    def load(self) -> Any:
        if sum(self._storages.values()) > MAX_LOADED:
            raise Refused(
                f"holds {sum(self._storages.values()) / 1e6:,.0f} MB of numbers where the network "
                "has 4; save its state_dict alone"
            )
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", self._pickle)
            archive.writestr("archive/version", b"3\n")
            archive.writestr("archive/byteorder", b"little")
            for key in self._storages:
                archive.writestr(f"archive/data/{key}", self._read(f"data/{key}"))
        packed.seek(0)
        try:
            return torch.load(packed, map_location="cpu", weights_only=True)
        except Exception as error:
            # Whatever PyTorch's own reader still dislikes is this file's fault, not the page's.
            raise Refused(
                f"is refused by this PyTorch ({type(error).__name__}); save it again with today's "
                "version"
            ) from error


# What zipfile raises on damaged archives, by its source and by trial.
_ZIP_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, struct.error, EOFError,
    OSError, OverflowError, IndexError,
)  # fmt: skip


def _open_archive(data: bytes) -> zipfile.ZipFile:
    if not data.startswith(b"PK\x03\x04"):
        raise Refused(f"{_kind_of(data)}; choose a checkpoint that digitcnn saved")
    # One ZipInfo takes half a kilobyte: a directory of a million entries is not even read.
    if data.count(b"PK\x01\x02") > 2 * MAX_RECORDS:
        raise Refused(f"is an archive of more than {MAX_RECORDS} records; choose a checkpoint")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as error:
        raise Refused("is cut short or damaged; copy or download it again") from error


def _kind_of(data: bytes) -> str:
    """What a file named .pt that is no archive most likely is."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, so its download went wrong"
    if data[:1] == b"\x80" or start.startswith((b"c__builtin__\n", b"cos\n", b"cposix\n")):
        return "is a bare pickle, as PyTorch before 1.6 wrote, which could run code when opened"
    if start.startswith(b"\x1f\x8b"):
        return "is gzipped, which PyTorch's files are not"
    if not re.search(rb"[\x00-\x08\x0e-\x1f\x80-\xff]", data[:512]):
        return "is a text file"
    return "is no file of PyTorch's"


def _checked_records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The records by their names without the archive's folder. Raises Refused."""
    infos = archive.infolist()
    if len(infos) > MAX_RECORDS:
        raise Refused(f"is an archive of more than {MAX_RECORDS} records; choose a checkpoint")
    folder = next((i.filename[:-8] for i in infos if i.filename.endswith("/data.pkl")), "")
    records: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Refused(
                "has compressed records, which PyTorch never writes; save it with torch.save"
            )
        if info.flag_bits & 0x1:
            raise Refused("is encrypted; save it without a password")
        if len(name) > 200 or not name.isprintable() or not name.startswith(folder):
            raise Refused("has records with names that PyTorch never writes; save it again")
        name = name[len(folder) :]
        if name in records:
            raise Refused(f"has two records of the name {shown(name)}; save it again")
        records[name] = info
    if sum(info.file_size for info in infos) > size:
        raise Refused("claims records that are larger than the file; copy or download it again")
    return records


def _check_byte_order(order: bytes) -> None:
    if order.strip() != b"little":
        raise Refused("was not saved on a little-endian machine; save it again on one")


# --- .safetensors -------------------------------------------------------------------------------

_SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


class SafetensorsFile:
    """A ``.safetensors`` file: the length of a JSON header, the header, the bytes of tensors."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.content: dict[str, Claim] = dict(self._claims())

    def _claims(self) -> Iterator[tuple[str, Claim]]:
        size = int.from_bytes(self._data[:8], "little")
        if len(self._data) < 8 or size > len(self._data) - 8:
            raise Refused("is cut short or no safetensors file; copy or download it again")
        if size > MAX_DESCRIPTION:
            raise Refused("describes far more than one small network holds; choose another file")
        try:
            header = json.loads(self._data[8 : 8 + size])
            if not isinstance(header, dict):
                raise ValueError
            for name, entry in header.items():
                if name != "__metadata__":
                    yield name, self._claim(entry)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refused("has a damaged header; copy or download it again") from error

    @staticmethod
    def _claim(entry: dict[str, Any]) -> Claim:
        shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
        numbers = (*shape, start, end)
        if len(shape) > MAX_SIDES or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
            raise ValueError
        dtype = _SAFETENSORS_DTYPES.get(entry["dtype"], shown(str(entry["dtype"])))
        size = math.prod(shape) * ITEM_SIZES.get(dtype, 0)
        problem = "" if end - start == size else "claims more or fewer bytes than its place has"
        return Claim(dtype, shape, problem)

    def load(self) -> dict[str, Tensor]:
        try:
            return safetensors.torch.load(self._data)
        except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
            raise Refused(
                "contradicts itself about where its tensors lie; save it again"
            ) from error


# --- shared -------------------------------------------------------------------------------------


def check_tensor(name: str, tensor: Any, claim: Claim) -> Tensor:
    """``tensor`` if it is what its claim said: plain, strided, contiguous, in memory of its own.

    Raises Refused. Costs nothing: no element is looked at.
    """
    plain = (
        isinstance(tensor, Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and str(tensor.dtype) == f"torch.{claim.dtype}"
        and tuple(tensor.shape) == claim.shape
        and tensor.is_contiguous()
        and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    )
    if not plain:
        raise Refused(f"contradicts itself about its tensor {shown(name)}; save it again")
    checked: Tensor = tensor.detach()
    return checked
