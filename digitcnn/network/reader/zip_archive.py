"""PyTorch's format since 1.6: uncompressed records in a zip archive, one of them a pickle.

Python's ``zipfile`` reads the archive. Two things that it trusts are checked first: the number of
records, and that together they are no larger than the file.
Format: ``torch/serialization.py``; PKWARE's APPNOTE 6.3.
"""

from __future__ import annotations

import functools
import io
import re
import zipfile
from typing import Any

from digitcnn.digits.own_arrays import READ_ERRORS
from digitcnn.network.reader.numpy_arrays import is_npz, read_npz
from digitcnn.network.reader.pickle_reader import PickleReader, storage_dtype
from digitcnn.network.reader.tensors import (
    BIG_ENDIAN,
    ITEM_SIZES,
    InvalidCheckpoint,
    Storage,
    shown,
)

MAX_RECORDS = 1000
_TOO_MANY = f"is an archive of more than {MAX_RECORDS} records; choose a checkpoint"
KERAS_ADVICE = 'in Keras, export the model with model.export("digits.onnx", format="onnx")'

# Errors that zipfile raises on damaged archives, from its source and from trials.
_ZIP_ERRORS = (*READ_ERRORS, OSError, IndexError)


def read_zip(data: bytes) -> Any:
    """Return the content of a file in PyTorch's zip format, or of an archive of NumPy arrays.

    Raises InvalidCheckpoint for another archive.
    """
    archive = _open_archive(data)
    records = _checked_records(archive, len(data))
    if is_npz(records):
        return read_npz(archive, records)
    _refuse_other_archives(records)
    if "byteorder" in records and _read(archive, records, "byteorder").strip() != b"little":
        raise InvalidCheckpoint(BIG_ENDIAN)
    resolve = functools.partial(_resolve, archive, records, {})
    return PickleReader(_read(archive, records, "data.pkl"), resolve).read()


def _resolve(
    archive: zipfile.ZipFile,
    records: dict[str, zipfile.ZipInfo],
    storages: dict[str, Storage],
    pid: tuple[Any, ...],
) -> Storage:
    """Return the storage with this persistent id. storages: those read so far, by key."""
    _, storage_type, key, _, items = pid
    dtype = storage_dtype(storage_type)
    if type(key) is not str or not re.fullmatch(r"[0-9]{1,24}", key) or type(items) is not int:
        raise ValueError
    record = records.get(f"data/{key}")
    size = record.file_size if record else 0
    if size != items * ITEM_SIZES[dtype]:
        raise InvalidCheckpoint(
            f"declares {shown(str(items), 24)} numbers of {dtype} in its record {key}, which "
            f"has {size} bytes; copy or download it again"
        )
    if key not in storages:
        # Read once: each reading checks all of the record, which many tensors may share.
        read = functools.cache(functools.partial(_read, archive, records, f"data/{key}"))
        storages[key] = Storage(dtype, items, read)
    if storages[key].dtype != dtype:
        raise ValueError
    return storages[key]


def _read(archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo], name: str) -> bytes:
    try:
        return archive.read(records[name])
    except _ZIP_ERRORS as error:
        raise InvalidCheckpoint(
            f"is damaged (record {shown(name)}); copy or download it again"
        ) from error


def _open_archive(data: bytes) -> zipfile.ZipFile:
    # One ZipInfo takes half a kilobyte: a directory of a million entries is not even read.
    if data.count(b"PK\x01\x02") > 2 * MAX_RECORDS:
        raise InvalidCheckpoint(_TOO_MANY)
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as error:
        raise InvalidCheckpoint("is truncated or damaged; copy or download it again") from error


def _checked_records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the records by name, without the archive's folder. Raises InvalidCheckpoint."""
    infos = archive.infolist()
    if len(infos) > MAX_RECORDS:
        raise InvalidCheckpoint(_TOO_MANY)
    folder = next((i.filename[:-8] for i in infos if i.filename.endswith("/data.pkl")), "")
    names = {info.filename for info in infos}
    # TorchScript compresses its code.
    is_pytorch = f"{folder}data.pkl" in names and f"{folder}constants.pkl" not in names
    records: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename
        if len(name) > 200 or not name.isprintable() or not name.startswith(folder):
            raise InvalidCheckpoint(
                "has records with names that PyTorch never writes; save it again"
            )
        name = name[len(folder) :]
        if name in records:
            raise InvalidCheckpoint(f"has two records named {shown(name)}; save it again")
        records[name] = info
        if not is_pytorch:
            continue
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise InvalidCheckpoint(
                "has compressed records, which PyTorch never writes; save it with torch.save"
            )
        if info.flag_bits & 0x1:
            raise InvalidCheckpoint("is encrypted; save it without a password")
    if is_pytorch and sum(info.file_size for info in infos) > size:
        raise InvalidCheckpoint(
            "declares records that are larger than the file; copy or download it again"
        )
    return records


def _refuse_other_archives(records: dict[str, zipfile.ZipInfo]) -> None:
    if "constants.pkl" in records or any(re.search(r"(^|/)code/.+\.py$", n) for n in records):
        raise InvalidCheckpoint(
            "is a TorchScript program, not weights; in PyTorch, save "
            "torch.jit.load(file).state_dict() with torch.save and choose that file"
        )
    if "data.pkl" in records:
        return
    if any(name.endswith("model.weights.h5") for name in records):
        raise InvalidCheckpoint(f"is a Keras model; {KERAS_ADVICE}")
    if any(name.endswith("models/model.json") for name in records):
        raise InvalidCheckpoint(
            "is a program that torch.export saved, not weights; in PyTorch, save "
            "torch.export.load(file).state_dict with torch.save and choose that file"
        )
    if any(name.endswith(("saved_model.pb", ".pt", ".pth", ".safetensors")) for name in records):
        raise InvalidCheckpoint("is a zip archive of files; unpack it and choose the weight file")
    raise InvalidCheckpoint("is a zip archive, but not a PyTorch checkpoint; choose a weight file")
