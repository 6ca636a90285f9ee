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
from digitcnn.errors import DigitSetError

USPS_SIDE = 16
USPS_ENLARGED = 20

# 2,007 images are 6 MB of text.
USPS_TEXT_LIMIT = 1 << 26


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
    Raises DigitSetError when the file is anything else.
    """
    try:
        with bz2.open(path) as file:
            text = file.read(USPS_TEXT_LIMIT + 1)
    except (OSError, EOFError) as error:
        raise DigitSetError(
            f"{path} is not a readable bz2 file ({error}); download it again."
        ) from error
    if len(text) > USPS_TEXT_LIMIT:
        raise DigitSetError(f"{path} unpacks to far more than USPS has; download it again.")
    pixels, labels = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            label, *pairs = line.split()
            indices, values = zip(*(pair.split(b":") for pair in pairs), strict=True)
            if [int(index) for index in indices] != list(range(1, USPS_SIDE**2 + 1)):
                raise ValueError("256 numbered values are expected")
            row = [float(value) for value in values]
            if not all(-1 <= value <= 1 for value in row):
                raise ValueError("values from -1 to 1 are expected")
            if not 1 <= int(label) <= 10:
                raise ValueError("labels from 1 to 10 are expected")
        except ValueError as error:
            raise DigitSetError(
                f"Line {number} of {path} is not a USPS digit ({error}); download the file again."
            ) from error
        pixels.append(row)
        labels.append(int(label) - 1)
    if not labels:
        raise DigitSetError(f"{path} has no digits; download it again.")
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, USPS_SIDE, USPS_SIDE)
    return images, torch.tensor(labels, dtype=torch.uint8)


def enlarge_usps(images: Tensor) -> Tensor:
    """Enlarge [N, 16, 16] from -1 to 1 to 20x20, with MNIST's border of 4: uint8 [N, 28, 28].

    Bilinear, since bicubic would overshoot beside the hard edges of these scans.
    """
    pixels = functional.resize(images.add(1).mul(127.5), [USPS_ENLARGED, USPS_ENLARGED])
    border = (SIDE - USPS_ENLARGED) // 2
    padded: Tensor = functional.pad(pixels.round(), [border] * 4)
    return padded.to(torch.uint8)
