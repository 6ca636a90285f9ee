"""Measure a plain CNN on MNIST-C, and write the errors that ``evaluate`` compares others with.

    python -m benchmarks.mnist_c_plain FOLDER [--data-dir DIR] [--epochs N] [--seed N]

Two 3x3 convolutions of 32 and 64, pooling, a linear layer of 128: the network of PyTorch's MNIST
example without its dropout. Four epochs of Adam over MNIST's 60,000 training images, batches of
256, no augmentation. FOLDER holds MNIST-C as IDX files, one of images per corruption and one of
labels, and ``index-in-mnist-test.txt`` where it is a sample of MNIST's test images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measuring import options
from digitcnn.analysis.mnist_c import PLAIN_FILE
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.idx import read_idx
from digitcnn.digits.names import CORRUPTIONS
from digitcnn.folders import data_folder
from digitcnn.network.model import MNIST_MEAN, MNIST_STD

BATCH = 256


def plain_network() -> nn.Sequential:
    """Ten logits for [N, 1, 28, 28]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def prepared(images: Tensor) -> Tensor:
    pixels = (images.unsqueeze(1).float() / 255 - MNIST_MEAN) / MNIST_STD
    return pixels.to(memory_format=torch.channels_last)


def trained(images: Tensor, labels: Tensor, epochs: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = plain_network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for epoch in range(epochs):
        for chosen in torch.randperm(len(images)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(prepared(images[chosen]))
            optimizer.zero_grad()
            functional.cross_entropy(logits.float(), labels[chosen].long()).backward()
            optimizer.step()
        print(f"epoch {epoch + 1} of {epochs}", flush=True)
    return network.eval()


@torch.inference_mode()
def error(network: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    right = sum(
        int((network(prepared(part)).argmax(1) == truth).sum())
        for part, truth in zip(images.split(500), labels.split(500), strict=True)
    )
    return round(1 - right / len(labels), 6)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    catalog = Catalog(data_folder(args.data_dir))
    training, test = (catalog.open("mnist", split) for split in ("train", "test"))
    network = trained(training.images, training.labels, args.epochs, args.seed)
    labels = read_idx(args.folder / "labels-idx1-ubyte.gz", dimensions=1)
    errors = {
        name: error(network, read_idx(args.folder / f"{name}-images-idx3-ubyte.gz"), labels)
        for name in CORRUPTIONS
    }
    content = {
        "network": "two 3x3 convolutions of 32 and 64, max pooling, linear 128, linear 10",
        "training": f"{args.epochs} epochs of Adam over MNIST's 60,000 training images, batches "
        f"of {BATCH}, no augmentation, seed {args.seed}",
        "measured": f"{len(labels):,} of MNIST's test images under the fifteen corruptions of "
        "google-research/mnist-c at their default severities; python -m benchmarks.mnist_c_plain",
        "mnist_test_error": error(network, test.images, test.labels),
        "errors": errors,
    }
    PLAIN_FILE.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
