"""Find and check the files of digit sets in the data folder, without importing PyTorch.

mnist/train-images-idx3-ubyte.gz             as published, gzipped or not
mnist/train-images.idx3-ubyte                as Kaggle spells it
mnist/train-images-idx3-ubyte/train-images-idx3-ubyte    in a folder of the file's name
MNIST/raw/train-images-idx3-ubyte.gz         as torchvision lays it out
t10k-images-idx3-ubyte.gz                    directly in the data folder (MNIST and EMNIST)
mine/test-images-idx3-ubyte.gz               a set of one's own, named by its folder
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.digits.idx import read_shape, read_values
from digitcnn.digits.names import GENERATED, MNIST_C, MNIST_C_SETS, SPLITS
from digitcnn.errors import DigitSetError

_IDX_TYPES = {"images": "idx3", "labels": "idx1"}


@dataclass(frozen=True)
class Layout:
    """Where the files of a set are.

    folders: relative to the data folder, in order of preference; a download goes to the first.
    stems: how file names begin, by split. transposed: rows and columns are swapped in the files.
    default_splits: what ``data download`` fetches unless a split is named.
    """

    folders: tuple[str, ...]
    stems: Mapping[str, tuple[str, ...]]
    transposed: bool = False
    default_splits: tuple[str, ...] = ()


LAYOUTS: Mapping[str, Layout] = {
    "mnist": Layout(
        ("mnist", "MNIST/raw", "mnist/MNIST/raw", "."),
        {"train": ("train",), "test": ("t10k",)},
        default_splits=("train", "test"),
    ),
    "emnist-digits": Layout(
        ("emnist-digits", "EMNIST/raw", "emnist-digits/gzip", "."),
        {"train": ("emnist-digits-train",), "test": ("emnist-digits-test",)},
        transposed=True,
        # The training images are 60 MB, and nothing trains on them unless asked to.
        default_splits=("test",),
    ),
    "usps": Layout(("usps",), {"test": ("test",)}, default_splits=("test",)),
}

# Folders in the data folder that are not sets of their own name.
RESERVED = ("MNIST", "EMNIST", MNIST_C, *LAYOUTS, *GENERATED)


@dataclass(frozen=True)
class SetFiles:
    """The images file and the labels file of one split."""

    images: Path
    labels: Path

    @property
    def signature(self) -> tuple[object, ...]:
        """A value that changes when either file is replaced. Raises OSError."""
        stats = (self.images.stat(), self.labels.stat())
        return (self.images, *((s.st_ino, s.st_size, s.st_mtime_ns) for s in stats))


def layout_of(name: str) -> Layout:
    """Return a set's layout; one that is not built in has a folder of its name."""
    return LAYOUTS.get(name) or Layout((name,), {"train": ("train",), "test": ("test", "t10k")})


def file_names(stem: str, kind: str) -> tuple[str, ...]:
    """Return the names that the ``images`` or ``labels`` of a split may have, published one first.

    A download is written under the first name, so that it takes precedence over a broken copy.
    """
    return tuple(
        f"{stem}-{kind}{mark}{_IDX_TYPES[kind]}-ubyte{ending}"
        for mark in "-."
        for ending in (".gz", "")
    )


def own_sets(data_dir: Path, reserved: Collection[str]) -> dict[str, list[str]]:
    """Return the folders that hold sets which are not built in, each with its splits.

    Raises DigitSetError when a folder cannot be listed.
    """
    sets = {}
    for name in list_folder(data_dir):
        if name.startswith(".") or name in (*RESERVED, *reserved):
            continue
        files = set(list_folder(data_dir / name))
        splits = [
            split
            for split, stems in layout_of(name).stems.items()
            if any(files.intersection(file_names(stem, "images")) for stem in stems)
        ]
        if splits:
            sets[name] = splits
    return sets


def find_files(data_dir: Path, name: str, split: str) -> SetFiles | None:
    """Return the files of a split, or None where none of them exist.

    ``name`` is used as a folder's name: it must be known or come from a listing. Raises
    DigitSetError when only one of the two files is there, or a folder cannot be listed.
    """
    layout = layout_of(name)
    incomplete = None
    for folder in (data_dir / relative for relative in layout.folders):
        for stem in layout.stems.get(split, ()):
            images = find_file(folder, file_names(stem, "images"))
            labels = find_file(folder, file_names(stem, "labels"))
            if images is not None and labels is not None:
                return SetFiles(images, labels)
            present = images or labels
            if present is not None and incomplete is None:
                missing = file_names(stem, "images" if images is None else "labels")[0]
                incomplete = (
                    f"{name} ({split}) is incomplete: {missing} is missing from {folder}, which "
                    f"has {present.name}"
                )
    if incomplete is not None:
        raise DigitSetError(f"{incomplete}; add it{or_download(name, split)}.")
    return None


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of ``names`` in a folder, or in a subfolder that has one of the names."""
    listing = set(list_folder(folder))
    paths = [folder / name for name in names if name in listing]
    for path in paths:
        if not path.is_dir():
            return path
    for path in paths:
        inside = set(list_folder(path))
        nested = next((path / name for name in names if name in inside), None)
        if nested is not None:
            return nested
    # A folder where the file belongs: reading it reports that.
    return paths[0] if paths else None


def count_images(files: SetFiles, name: str, split: str, *, thorough: bool = False) -> int:
    """Return the number of images, after checking labels and headers.

    thorough: read all pixels too, which notices flipped bits in gzip files. Raises DigitSetError,
    with the reason, when the files cannot be used as a digit set.
    """
    try:
        if thorough:
            (n, *size), _ = read_values(files.images, dimensions=3)
        else:
            n, *size = read_shape(files.images, dimensions=3)
        (label_count,), labels = read_values(files.labels, dimensions=1)
    except DigitSetError as error:
        raise DigitSetError(f"{name} ({split}) cannot be used: {error}") from error
    if n != label_count:
        problem = (
            f"{files.images} has {n:,} images but {files.labels.name} has {label_count:,} "
            "labels; the files are mismatched, so get both from the same place"
        )
    elif size != [SIDE, SIDE]:
        problem = (
            f"{files.images} has images of {size[0]}x{size[1]}, but {SIDE}x{SIDE} is expected; "
            "add them with `python -m digitcnn data add` and --frame mnist"
        )
    elif n == 0:
        problem = f"{files.images} has no images; replace it with the original"
    elif max(labels) >= CLASSES:
        problem = (
            f"{files.labels} contains the label {max(labels)}; labels must be 0 to 9, so check "
            "the labels file"
        )
    else:
        return n
    raise DigitSetError(f"{name} ({split}) cannot be used: {problem}.")


def or_download(name: str, split: str) -> str:
    """Return ", or download it with ..." for sets that can be downloaded, else an empty string."""
    layout = LAYOUTS.get(name)
    if layout is None or split not in layout.stems:
        return ""
    option = "" if split in layout.default_splits else f" --split {split}"
    return f", or download it with `python -m digitcnn data download {name}{option}`"


def missing_text(data_dir: Path, name: str, split: str, known: Sequence[str]) -> str:
    """Return the sentence for a split that was not found. known: the names of all sets."""
    if name in MNIST_C_SETS and name not in known:
        return (
            f"{name} was not found in {data_dir}; download all of MNIST-C with "
            f"`python -m digitcnn data download {MNIST_C}`."
        )
    if name not in known:
        return f"Unknown digit set {name!r:.80}; available: {', '.join(known)}."
    if name not in LAYOUTS:
        other = next(each for each in SPLITS if each != split)
        return f"{name} has no {split} images in {data_dir / name}; use {other}."
    stems = LAYOUTS[name].stems
    if split not in stems:
        return f"{name} has no {split} images; use {' or '.join(stems)}."
    return (
        f"{name} ({split}) was not found in {data_dir}; put its files there"
        f"{or_download(name, split)}, or use synthetic, which needs no files."
    )


def list_folder(folder: Path) -> list[str]:
    """Return the names in ``folder``, sorted; none where it does not exist or is a file."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DigitSetError(
            f"{folder} cannot be listed ({error.strerror}); change its permissions, "
            "or choose another folder with --data-dir."
        ) from error
