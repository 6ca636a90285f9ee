"""Speed of training on this machine: against the plain loop, and against the machine's own limit.

    python -m benchmarks.training_speed [--data-dir DIR] [--rounds N] [--images N]

The plain loop is what a tutorial has: MNIST through torchvision, each image turned, shifted, scaled
and sheared on its own as a PIL image, a DataLoader, Adam, float32, ReLU before pooling, batches of
64. Every round times each contender once, one after the other, over the same number of images; the
table shows the median of the rounds, scaled to an epoch of 60,000 images. The limit is the time
that the multiplications alone take: 4.845 million per image forwards and twice that backwards, at
the speed of a large matrix product in the precision that training uses.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.measuring import conditions, in_turn, options
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.folders import data_folder
from digitcnn.network.device import Compute, choose
from digitcnn.network.model import MNIST_MEAN, MNIST_STD
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import StepProgress
from digitcnn.training.loop import train

EPOCH = 60_000
MULTIPLY_ADDS = 4.845e6 * 3


class PlainNetwork(nn.Sequential):
    """The same layers in the usual order: convolution, batch norm, ReLU, then pooling."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 320), nn.ReLU(), nn.Dropout(0.4), nn.Linear(320, 10),
        )  # fmt: skip


def plain_transform() -> v2.Compose:
    """What a tutorial does to each PIL image: augment it, and scale it for the network."""
    return v2.Compose(
        [
            v2.RandomAffine(12, translate=(0.08, 0.08), scale=(0.85, 1.15), shear=11),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([MNIST_MEAN], [MNIST_STD]),
        ]
    )


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's MNIST gives them: one PIL image at a time, then the transforms."""

    def __init__(self, digits: DigitSet, images: int) -> None:
        self.images, self.labels = digits.images[:images], digits.labels[:images]
        self.to_picture = v2.ToPILImage()
        self.transform = plain_transform()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.to_picture(self.images[index])), int(self.labels[index])


def plain_loop(
    digits: DigitSet, images: int, workers: int, device: torch.device | str = "cpu"
) -> float:
    """Seconds for one pass over so many images; the network computes on ``device``."""
    torch.manual_seed(0)
    network = PlainNetwork().to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(PlainImages(digits, images), 64, shuffle=True, num_workers=workers)
    started = time.perf_counter()
    for batch, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(batch.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
    float(loss.detach())  # waits for the device
    return time.perf_counter() - started


def our_loop(
    training: DigitSet, held_out: DigitSet, images: int, batch_size: int, compute: Compute
) -> float:
    """Seconds for steps over so many images, with their share of what an epoch's end takes."""
    config = TrainingConfig(digits=training.name, epochs=1, batch_size=batch_size)
    subset = dataclasses.replace(
        training, images=training.images[:images], labels=training.labels[:images]
    )
    stepped = started = time.perf_counter()
    for progress in train(config, subset, held_out, compute):
        if isinstance(progress, StepProgress):
            stepped = time.perf_counter()
    scoring = time.perf_counter() - stepped
    steps = images // batch_size * batch_size
    return (stepped - started) * images / steps + scoring * images / EPOCH


def floor(images: int, compute: Compute) -> float:
    """Seconds for the multiplications of so many images, at the speed of a large product."""
    dtype = compute.autocast or torch.float32
    a, b = (torch.randn(2048, 2048, device=compute.device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        c = a @ b
        float(c[0, 0])
        best = min(best, time.perf_counter() - started)
    return images * MULTIPLY_ADDS / (2048**3 / best)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=6400, help="images per timing")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(arguments)
    compute = choose(args.device)
    mnist = Catalog(data_folder(args.data_dir)).open("mnist", "train")
    training, held_out = split_held_out(mnist)
    batch_size = TrainingConfig().batch_size
    contenders: dict[str, Callable[[], float]] = {
        "plain loop, batch 64": lambda: plain_loop(training, args.images, 0),
        "plain loop, batch 64, 2 workers": lambda: plain_loop(training, args.images, 2),
        "digitcnn, batch 64": lambda: our_loop(training, held_out, args.images, 64, compute),
        f"digitcnn, batch {batch_size}": lambda: our_loop(
            training, held_out, args.images, batch_size, compute
        ),
        "the multiplications alone": lambda: floor(args.images, compute),
    }
    epoch = {
        name: seconds * EPOCH / args.images
        for name, seconds in in_turn(contenders, args.rounds).items()
    }
    plain = min(epoch["plain loop, batch 64"], epoch["plain loop, batch 64, 2 workers"])
    limit = epoch["the multiplications alone"]
    print(f"{compute}; {conditions()}, torchvision {torchvision.__version__}")
    print(f"{args.rounds} rounds of {args.images:,} images, median\n")
    print("| contender | s per 60,000 images | times the plain loop's speed | times the limit |")
    print("|---|---|---|---|")
    for name, seconds in epoch.items():
        print(f"| {name} | {seconds:.1f} | {plain / seconds:.2f} | {seconds / limit:.2f} |")
    recipe = TrainingConfig()
    whole = recipe.epochs * epoch[f"digitcnn, batch {batch_size}"] * len(training) / EPOCH
    print(
        f"\nThe default run, {recipe.epochs} epochs of {len(training):,} images: {whole:.0f} s, as "
        f"long as {whole / plain:.1f} epochs of the plain loop; start and closing come on top."
    )


if __name__ == "__main__":
    main()
