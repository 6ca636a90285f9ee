"""What training and evaluating cost against images, batch size and threads.

    python -m benchmarks.scaling [--data-dir DIR] [--most N]

One epoch of the default recipe on a training file of so many images, a twelfth of it held out as
always, with all that an epoch's end does; and one evaluation of as many images by the model that
ships. Sets larger than MNIST are its images again and again: the cost does not depend on what they
show. Batch sizes and threads are compared on 15,000 images. Microseconds per image make visible
where the cost stops being in proportion: with few images what an epoch's end does once weighs more
(at most 5,000 images for the batch-norm statistics), with small batches what a step costs whatever
it holds (the optimiser's pass over a million weights, starting every operation).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch

from benchmarks.measuring import conditions, options, repeated, seconds
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.folders import SHIPPED_FILE, data_folder
from digitcnn.network.checkpoint import load
from digitcnn.network.device import choose
from digitcnn.network.model import Network
from digitcnn.training.config import TrainingConfig
from digitcnn.training.loop import train

IMAGES = (1_000, 3_750, 15_000, 60_000, 240_000)
COMPARED = 15_000
BATCH_SIZES = (16, 64, 256, 1024, 4096)


def epoch_seconds(mnist: DigitSet, images: int, batch_size: int) -> float:
    training, held_out = split_held_out(repeated(mnist, images))
    config = TrainingConfig(digits=mnist.name, epochs=1, batch_size=batch_size)
    return seconds(lambda: list(train(config, training, held_out, choose("cpu"))))


def evaluation_seconds(network: Network, mnist: DigitSet, images: int) -> float:
    digits = repeated(mnist, images)
    return seconds(lambda: predict(network, digits, keep_features=False))


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 and so on, and all of them."""
    return sorted({1 << k for k in range(cores.bit_length()) if 1 << k <= cores} | {cores})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--most", type=int, default=IMAGES[-1], help="images of the largest set")
    args = parser.parse_args(arguments)
    mnist = Catalog(data_folder(args.data_dir)).open("mnist", "train")
    network = load(SHIPPED_FILE).network
    batch_size, threads = TrainingConfig().batch_size, torch.get_num_threads()
    few = min(COMPARED, args.most)
    # Buffers, kernels and the allocator's memory are there before anything is timed.
    epoch_seconds(mnist, 1_000, batch_size)
    evaluation_seconds(network, mnist, 1_000)
    print(f"{conditions()}; seed 0, each figure once\n")

    def row(first: str, took: float, images: int) -> None:
        print(f"| {first} | {took:.2f} | {1e6 * took / images:.0f} |", flush=True)

    costs: dict[str, Callable[[int], float]] = {
        f"one epoch, batch {batch_size}": lambda n: epoch_seconds(mnist, n, batch_size),
        "evaluating": lambda n: evaluation_seconds(network, mnist, n),
    }
    for what, cost in costs.items():
        print(f"| {what}: images | s | µs per image |\n|---|---|---|")
        for images in (n for n in IMAGES if n <= args.most):
            again = ", MNIST's repeated" if images > len(mnist) else ""
            row(f"{images:,}{again}", cost(images), images)
        print()
    print(f"| one epoch, {few:,} images: batch size | s | µs per image |\n|---|---|---|")
    for size in BATCH_SIZES:
        row(f"{size:,}", epoch_seconds(mnist, few, size), few)
    print(f"\n| {few:,} images: threads | s | µs per image |\n|---|---|---|")
    for count in thread_counts(os.cpu_count() or 1):
        torch.set_num_threads(count)
        row(f"one epoch, {count}", epoch_seconds(mnist, few, batch_size), few)
        row(f"evaluating, {count}", evaluation_seconds(network, mnist, few), few)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
