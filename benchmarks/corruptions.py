"""Errors of trained checkpoints on MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337), as one table.

    python -m benchmarks.corruptions CHECKPOINT ... --folder DIR

DIR holds MNIST-C as it is published, a folder for each corruption with ``test_images.npy`` and
``test_labels.npy``, or as IDX files, ``fog-images-idx3-ubyte.gz`` and one ``labels-idx1-ubyte.gz``
for all. One column per checkpoint, such as three seeds of one recipe. Images are read as they are.
The rows are for the record and choose nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import conditions
from digitcnn.analysis.predictions import predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import read_idx
from digitcnn.intervals import wilson_interval
from digitcnn.network.checkpoint import load

# What in training a corruption resembles: a kind in ``digits.distortions``, or ``Augmentation``.
RESEMBLES = {
    "shot_noise": "speckle, grain: noise that grows with the ink",
    "impulse_noise": "wrong pixels: nearly the same",
    "glass_blur": "frayed: pixels that change places",
    "motion_blur": "smear: blur along a path",
    "shear": "far: nearly the same",
    "scale": "far: nearly the same",
    "rotate": "far: nearly the same",
    "translate": "far: nearly the same",
    "brightness": "levels: grey paper",
    "stripe": "inverted: bands on dark ground",
    "fog": "haze: smooth fields",
    "spatter": "blotches: drops of ink",
    "dotted_line": "lines: some are dashed",
    "zigzag": "lines: some bend",
    "canny_edges": "outline: edges of the stroke",
}
UNCHANGED = "identity"


def corrupted_sets(folder: Path) -> Iterator[DigitSet]:
    """Each corruption in ``folder``, the unchanged images last where they are there."""
    labels = folder / "labels-idx1-ubyte.gz"
    for name in (*RESEMBLES, UNCHANGED):
        idx, published = folder / f"{name}-images-idx3-ubyte.gz", folder / name / "test_images.npy"
        if idx.is_file():
            yield DigitSet(read_idx(idx, 3), read_idx(labels, 1), name, "test")
        elif published.is_file():
            images = torch.from_numpy(np.load(published).reshape(-1, 28, 28).astype(np.uint8))
            digits = torch.from_numpy(np.load(folder / name / "test_labels.npy").astype(np.uint8))
            yield DigitSet(images, digits, name, "test")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args(arguments)
    networks = [load(path).network for path in args.checkpoints]
    print(f"{conditions()}; {', '.join(path.stem for path in args.checkpoints)}")
    print("| corruption | in training | first, error in % (95% interval) | each | mean |")
    print("|---|---|---|---|---|")
    rows = []
    for digits in corrupted_sets(args.folder):
        wrong = [int((~predict(network, digits).right).sum()) for network in networks]
        errors = [100 * count / len(digits) for count in wrong]
        low, high = (100 * end for end in wilson_interval(wrong[0], len(digits)))
        if digits.name != UNCHANGED:
            rows.append(errors)
        print(
            f"| {digits.name} | {RESEMBLES.get(digits.name, '')} | {errors[0]:.1f} ({low:.1f} to "
            f"{high:.1f}) | {' '.join(f'{error:.1f}' for error in errors)} | "
            f"{statistics.mean(errors):.2f} |"
        )
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    spread = f" ± {statistics.stdev(means):.2f}" if len(means) > 1 else ""
    each = " ".join(f"{mean:.2f}" for mean in means)
    mean = f"{statistics.mean(means):.2f}{spread}"
    print(f"| mean of {len(rows)} | | {means[0]:.2f} | {each} | {mean} |")


if __name__ == "__main__":
    main()
