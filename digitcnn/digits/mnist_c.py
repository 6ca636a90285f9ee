"""MNIST-C: MNIST's test images under fifteen corruptions (Mu and Gilmer 2019, arXiv 1906.02337).

Published as one archive with a folder per corruption. Each becomes a set of its own in the data
folder, ``mnist-c-fog`` and so on.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.digits.download import ConvertedFile
from digitcnn.digits.idx import write_idx
from digitcnn.digits.names import CORRUPTIONS, MNIST_C
from digitcnn.digits.own_arrays import read_header
from digitcnn.digits.own_values import Array
from digitcnn.digits.transfer import DownloadProgress, receive
from digitcnn.errors import DownloadError

# Images per corruption at most; there are 10,000.
MOST_IMAGES = 100_000


@dataclass(frozen=True)
class CorruptionArchive(ConvertedFile):
    """A zip file with ``mnist_c/<corruption>/test_images.npy`` and ``test_labels.npy``.

    A transfer that breaks off is resumed.
    """

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Download the archive and write each corruption as a set beside ``folder``."""
        yield from receive(self.file, self.urls, folder, timeout)
        part = self.file.part(folder)
        try:
            with zipfile.ZipFile(part) as archive:
                for number, corruption in enumerate(CORRUPTIONS, 1):
                    target = folder.parent / f"{MNIST_C}-{corruption}"
                    write_corruption(archive, corruption, target)
                    text = f"{target.name}: unpacked, {number} of {len(CORRUPTIONS)}"
                    yield DownloadProgress(target.name, number, len(CORRUPTIONS), text)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            part.unlink()
            raise DownloadError(
                f"{self.file.name} was downloaded but cannot be unpacked: {error}; download it "
                "again."
            ) from error
        # Kept until now, so that unpacking goes on where it was interrupted.
        part.unlink()


def write_corruption(archive: zipfile.ZipFile, corruption: str, target: Path) -> None:
    """Write one corruption as IDX files into the folder ``target``; a set that exists stays.

    Raises ValueError or BadZipFile for an archive of another form, OSError where it cannot write.
    """
    images_file = target / "test-images-idx3-ubyte.gz"
    if images_file.exists():
        return
    images = _array(archive, f"mnist_c/{corruption}/test_images.npy", SIDE * SIDE)
    labels = _array(archive, f"mnist_c/{corruption}/test_labels.npy", 1)
    if images.dtype != np.uint8:
        raise ValueError(f"the images of {corruption} are {images.dtype} instead of uint8")
    if len(images) != len(labels) or labels.dtype.kind not in "iu":
        raise ValueError(f"{corruption} has {len(images)} images, but {len(labels)} labels")
    if not (labels.min() >= 0 and labels.max() < CLASSES):
        raise ValueError(f"{corruption} has labels other than 0 to 9")
    target.mkdir(exist_ok=True)
    # A set is found by its images, so it appears whole when these appear.
    digits = torch.from_numpy(labels.astype(np.uint8).reshape(-1))
    write_idx(target / "test-labels-idx1-ubyte.gz", digits)
    write_idx(images_file, torch.from_numpy(images.reshape(-1, SIDE, SIDE).copy()))


def _array(archive: zipfile.ZipFile, member: str, numbers: int) -> Array:
    """Read a NumPy file of N rows of so many numbers, whose size is bounded before it is read."""
    try:
        with archive.open(member) as stream:
            shape, dtype = read_header(cast(BinaryIO, stream))
        if dtype.kind not in "buif":
            raise ValueError(f"{member} is not a plain array of numbers")
        if not (shape and 0 < shape[0] <= MOST_IMAGES) or math.prod(shape[1:]) != numbers:
            raise ValueError(f"{member} has the unexpected shape {shape}")
        with archive.open(member) as stream:
            return cast(Array, np.load(cast(Any, stream), allow_pickle=False))
    except KeyError as error:
        raise ValueError(f"it has no {member}") from error
