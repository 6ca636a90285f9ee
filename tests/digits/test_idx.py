"""The IDX format: written, read back, and hostile or damaged files refused."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets.mnist import read_image_file, read_label_file

from digitcnn.digits.idx import (
    LARGEST,
    explaining,
    looks_like_html,
    read_idx,
    read_shape,
    write_idx,
)
from digitcnn.errors import DigitSetError

PAGE = b"<!DOCTYPE html>\n<html><body>This page has moved.</body></html>"


def header(*shape: int) -> bytes:
    return bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()


def some_images(n: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)


IMAGES = some_images()
CONTENT = header(5, 28, 28) + IMAGES.numpy().tobytes()


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("values", [some_images(), torch.arange(10, dtype=torch.uint8)])
def test_written_values_are_read_back(tmp_path: Path, name: str, values: torch.Tensor) -> None:
    path = tmp_path / name
    write_idx(path, values)
    assert read_idx(path).equal(values)
    assert read_idx(path, dimensions=values.dim()).equal(values)
    assert read_shape(path) == tuple(values.shape)
    assert path.read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_transposed_view_is_written_in_the_order_of_its_rows(tmp_path: Path) -> None:
    write_idx(tmp_path / "images", IMAGES.transpose(1, 2))
    assert read_idx(tmp_path / "images").equal(IMAGES.transpose(1, 2))


def test_equal_values_give_equal_bytes_under_any_name(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, IMAGES)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_torchvision_reads_what_is_written(tmp_path: Path) -> None:
    labels = torch.tensor([3, 1, 4, 1, 5], dtype=torch.uint8)
    write_idx(tmp_path / "images", IMAGES)
    write_idx(tmp_path / "labels", labels)
    assert read_image_file(str(tmp_path / "images")).equal(IMAGES)
    assert read_label_file(str(tmp_path / "labels")).equal(labels.long())


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_gzip_is_recognised_by_content_not_by_name(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(CONTENT) if packed else CONTENT)
    assert read_idx(path).equal(IMAGES)
    assert read_shape(path) == (5, 28, 28)


def test_a_gzip_file_of_several_members_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:]))
    assert read_idx(path).equal(IMAGES)
    assert read_shape(path) == (5, 28, 28)


BROKEN = {
    "cut": (CONTENT[:-1], "is truncated"),
    "cut at the header's end": (CONTENT[:16], "is truncated"),
    "cut within the header": (CONTENT[:10], "truncated within its header"),
    "one byte too many": (CONTENT + b"\0", "holds more than"),
    "empty": (b"", "is empty"),
    "three bytes": (b"\0\0\x08", "another type of IDX file"),
    "an HTML page": (PAGE, "is an HTML page"),
    "text": (b"not found\n", "is a text file"),
    "noise": (bytes(range(128, 256)), "another kind of file"),
    "of floats": (bytes((0, 0, 13, 1)) + header(5)[4:] + bytes(20), "another type of IDX file"),
    "of two dimensions": (header(5, 5) + bytes(25), "another type of IDX file"),
    "declaring too much": (
        header(LARGEST, 28, 28) + bytes(784),
        "above the limit of 1,073,741,824",
    ),
    "declaring 4 GiB cubed": (header(*[2**32 - 1] * 3) + bytes(784), "above the limit"),
    "declaring what cannot fit": (header(1_000_000, 28, 28) + bytes(784), "cannot hold them"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_file_is_refused_in_one_sentence_that_names_it(
    tmp_path: Path, kind: str, packed: bool
) -> None:
    content, expected = BROKEN[kind]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(content) if packed else content)
    for read in (read_idx, read_shape):
        with pytest.raises(DigitSetError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path} ")
        assert expected in message
        assert "\n" not in message
        assert message.endswith(".")


@pytest.mark.parametrize("keep", [2, 200, -1])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(CONTENT)[:keep])
    for read in (read_idx, read_shape):
        with pytest.raises(DigitSetError, match="truncated or damaged gzip file"):
            read(path)


def test_a_flipped_bit_in_a_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    # Stored, not deflated: only the CRC can tell.
    packed = bytearray(gzip.compress(CONTENT, compresslevel=0))
    packed[2000] ^= 1
    path.write_bytes(packed)
    with pytest.raises(DigitSetError, match="CRC"):
        read_idx(path)


def test_images_where_labels_are_expected_are_reported_as_swapped(tmp_path: Path) -> None:
    images, labels = tmp_path / "labels-file", tmp_path / "images-file"
    write_idx(images, IMAGES)
    write_idx(labels, torch.zeros(5, dtype=torch.uint8))
    for read in (read_idx, read_shape):
        with pytest.raises(DigitSetError, match=r"holds images where labels are expected.*swap"):
            read(images, dimensions=1)
        with pytest.raises(DigitSetError, match=r"holds labels where images are expected.*swap"):
            read(labels, dimensions=3)


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_a_path_without_a_file_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DigitSetError, match="is not a file"):
        read_idx(tmp_path / what)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not hold for root"
)
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(CONTENT)
    path.chmod(0)
    with pytest.raises(DigitSetError, match="cannot be read"):
        read_idx(path)


def test_a_gzip_bomb_is_not_unpacked_beyond_what_its_header_declares(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(CONTENT + bytes(50_000_000), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(DigitSetError, match="holds more than"):
        read_idx(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_an_empty_set_is_read(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(header(0, 28, 28))
    assert read_idx(path).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("start", "html"),
    [
        (PAGE, True),
        (b"\xef\xbb\xbf\r\n  <HTML lang=en>", True),
        (b'<?xml version="1.0"?><html>', True),
        (b"<Error><Code>AccessDenied", False),
        (gzip.compress(PAGE, mtime=0), False),
        (b"", False),
    ],
)
def test_web_pages_are_recognised_by_their_first_bytes(start: bytes, html: bool) -> None:
    assert looks_like_html(start) == html


@pytest.mark.parametrize(
    ("name", "shape", "md5"),
    [
        ("train-images-idx3-ubyte", (60_000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte", (60_000,), "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3-ubyte", (10_000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte", (10_000,), "27ae3e4e09519cfbb04c329615203637"),
    ],
)
def test_mnist_is_read_byte_for_byte_as_published(
    real_data: Path, name: str, shape: tuple[int, ...], md5: str
) -> None:
    folder = real_data / "mnist"
    path = next(p for p in (folder / f"{name}.gz", folder / name) if p.exists())
    values = read_idx(path)
    assert values.shape == shape
    assert hashlib.md5(header(*shape) + values.numpy().tobytes()).hexdigest() == md5
    assert read_shape(path) == shape


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError(5, "Input/output error"), "digits cannot be listed (Input/output error)"),
        (OSError(5, "Input/output error", "inner"), "inner cannot be listed (Input/output error)"),
        (OSError("no more memory"), "digits cannot be listed (no more memory)"),
    ],
)
def test_a_fault_of_the_file_system_gives_one_sentence(error: OSError, what: str) -> None:
    with (
        pytest.raises(DigitSetError, match=rf"^{re.escape(what)}; check its permissions\.$"),
        explaining(Path("digits"), "listed"),
    ):
        raise error
