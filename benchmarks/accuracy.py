"""Accuracy of trained checkpoints on every real digit set there is, as one table.

    python -m benchmarks.accuracy CHECKPOINT ... [--data-dir DIR]

One row per digit set and framing, one column per checkpoint (such as three seeds of one recipe),
then mean and standard deviation. The rows are for the record and choose nothing: recipes are
chosen on the held-out images. ``sketch`` is the way that a drawing takes to the network.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.framing import frame_emnist, frame_mnist
from digitcnn.digits.sketch import from_image
from digitcnn.folders import data_folder
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args(arguments)
    networks = [load(path).network for path in args.checkpoints]
    print(
        f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads; "
        f"{', '.join(path.stem for path in args.checkpoints)}"
    )
    print("| digit set | images | accuracy, % | mean ± standard deviation |")
    print("|---|---|---|---|")
    for title, digits in rows(Catalog(data_folder(args.data_dir))):
        shares = []
        for network in networks:
            answers = predict(network, digits).logits.argmax(1)
            shares.append(100 * float((answers == digits.labels).float().mean()))
        spread = f" ± {statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
        each = " ".join(f"{share:.2f}" for share in shares)
        print(f"| {title} | {len(digits):,} | {each} | {statistics.mean(shares):.2f}{spread} |")


if __name__ == "__main__":
    main()
