"""USPS as LIBSVM publishes it: download its text, read it, and enlarge the images to 28x28."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.download import ConvertedFile
from digitcnn.digits.idx import write_idx
from digitcnn.digits.transfer import DownloadProgress, receive

USPS_SIDE = 16
USPS_ENLARGED = 20


@dataclass(frozen=True)
class UspsText(ConvertedFile):
    """The USPS test digits as LIBSVM publishes them: bz2, a text line per image, 16x16.

    They are written as IDX files, enlarged to 20x20 and padded to 28x28.
    """

    def fetch(self, split: str, folder: Path, timeout: float) -> Iterator[DownloadProgress]:
        """Download the text file and write its images and labels as IDX files."""
        yield from receive(self.file, self.urls, folder, timeout)
        part = self.file.part(folder)
        images, labels = read_usps(part)
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", enlarge_usps(images))
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
        part.unlink()


def read_usps(path: Path) -> tuple[Tensor, Tensor]:
    """Return images float32 [N, 16, 16], paper -1 to ink 1, and labels uint8 [N] of a LIBSVM text.

    Each line is ``label index:value ...`` with labels 1 to 10 for the digits 0 to 9 and 256
    values. Format: https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps.
    path: with the published digest, so its content needs no check.
    """
    with bz2.open(path, "rt") as file:
        lines = [line.split() for line in file]
    pixels = [[float(pair.partition(":")[2]) for pair in pairs] for _, *pairs in lines]
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, USPS_SIDE, USPS_SIDE)
    return images, torch.tensor([int(label) - 1 for label, *_ in lines], dtype=torch.uint8)


def enlarge_usps(images: Tensor) -> Tensor:
    """Enlarge [N, 16, 16] from -1 to 1 to 20x20, with MNIST's border of 4: uint8 [N, 28, 28].

    Bilinear, since bicubic would overshoot beside the hard edges of these scans.
    """
    pixels = functional.resize(images.add(1).mul(127.5), [USPS_ENLARGED, USPS_ENLARGED])
    border = (SIDE - USPS_ENLARGED) // 2
    padded: Tensor = functional.pad(pixels.round(), [border] * 4)
    return padded.to(torch.uint8)
