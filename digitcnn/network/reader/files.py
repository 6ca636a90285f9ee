"""Read a weight file's bytes and detect their format, by content and not by name."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from digitcnn.network.reader.legacy import MAGIC, LegacyFile, read_pickle
from digitcnn.network.reader.numpy_arrays import object_pickle
from digitcnn.network.reader.safetensors_file import read_safetensors
from digitcnn.network.reader.tensors import InvalidCheckpoint
from digitcnn.network.reader.zip_archive import KERAS_ADVICE, read_zip

MAX_BYTES = 64_000_000


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file of at most MAX_BYTES. Raises InvalidCheckpoint."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        # Checked first: merely opening a device can have effects.
        _check_kind(path.lstat())
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            # Checked again: another file may have taken the name since.
            _check_kind(os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InvalidCheckpoint("does not exist; check the name") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidCheckpoint(
            f"cannot be read ({reason}); check the file and its permissions"
        ) from error
    except ValueError as error:
        raise InvalidCheckpoint("is not a valid file name; rename the file") from error
    check_size(len(data))
    return data


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise InvalidCheckpoint("is a symbolic link; choose the file itself")
    if stat.S_ISDIR(status.st_mode):
        raise InvalidCheckpoint("is a folder; choose a weight file")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidCheckpoint("is a pipe, socket or device; choose a weight file")
    check_size(status.st_size)


def check_size(size: int) -> None:
    """Raise InvalidCheckpoint for an empty file and for more than MAX_BYTES."""
    if size == 0:
        raise InvalidCheckpoint("is empty; copy or download it again")
    if size > MAX_BYTES:
        raise InvalidCheckpoint(
            f"has {size / 1e6:,.0f} MB, but checkpoints have about 5 and the limit is "
            f"{MAX_BYTES / 1e6:.0f}; choose another file"
        )


def read_content(data: bytes) -> Any:
    """Return the outermost value in a weight file's bytes, with a ``TensorSpec`` for each tensor.

    Raises InvalidCheckpoint without weights.
    """
    check_size(len(data))
    if data.startswith(b"PK\x03\x04"):
        return read_zip(data)
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**40:
        return read_safetensors(data)
    if data[:1] == b"\x80" and len(data) > 2 and data[1] in (2, 3, 4, 5):
        if MAGIC.to_bytes(10, "little") in data[:40]:
            return LegacyFile(data).content
        return read_pickle(data)
    if data.startswith(b"\x93NUMPY"):
        return read_pickle(object_pickle(data))
    raise InvalidCheckpoint(_other_kind(data))


# First bytes of files that are often confused with weights, and the sentence for each.
_STARTS: list[tuple[bytes, str]] = [
    (
        b"version https://git-lfs",
        "is a Git LFS pointer, not the weights; run git lfs pull in its repository, or download "
        "the file itself",
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        f"is an HDF5 file, as Keras writes; {KERAS_ADVICE}",
    ),
    (b"\x1f\x8b", "is gzipped; unpack it and choose the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it and choose the file inside"),
    (b"Rar!", "is a RAR archive; unpack it and choose the file inside"),
    (b"\xfd7zXZ", "is an xz archive; unpack it and choose the file inside"),
    (b"BZh", "is a bzip2 archive; unpack it and choose the file inside"),
    (b"GGUF", "is a GGUF file of a language model, not a digit classifier; choose another file"),
    (b"\x89PNG", "is an image, not weights; to classify it, use the Sketchpad tab"),
    (b"\xff\xd8\xff", "is an image, not weights; to classify it, use the Sketchpad tab"),
    (b"MATLAB 5.0", "is a MATLAB file; save its weights in Python with numpy.savez"),
    (b"%PDF", "is a PDF document, not weights; choose a weight file"),
    (b"PK", "is an empty or damaged zip archive; copy or download it again"),
]


def _other_kind(data: bytes) -> str:
    """Return the kind of a file without weights, and what to do."""
    for start, sentence in _STARTS:
        if data.startswith(start):
            return sentence
    head = data[:512].lstrip().lower()
    if data[4:8] == b"TFL3":
        return "is a TensorFlow Lite model; save the original network as ONNX"
    if data[4:8] == b"ORTM":
        return "is in ONNX Runtime's own format; choose the ONNX file that it was made from"
    if data[:1] == b"x" and int.from_bytes(data[:2], "big") % 31 == 0:  # zlib's header
        return "is compressed, as joblib.dump does on request; save it with compress=0"
    if re.match(rb"(\([dl]p\d+|c[\w.]+\n\w+|\(i[\w.]+\n\w+)\n", data):
        return (
            "is a pickle in text, as Python 2 writes it; load it in Python and save it with "
            "pickle.dump and protocol 4"
        )
    if re.match(rb"[\x81-\x8f][\xa1-\xbf]\w", data):  # a map, and a text as its first key
        return "is in msgpack, as Flax writes; save its arrays in Python with numpy.savez"
    if data[257:262] == b"ustar":
        return "is a tar archive; unpack it and choose the weight file inside"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, so the download failed; download the file itself"
    if len(data) < 16:
        many = f"{len(data)} byte{'s' * (len(data) > 1)}"
        return f"has only {many}, so it is not a weight file; copy or download it again"
    if data.endswith(b"\x57\xfb\x80\x8b\x24\x75\x47\xdb") or b"serving_default" in data:
        return "is TensorFlow's; convert the model to ONNX with tf2onnx"
    if b"onnx" in data[:2000] or re.match(rb"\x08[\x01-\x0c]", data):
        return "looks like an ONNX model, but it is truncated or damaged; copy or download it again"
    if not re.search(rb"[\x00-\x08\x0e-\x1f\x80-\xff]", data[:512]):
        if re.match(rb"""[{[]\s*["'{[\d-]""", head):
            return "is a JSON file; if it has weights, save them in Python with numpy.savez"
        return "is a text file, not weights; choose a weight file"
    return (
        "is in none of the formats of PyTorch, safetensors, NumPy and ONNX; convert it to one of "
        "these, or choose another file"
    )
