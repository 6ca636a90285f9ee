"""Turn a person's own files into a digit set.

Files are recognised by content: an IDX pair, arrays (``.npz``, ``.npy``), a CSV table, or a folder
of these or of images by digit. ``own_arrays``, ``own_table`` and ``own_images`` read them; nothing
in them is run and declared sizes are not trusted.

Ink: a digit set has high ink on paper 0, but most people's digits are dark on light. Arrays and
IDX files are decided for the whole set, since its images have one origin: the paper is the median
of all border pixels, and where it is lighter than the images' mean, everything is inverted. Image
files that are framed are decided one by one, since photographs differ.

Framing: ``none`` keeps images of 28x28 as they are; ``mnist`` and ``emnist`` bring images of any
size to that framing, as sketches are.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.framing import FAINT, frame_emnist, frame_mnist
from digitcnn.digits.idx import explaining, open_unpacked, read_idx
from digitcnn.digits.image_files import LEAST_CONTRAST
from digitcnn.digits.names import FRAMINGS
from digitcnn.digits.own_arrays import read_npy, read_npz
from digitcnn.digits.own_images import find_images, frame_all, read_framed, read_unframed
from digitcnn.digits.own_table import read_csv
from digitcnn.digits.own_values import split_of
from digitcnn.digits.set_files import file_names, find_file
from digitcnn.errors import DigitSetError
from digitcnn.shared_cache import Progress, unwatched

_NPY_MAGIC = b"\x93NUMPY"

# First bytes of common formats that cannot be read, with what to do instead.
_OTHER_KINDS = {
    b"PAR1": "a Parquet file; save it as .csv or .npz",
    b"\x89HDF": "an HDF5 file; save its arrays with numpy.savez(path, images=..., labels=...)",
    b"MATLAB": "a MATLAB file; save its arrays with numpy.savez(path, images=..., labels=...)",
    b"\x80": "a pickle, which could run code; use numpy.savez(path, images=..., labels=...)",
    b"\x89PNG": "a single image; put images into folders 0 to 9 and add the folder around them",
    b"\xff\xd8": "a single image; put images into folders 0 to 9 and add the folder around them",
}


@dataclass(frozen=True)
class OwnSet:
    """A set that was read.

    inverted: whether ink and paper were exchanged for the whole set; None where every image was
    decided by itself.
    """

    digit_set: DigitSet
    inverted: bool | None


def read_own_set(
    path: Path,
    name: str,
    split: str,
    framing: str = "none",
    progress: Progress = unwatched,
    *,
    transpose: bool = False,
) -> OwnSet:
    """Read the digits at ``path`` as a digit set of that name and split.

    path: an IDX images file with its labels next to it, in any of the catalogue's layouts; an
    ``.npz`` or ``.npy`` with images and labels; a CSV table with a label column; or a folder of
    any of these, or of images by digit. Where there are several splits, ``split`` chooses.
    framing: one of FRAMINGS. transpose: exchange rows and columns. IDX files named as EMNIST
    publishes them are set upright without it.

    Raises DigitSetError, or SketchError for an image, with one sentence that names the file.
    """
    if framing not in FRAMINGS:
        raise DigitSetError(f"The framing is {framing!r:.80}; choose {', '.join(FRAMINGS)}.")
    image_files = find_images(path, split) if path.is_dir() else []
    inverted: bool | None = None
    if image_files and framing != "none":
        images, labels = read_framed(image_files, framing, progress)
    else:
        if image_files:
            images, labels = read_unframed(image_files)
        else:
            images, labels = _read_arrays(path, split)
        _check(images, labels, path)
        images, inverted = _ink_high(images, path)
        images = _framed(images, framing, path, progress)
    digit_set = DigitSet(images, labels, name, split)
    if transpose:
        digit_set = replace(digit_set, images=images.transpose(1, 2).contiguous())
    return OwnSet(digit_set, inverted)


def _check(images: Tensor, labels: Tensor, path: Path) -> None:
    if len(images) != len(labels) or not len(images):
        raise DigitSetError(
            f"{path} has {len(images):,} images and {len(labels):,} labels; save as many labels "
            "as images, and at least one of each."
        )
    if int(labels.max()) >= CLASSES:
        raise DigitSetError(
            f"{path} contains the label {int(labels.max())}; labels must be 0 to 9, so check the "
            "labels file."
        )


# Files


def _read_arrays(path: Path, split: str) -> tuple[Tensor, Tensor]:
    """Read images uint8 [N, H, W], of either polarity, and labels uint8 [N]."""
    file = _choose_file(path, split) if path.is_dir() else path
    if not file.is_file():
        raise DigitSetError(
            f"Nothing was found at {path}; choose an IDX images file, an .npz, a CSV, or a folder "
            "of IDX files or of images by digit."
        )
    start = _first_bytes(file)
    if zipfile.is_zipfile(file) or start.startswith(b"PK") or file.suffix.lower() == ".npz":
        arrays = read_npz(file, split)
    elif start.startswith(_NPY_MAGIC):
        arrays = read_npy(path if path.is_dir() else file, split)
    elif _stem(file) is not None or start.startswith(b"\0\0\x08"):
        return _read_idx_pair(file)
    elif kind := next(
        (text for magic, text in _OTHER_KINDS.items() if start.startswith(magic)), None
    ):
        raise DigitSetError(f"{file} is {kind}.")
    elif start and min(start) > 8:
        arrays = read_csv(file)
    else:
        raise DigitSetError(
            f"{file} is neither an .npz, a CSV nor named like an IDX images file "
            "(test-images-idx3-ubyte); rename it and the labels next to it."
        )
    images, labels = arrays
    return torch.from_numpy(images), torch.from_numpy(labels)


def _first_bytes(path: Path) -> bytes:
    """Return the first bytes, unpacked, as far as they can be read."""
    try:
        with explaining(path), open_unpacked(path) as file:
            return file.read(1024)
    except (EOFError, zlib.error):
        return b""


def _choose_file(folder: Path, split: str) -> Path:
    """Return the file in a folder that has the images of ``split``. Raises DigitSetError."""
    with explaining(folder, "listed"):
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    # One file per stem: Kaggle's archive has each file twice, plain and in a folder.
    files = {
        stem: file
        for name in names
        if (stem := _stem(folder / name)) is not None
        and (file := find_file(folder, file_names(stem, "images"))) is not None
    }
    if not files:
        files = {
            name: folder / name
            for name in names
            if name.lower().endswith((".npz", ".csv", ".csv.gz")) and (folder / name).is_file()
        }
    if not files:
        npy = next((name for name in names if name.endswith(".npy")), None)
        if npy is not None:
            return folder / npy
        raise DigitSetError(
            f"{folder} has neither {split}-images-idx3-ubyte nor subfolders 0 to 9 of images; "
            "choose the folder that does."
        )
    of_split = [path for name, path in files.items() if split_of(name) == split]
    if len(of_split) == 1 or len(files) == 1:
        return (of_split or list(files.values()))[0]
    raise DigitSetError(
        f"{folder} has several files of images ({', '.join(list(files)[:4])}); choose one."
    )


def _stem(path: Path) -> str | None:
    """Return the beginning of an IDX images file's name, None for other names."""
    name = path.name.removesuffix(".gz")
    for ending in ("-images-idx3-ubyte", "-images.idx3-ubyte"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return None


def _read_idx_pair(images_file: Path) -> tuple[Tensor, Tensor]:
    stem = _stem(images_file)
    if stem is None:
        raise DigitSetError(
            f"{images_file} is not named like an IDX images file (test-images-idx3-ubyte); rename "
            "it and the labels next to it."
        )
    folder = images_file.parent
    # In Kaggle's layout each file is in a folder of its own name.
    folders = (folder, folder.parent) if _stem(folder) == stem else (folder,)
    names = file_names(stem, "labels")
    labels_file = next((file for each in folders if (file := find_file(each, names))), None)
    if labels_file is None:
        raise DigitSetError(f"{folder / names[1]} is missing; put the labels next to the images.")
    images = read_idx(images_file, dimensions=3)
    if stem.startswith("emnist-"):
        # All files that EMNIST published have rows and columns exchanged.
        images = images.transpose(1, 2).contiguous()
    return images, read_idx(labels_file, dimensions=1)


# Ink and framing


def _ink_high(images: Tensor, path: Path) -> tuple[Tensor, bool]:
    """Return the images [N, H, W] with high ink on low paper, and whether that inverted them."""
    low, high = int(images.min()), int(images.max())
    if high - low < LEAST_CONTRAST:
        raise DigitSetError(
            f"The images in {path} are blank (values {low} to {high}, expected 0 to 255); "
            "scale them before saving."
        )
    inverted = _paper(images) > float(images.sum(dtype=torch.int64)) / images.numel()
    return (255 - images if inverted else images), inverted


def _paper(images: Tensor) -> int:
    """Return the median of all border pixels."""
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    counts = torch.stack([torch.bincount(side.flatten(), minlength=256) for side in sides]).sum(0)
    return int((counts.cumsum(0) * 2 >= counts.sum()).nonzero()[0])


def _framed(images: Tensor, framing: str, path: Path, progress: Progress) -> Tensor:
    """Return images with high ink as uint8 [N, 28, 28]."""
    right_size = images.shape[1:] == (SIDE, SIDE)
    if framing == "none":
        if not right_size:
            raise DigitSetError(
                f"The images in {path} are {images.shape[1]}x{images.shape[2]}, but --frame none "
                f"needs {SIDE}x{SIDE}; use --frame mnist or emnist."
            )
        return images
    paper = _paper(images)
    if right_size and paper <= FAINT:
        return frame_mnist(images) if framing == "mnist" else frame_emnist(images)
    # A margin of paper, so that the border shows paper where digits are cut to their ink.
    margin = max(2, max(images.shape[1:]) // 4)
    padded = (
        (
            Image.fromarray(np.pad(image.numpy(), margin, constant_values=paper)),
            f"Image {i} of {path}",
        )
        for i, image in enumerate(images)
    )
    return frame_all(padded, len(images), framing, progress)
