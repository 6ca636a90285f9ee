"""Time to 99.3% on MNIST's held-out images, against PyTorch's own MNIST example.

    python -m benchmarks.time_to_accuracy [--data-dir DIR] [--seeds N] [--baselines N] [--epochs N]

From the start of the process, MNIST on the disk, on the CPU. Both train on the first 55,000 images
and are evaluated on the last 5,000. Here: to the end of a short ``train`` for each seed, with its
evaluation of the held-out and test images. The example (``mnist_example``): to the end of the first
epoch after which it has 99.3%, with an evaluation of the held-out images after every epoch; if it
does not get there within --epochs (14), their time is a lower bound. The two take turns: a run of
the example, then one of ours, as long as there are any of both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import conditions, lay_for_torchvision, options
from digitcnn.folders import data_folder
from digitcnn.training.run_results import RunResults

GOAL = 0.993
RECIPE = ["--epochs", "4", "--batch-size", "128", "--learning-rate", "0.006"]
RECIPE += ["--augmentation", "off"]
BRIEF = ["--no-viz", "--no-stability", "--no-save"]


def ours(data: Path, seed: int) -> tuple[float, float]:
    """Seconds of the whole process, and the accuracy on the held-out images."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "digitcnn", "train", "--digits", "mnist", *RECIPE, *BRIEF]
        command += ["--seed", str(seed), "--data-dir", str(data), "--json", "--device", "cpu"]
        command += ["--output-dir", folder, "--checkpoint-dir", folder, "--name", "timed"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took = time.perf_counter() - started
        return took, RunResults(Path(folder) / "timed").history()[-1].accuracy


def example(folder: Path, seed: int, epochs: int) -> tuple[float, float, int]:
    """Seconds until it has the goal, or in all; its accuracy then, and the epochs it took."""
    command = [sys.executable, "-m", "benchmarks.mnist_example", str(folder), "--seed", str(seed)]
    command += ["--epochs", str(epochs)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            number, fraction = line.split()
            epoch, accuracy = int(number), float(fraction)
            took = time.perf_counter() - started
            if accuracy >= GOAL:
                process.kill()
                break
    return took, accuracy, epoch


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs here, with the seeds from 0 on")
    parser.add_argument("--baselines", type=int, default=1, help="runs of the example")
    parser.add_argument("--epochs", type=int, default=14, help="most epochs of the example")
    args = parser.parse_args(arguments)
    data = data_folder(args.data_dir)
    print(f"{conditions()}; recipe here: {' '.join(RECIPE)}\n")
    print("| what | seed | epochs | MNIST held out, % | s |\n|---|---|---|---|---|", flush=True)
    examples, runs = [], []
    with tempfile.TemporaryDirectory() as name:
        lay_for_torchvision(data, Path(name))
        for seed in range(max(args.seeds, args.baselines)):
            if seed < args.baselines:
                took, accuracy, epochs = example(Path(name), seed + 1, args.epochs)
                examples.append(took)
                print(
                    f"| the example | {seed + 1} | {epochs} | {100 * accuracy:.2f} | {took:.1f} |",
                    flush=True,
                )
            if seed < args.seeds:
                took, accuracy = ours(data, seed)
                runs.append((took, accuracy))
                print(
                    f"| digitcnn | {seed} | {RECIPE[1]} | {100 * accuracy:.2f} | {took:.1f} |",
                    flush=True,
                )
    times, accuracies = zip(*runs, strict=True)
    mean = statistics.mean(accuracies)
    print(f"\nmean of {len(runs)} seeds here: {statistics.mean(times):.1f} s to {100 * mean:.2f}%")
    if examples:
        ratio = statistics.mean(examples) / statistics.mean(times)
        print(f"{ratio:.1f} times as fast as the example")
    if mean < GOAL:
        print(f"That is short of {100 * GOAL:.1f}%: the recipe does not reach the goal.")


if __name__ == "__main__":
    main()
