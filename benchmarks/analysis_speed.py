"""Speed of everything after training, each against the plain way to do it.

    python -m benchmarks.analysis_speed [--data-dir DIR] [--rounds N]

- evaluating 50,000 images against the same network in PyTorch's own order, float32, batches of
  1,000, contiguous tensors; the answers are compared as well;
- 32 stability passes over 40,000 images against 32 passes of the whole network with dropout on;
- from MNIST's four files to the first augmented batch, against ``torchvision.datasets.MNIST`` with
  its transforms over all images;
- the nine figures of two sets of 10,000 images, in seconds.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from benchmarks.measuring import (
    conditions,
    in_turn,
    lay_for_torchvision,
    options,
    repeated,
    seconds,
)
from benchmarks.training_speed import plain_transform
from digitcnn.analysis import figures
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.predictions import predict
from digitcnn.analysis.stability import passes
from digitcnn.digits.augment import Augmentation, augment
from digitcnn.digits.catalog import Catalog
from digitcnn.folders import SHIPPED_FILE, data_folder
from digitcnn.network.checkpoint import load
from digitcnn.network.model import DigitCNN
from digitcnn.options import FIGURES
from digitcnn.training.config import TrainingConfig


@torch.no_grad()
def plain_answers(network: DigitCNN, images: Tensor) -> Tensor:
    """What a tutorial does: batches of 1,000 as floats, one after the other."""
    return torch.cat(
        [network(network.prepare(batch)).argmax(dim=1) for batch in images.split(1000)]
    )


@torch.no_grad()
def full_pass(network: DigitCNN, images: Tensor, labels: Tensor) -> float:
    """One pass of stability the plain way: the whole network with dropout on."""
    network.dropout.train()
    try:
        return float((plain_answers(network, images) == labels).float().mean())
    finally:
        network.dropout.eval()


def first_batch(data: Path) -> None:
    training = Catalog(data).open("mnist", "train")
    Catalog(data).open("mnist", "test")
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(training), generator=generator)
    batch = training.images[order[: TrainingConfig().batch_size]]
    augment(batch, Augmentation(), generator)


def torchvision_batches(data: Path, share: int) -> float:
    """Seconds that torchvision needs for all images, measured on one in ``share`` of them."""
    with tempfile.TemporaryDirectory() as folder:
        lay_for_torchvision(data, Path(folder))
        opened = seconds(lambda: torchvision.datasets.MNIST(folder, train=True))
        images = torchvision.datasets.MNIST(folder, train=True, transform=plain_transform())
        chosen = range(0, len(images), share)
        return opened + share * seconds(lambda: [images[i] for i in chosen])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    data = data_folder(args.data_dir)
    checkpoint = load(SHIPPED_FILE)
    network = checkpoint.network
    assert isinstance(network, DigitCNN)
    test = Catalog(data).open("mnist", "test")
    many, stable = repeated(test, 50_000), repeated(test, 40_000)
    print(conditions())
    print(f"{args.rounds} rounds, median\n")
    print("| what | plain | here | times as fast |\n|---|---|---|---|")

    def row(what: str, plain: float, ours: float) -> None:
        print(f"| {what} | {plain:.2f} s | {ours:.2f} s | {plain / ours:.1f} |", flush=True)

    times = in_turn(
        {
            "plain": lambda: seconds(lambda: plain_answers(network, many.images)),
            "ours": lambda: seconds(lambda: predict(network, many, keep_features=False)),
        },
        args.rounds,
    )
    row("evaluating 50,000 images", times["plain"], times["ours"])
    fast = predict(network, many, keep_features=False).predicted
    different = int((fast != plain_answers(network, many.images)).sum())

    predictions = predict(network, stable)
    # One full pass stands for 32: every one takes the same.
    times = in_turn(
        {
            "plain": lambda: (
                32 * seconds(lambda: full_pass(network, stable.images, stable.labels.long()))
            ),
            "ours": lambda: seconds(lambda: list(passes(network, predictions, 32))),
        },
        1,
    )
    row("32 stability passes over 40,000", times["plain"], times["ours"])
    features = seconds(lambda: predict(network, stable))
    row("the same, features computed first", times["plain"], times["ours"] + features)

    times = in_turn(
        {
            "plain": lambda: torchvision_batches(data, 20),
            "ours": lambda: seconds(lambda: first_batch(data)),
        },
        args.rounds,
    )
    row("MNIST's files to the first augmented batch", times["plain"], times["ours"])

    with tempfile.TemporaryDirectory() as folder:
        sets = [test, dataclasses.replace(test, name="mnist again")]

        def draw_nine() -> None:
            predictions = [predict(network, digits) for digits in sets]
            details = checkpoint.details
            findings = Findings(
                checkpoint.name,
                network,
                sets,
                predictions,
                temperature=checkpoint.temperature,
                calibrated=checkpoint.calibrated,
                history=details.history,
                trained_on=details.digits,
            ).with_stability(12)
            for name in FIGURES:
                figures.save(name, findings, Path(folder))

        drawn = seconds(draw_nine)
    print(f"| nine figures of two sets of 10,000, predictions included | | {drawn:.2f} s | |")
    print(f"\n{different} of 50,000 answers differ from the plain way's.")


if __name__ == "__main__":
    main()
