"""Why a CNN? Accuracy of the networks that can be trained, on unchanged and distorted images.

    python -m benchmarks.networks CHECKPOINT ... [--data-dir DIR]

CHECKPOINT: of any networks and seeds, such as those of ``train --network mlp --seeds 3``. Prints a
table with one row per network: MNIST's test images, unchanged and with one distortion at a time. No
choice is based on it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import conditions, options
from digitcnn.analysis.axes import AXES
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.folders import data_folder
from digitcnn.intervals import wilson_interval
from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.checkpoint import Checkpoint, load

# Name of an axis and strength.
DISTORTIONS = (("shift", 4.0), ("rotation", 30.0), ("noise", 0.4))


def columns(test: DigitSet) -> dict[str, DigitSet]:
    """Return title and images of each column: the test images unchanged, then distorted."""
    axes = {axis.name: axis for axis in AXES}
    distorted = {
        f"{name} {axes[name].text(strength)}": replace(
            test, images=axes[name].apply(test.images, strength)
        )
        for name, strength in DISTORTIONS
    }
    return {"unchanged": test, **distorted}


def cell(checkpoints: Sequence[Checkpoint], digits: DigitSet) -> str:
    """Mean and standard deviation over the seeds, and the 95% interval of the first, in percent."""
    right = [int(predict(loaded.network, digits).right.sum()) for loaded in checkpoints]
    shares = [100 * count / len(digits) for count in right]
    spread = f" ± {statistics.stdev(shares):.2f}" if len(shares) > 1 else ""
    low, high = (100 * end for end in wilson_interval(right[0], len(digits)))
    return f"{statistics.mean(shares):.2f}{spread} ({low:.2f} to {high:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)
    by_network: dict[str, list[Checkpoint]] = defaultdict(list)
    for path in args.checkpoints:
        loaded = load(path)
        by_network[loaded.architecture].append(loaded)
    sets = columns(Catalog(data_folder(args.data_dir)).open("mnist", "test"))
    print(f"{conditions()}; mean ± deviation of the seeds (95% interval of the first seed), in %")
    print(f"| network | parameters | seeds | {' | '.join(sets)} |")
    print("|---" * (len(sets) + 3) + "|")
    for name in ARCHITECTURES:
        if seeds := by_network[name]:
            count = sum(values.numel() for values in seeds[0].network.parameters())
            cells = " | ".join(cell(seeds, digits) for digits in sets.values())
            print(f"| {name} | {count:,} | {len(seeds)} | {cells} |")


if __name__ == "__main__":
    main()
