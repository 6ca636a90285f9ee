"""MNIST-C: MNIST's test images under fifteen corruptions (Mu and Gilmer 2019, arXiv 1906.02337).

Published as one archive with a folder per corruption. Each becomes a set of its own in the data
folder, ``mnist-c-fog`` and so on.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.download import ConvertedFile
from digitcnn.digits.idx import write_idx
from digitcnn.digits.names import CORRUPTIONS, MNIST_C
from digitcnn.digits.transfer import DownloadProgress, receive


@dataclass(frozen=True)
class CorruptionArchive(ConvertedFile):
    """A zip file with ``mnist_c/<corruption>/test_images.npy`` and ``test_labels.npy``.

    An interrupted transfer is resumed.
    """

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Download the archive and write each corruption as a set beside ``folder``."""
        yield from receive(self.file, self.urls, folder, timeout)
        part = self.file.part(folder)
        with zipfile.ZipFile(part) as archive:
            for number, corruption in enumerate(CORRUPTIONS, 1):
                target = folder.parent / f"{MNIST_C}-{corruption}"
                write_corruption(archive, corruption, target)
                text = f"{target.name}: unpacked, {number} of {len(CORRUPTIONS)}"
                yield DownloadProgress(target.name, number, len(CORRUPTIONS), text)
        # Not deleted earlier, so that interrupted unpacking can continue.
        part.unlink()


def write_corruption(archive: zipfile.ZipFile, corruption: str, target: Path) -> None:
    """Write one corruption as IDX files into the folder ``target``; a set that exists stays.

    archive: with the published digest, so its content needs no check. Raises OSError where it
    cannot write.
    """
    images_file = target / "test-images-idx3-ubyte.gz"
    if images_file.exists():
        return
    images, labels = (
        np.load(
            cast(Any, archive.open(f"mnist_c/{corruption}/test_{kind}.npy")), allow_pickle=False
        )
        for kind in ("images", "labels")
    )
    target.mkdir(exist_ok=True)
    # A set is found by its images, so it appears whole when these appear.
    digits = torch.from_numpy(labels.astype(np.uint8).reshape(-1))
    write_idx(target / "test-labels-idx1-ubyte.gz", digits)
    write_idx(images_file, torch.from_numpy(images.reshape(-1, SIDE, SIDE)))
