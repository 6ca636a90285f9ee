"""Time to 99.0% on MNIST's test images, against PyTorch's own MNIST example.

    python -m benchmarks.time_to_99 [--data-dir DIR] [--seeds N] [--baselines N]

From the start of the process, MNIST on the disk, on the CPU. Here: to the end of a short ``train``
for each seed, scoring of the held-out and test images included. Its recipe was chosen on the
held-out images; whether it reaches 99.0% on the test images is looked at once, at its end. The
example (``mnist_example``): to the first epoch after which it has 99.0%, its own scoring of the
test images after every epoch included. They take turns: a run of the example, then one of ours, as
long as there are any of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import conditions, lay_for_torchvision
from digitcnn.folders import data_folder

GOAL = 0.99
RECIPE = ["--epochs", "1", "--batch-size", "128", "--learning-rate", "0.006"]
RECIPE += ["--augmentation", "off"]
BRIEF = ["--no-viz", "--no-stability", "--no-save"]


def ours(data: Path, seed: int) -> tuple[float, float]:
    """Seconds of the whole process, and the accuracy on the test images."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "digitcnn", "train", "--digits", "mnist", *RECIPE, *BRIEF]
        command += ["--seed", str(seed), "--data-dir", str(data), "--json", "--device", "cpu"]
        command += ["--output-dir", folder, "--checkpoint-dir", folder]
        started = time.perf_counter()
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        took = time.perf_counter() - started
    return took, json.loads(done.stdout)["metrics"]["mnist"]["accuracy"]


def example(folder: Path, seed: int) -> tuple[float, float, int]:
    """Seconds until it has the goal, its accuracy then, and after how many epochs that was."""
    command = [sys.executable, "-m", "benchmarks.mnist_example", str(folder), "--seed", str(seed)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            epoch, accuracy = line.split()
            if float(accuracy) >= GOAL:
                took = time.perf_counter() - started
                process.kill()
                return took, float(accuracy), int(epoch)
    raise SystemExit(f"The example, seed {seed}, did not reach {GOAL:.1%} in its 14 epochs.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3, help="runs here, with the seeds from 0 on")
    parser.add_argument("--baselines", type=int, default=1, help="runs of the example")
    args = parser.parse_args(arguments)
    data = data_folder(args.data_dir)
    print(f"{conditions()}; recipe here: {' '.join(RECIPE)}\n")
    print("| what | seed | epochs | MNIST test, % | s |\n|---|---|---|---|---|", flush=True)
    examples, runs = [], []
    with tempfile.TemporaryDirectory() as name:
        lay_for_torchvision(data, Path(name))
        for seed in range(max(args.seeds, args.baselines)):
            if seed < args.baselines:
                took, accuracy, epochs = example(Path(name), seed + 1)
                examples.append(took)
                print(
                    f"| the example | {seed + 1} | {epochs} | {100 * accuracy:.2f} | {took:.1f} |"
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
    print(
        f"\nmean of {len(runs)} seeds here: {statistics.mean(times):.1f} s to {100 * mean:.2f}%, "
        f"{statistics.mean(examples) / statistics.mean(times):.1f} times as fast as the example"
    )
    if mean < GOAL:
        print(f"That is short of {100 * GOAL:.1f}%: the recipe does not reach the goal.")


if __name__ == "__main__":
    main()
