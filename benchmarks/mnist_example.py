"""PyTorch's MNIST example, rewritten: the baseline of ``time_to_accuracy``.

    python -m benchmarks.mnist_example FOLDER [--epochs N] [--seed N]

After ``examples/mnist`` of github.com/pytorch/examples (BSD licence): two convolutions without
padding, pooling, dropout, two linear layers; Adadelta from a rate of 1.0 that falls by 0.7 after
each epoch; batches of 64 through a DataLoader that turns every image into a tensor of its own. It
trains on the first 55,000 images, and is evaluated on the last 5,000 after every epoch. One line
per epoch: its number and that accuracy as a fraction.

FOLDER holds MNIST as torchvision lays it out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

HELD_OUT = 5000


class ExampleNetwork(nn.Module):
    """1,199,882 parameters; log-probabilities [N, 10] for images [N, 1, 28, 28]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(
            nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return functional.log_softmax(self.head(self.convolutions(images)), dim=1)


def accuracies(folder: Path, epochs: int, seed: int) -> Iterator[float]:
    """The accuracy on the held-out images after each epoch."""
    torch.manual_seed(seed)
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    digits = datasets.MNIST(folder, train=True, transform=transform)
    last = len(digits) - HELD_OUT
    training = DataLoader(Subset(digits, range(last)), 64, shuffle=True)
    held_out = DataLoader(Subset(digits, range(last, len(digits))), 1000)
    network = ExampleNetwork()
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(epochs):
        network.train()
        for images, labels in training:
            optimizer.zero_grad()
            functional.nll_loss(network(images), labels).backward()
            optimizer.step()
        schedule.step()
        network.eval()
        with torch.no_grad():
            right = sum(
                int((network(images).argmax(1) == labels).sum()) for images, labels in held_out
            )
        yield right / HELD_OUT


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    for epoch, accuracy in enumerate(accuracies(args.folder, args.epochs, args.seed), 1):
        print(epoch, accuracy, flush=True)


if __name__ == "__main__":
    main()
