"""Accuracy of trained checkpoints on every real digit set there is, as one table.

    python -m benchmarks.accuracy CHECKPOINT ... [--data-dir DIR] [--folder DIR ...]

One row per digit set and framing, one column per checkpoint (such as three seeds of one recipe),
then mean and standard deviation. The rows are for the record and choose nothing: recipes are
chosen on the held-out images. ``sketch`` is the way that a drawing takes to the network.

Each --folder is one more test set: IDX files as in the data folder, or pictures in folders named by
their digit, which take the sketch path and get a row per digit.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measuring import conditions, options
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.framing import frame_emnist, frame_mnist
from digitcnn.digits.idx import read_idx
from digitcnn.digits.sketch import from_image
from digitcnn.folders import data_folder
from digitcnn.intervals import wilson_interval
from digitcnn.network.checkpoint import load


def through_the_sketch_path(images: Tensor) -> Tensor:
    """Each image as if it had been dropped on the pad; what comes back blank stays as it was."""
    framed = [from_image(Image.fromarray(image.numpy().astype(np.uint8))) for image in images]
    return torch.stack(
        [image if new is None else new for image, new in zip(images, framed, strict=True)]
    )


FRAMINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda images: images,
    "EMNIST framing": frame_emnist,
    "MNIST framing": frame_mnist,
    "sketch": through_the_sketch_path,
}

ROWS = [
    ("held-out", "as it is"),
    ("held-out", "EMNIST framing"),
    ("mnist", "as it is"),
    ("emnist-digits", "as it is"),
    ("femnist-digits", "EMNIST framing"),
    ("femnist-digits", "MNIST framing"),
    ("usps", "as it is"),
    ("drawn-digits", "sketch"),
    ("synthetic", "as it is"),
]


def rows(catalog: Catalog) -> Iterator[tuple[str, DigitSet]]:
    """Title and framed digit set of every row whose set is on this machine."""
    here = {entry.name for entry in catalog.entries() if entry.present}
    for name, framing in ROWS:
        source = "mnist" if name == "held-out" else name
        if source not in here:
            continue
        if name == "held-out":
            digits = split_held_out(catalog.open("mnist", "train"))[1]
        else:
            digits = catalog.open(name, "test")
        framed = DigitSet(FRAMINGS[framing](digits.images), digits.labels, name, digits.split)
        yield f"{name}, {framing}", framed


def in_folder(folder: Path) -> DigitSet:
    """The test set in a folder; pictures that come back blank are left out."""
    if files := sorted(folder.glob("test-images-idx3-ubyte*")):
        (labels,) = folder.glob("test-labels-idx1-ubyte*")
        return DigitSet(read_idx(files[0], 3), read_idx(labels, 1), folder.name, "test")
    pictures = sorted(folder.glob("[0-9]/*"))
    seen = [(from_image(Image.open(path)), int(path.parent.name)) for path in pictures]
    framed = [(image, digit) for image, digit in seen if image is not None]
    return DigitSet(
        torch.stack([image for image, _ in framed]),
        torch.tensor([digit for _, digit in framed], dtype=torch.uint8),
        folder.name,
        "pictures",
    )


def folder_rows(folders: Sequence[Path]) -> Iterator[tuple[str, DigitSet]]:
    """Title and set of each folder, and of each of its digits where it holds pictures."""
    for folder in folders:
        digits = in_folder(folder)
        yield folder.name, digits
        if digits.split == "pictures":
            for digit in digits.labels.unique().tolist():
                yield f"{folder.name}, {digit}", digits.take(digits.labels == digit)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--folder", type=Path, action="append", default=[])
    args = parser.parse_args(arguments)
    networks = [load(path).network for path in args.checkpoints]
    print(f"{conditions()}; {', '.join(path.stem for path in args.checkpoints)}")
    print("| digit set | images | first, accuracy in % (95% interval) | each | mean |")
    print("|---|---|---|---|---|")
    catalog = Catalog(data_folder(args.data_dir))
    for title, digits in itertools.chain(rows(catalog), folder_rows(args.folder)):
        right = [int(predict(network, digits).right.sum()) for network in networks]
        shares = [100 * count / len(digits) for count in right]
        low, high = (100 * end for end in wilson_interval(right[0], len(digits)))
        spread = f" ± {statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
        each = " ".join(f"{share:.2f}" for share in shares)
        print(
            f"| {title} | {len(digits):,} | {shares[0]:.2f} ({low:.2f} to {high:.2f}) | {each} | "
            f"{statistics.mean(shares):.2f}{spread} |"
        )


if __name__ == "__main__":
    main()
