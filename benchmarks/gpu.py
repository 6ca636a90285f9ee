"""Training on a GPU: is it right, how fast is it, and how much memory does it take.

    python -m benchmarks.gpu [--data-dir DIR] [--json FILE] [--device auto|cpu|cuda|mps]

Meant for one CUDA card without a network, in under eight minutes; it runs on any device. One table
names the card, and ``--json`` writes the same rows to a file. A row that fails says why, the others
are still measured, and the exit status is 1.

- Correctness: one batch forward and backward in float32, and the shipped model's answers to the
  held-out images in the device's own precision, both against the CPU in float32.
- Steps per second of the optimisation step alone, augmentation included; on CUDA also with the
  network's forward and backward pass as CUDA graphs (``torch.cuda.make_graphed_callables``). Beside
  it the plain loop of ``benchmarks.training_speed``, with two workers that load its images.
- One default training: seconds until the held-out accuracy is 99.0%, 99.5%, and to its end, with
  the largest allocation on the device and the largest resident memory of the process.
- Where the machine has several cards, two epochs by one process and by two that torchrun starts.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measuring import conditions, options
from benchmarks.training_speed import plain_loop
from digitcnn.analysis.predictions import predict
from digitcnn.digits.augment import Augmentation
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.training_images import open_training_images
from digitcnn.folders import SHIPPED_FILE, data_folder
from digitcnn.network.checkpoint import load
from digitcnn.network.device import Compute, choose
from digitcnn.network.model import DigitCNN
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochEnd
from digitcnn.training.loop import train
from digitcnn.training.step import TrainingStep, autocast

BATCH_SIZES = (64, 256, 1024)
WARM_UP = 10
GOALS = (0.990, 0.995)


@dataclass(frozen=True)
class Row:
    """One figure of the table; ``value`` is None where there is none, and ``note`` says why."""

    what: str
    value: float | None
    unit: str
    note: str = ""

    def __str__(self) -> str:
        value = "-" if self.value is None else f"{self.value:.4g} {self.unit}".rstrip()
        return f"| {self.what} | {value} | {self.note} |"


@dataclass(frozen=True)
class Task:
    """What is measured: on which device, with which images, and how much of it.

    steps: per timing. epochs: of the training. processes: that torchrun starts; 1 for none.
    """

    compute: Compute
    training: DigitSet
    held_out: DigitSet
    data: Path
    steps: int
    epochs: int
    processes: int


def wait(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def same_results(task: Task) -> Iterator[Row]:
    """Compare logits, gradients and answers with those of the CPU in float32."""
    ours, theirs = (one_step(task.training, device) for device in (task.compute.device, "cpu"))
    for what, here, there in zip(("logits", "gradients"), ours, theirs, strict=True):
        difference = float((here - there).abs().max() / there.abs().max())
        yield Row(
            f"float32 {what} against the CPU's", difference, "", "largest difference / largest"
        )
    network = load(SHIPPED_FILE).network
    expected = predict(network, task.held_out, keep_features=False).logits.argmax(1)
    device_copy = copy.deepcopy(network).to(task.compute.device)
    with torch.inference_mode(), autocast(task.compute):
        answers = torch.cat(
            [
                device_copy.logits(images.to(task.compute.device)).argmax(1).cpu()
                for images in task.held_out.images.split(500)
            ]
        )
    yield Row(
        "answers that equal the CPU's",
        100 * float((answers == expected).float().mean()),
        "%",
        f"the shipped model, {len(answers):,} held-out images, {task.compute.precision}",
    )


def one_step(digits: DigitSet, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return logits [256, 10] and all gradients, flattened, in float32 without TF32, on the CPU."""
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).to(device).train()
    network.dropout = None  # type: ignore[assignment]  # its masks differ from device to device
    images, labels = digits.images[:256].to(device), digits.labels[:256].to(device).long()
    precision = torch.get_float32_matmul_precision()
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        logits = network(network.prepare(images))
        functional.cross_entropy(logits, labels).backward()
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
    gradients = [
        weight.grad.flatten() for weight in network.parameters() if weight.grad is not None
    ]
    return logits.detach().cpu(), torch.cat(gradients).cpu()


def speed(task: Task) -> Iterator[Row]:
    """Steps and images per second, with and without CUDA graphs, and those of the plain loop."""
    images = min(12_800, len(task.training))
    for batch_size in BATCH_SIZES:
        if batch_size > len(task.training):
            continue
        yield steps_per_second(task, batch_size, graphs=False)
        if task.compute.device.type == "cuda":
            yield steps_per_second(task, batch_size, graphs=True)
    plain = plain_loop(task.training, images, 2, task.compute.device)
    yield Row(
        "plain loop, batch 64",
        images / 64 / plain,
        "steps/s",
        f"{images / plain:,.0f} images/s, 2 workers",
    )


def steps_per_second(task: Task, batch_size: int, *, graphs: bool) -> Row:
    """Time the optimisation step on batches that lie on the device."""
    compute, device = task.compute, task.compute.device
    generator = torch.Generator(device).manual_seed(0)
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).to(device).train()
    network.to(memory_format=torch.channels_last)
    network.draw_dropout_from(None if graphs else generator)
    images, labels = task.training.images.to(device), task.training.labels.to(device).long()
    order = torch.randperm(len(images), device=device, generator=generator)
    learner: nn.Module = network
    if graphs:
        # A graph may hold no cast weight that autocast keeps for another forward pass.
        with torch.autocast(
            device.type, compute.autocast, enabled=compute.autocast is not None, cache_enabled=False
        ):
            sample = network.prepare(images[:batch_size])
            learner = cast(nn.Module, torch.cuda.make_graphed_callables(network, (sample,)))
    step = TrainingStep(
        network=network,
        learner=learner,
        optimizer=torch.optim.AdamW(network.parameters(), fused=device.type != "mps"),
        compute=compute,
        steps=WARM_UP + task.steps,
        peak=1e-3,
        augmentation=Augmentation(),
        generator=generator,
    )
    started = 0.0
    for number in range(WARM_UP + task.steps):
        if number == WARM_UP:
            wait(device)
            started = time.perf_counter()
        batch = order[torch.arange(batch_size, device=device).add(number * batch_size) % len(order)]
        logits = step.update(number, images[batch], labels[batch])
    wait(device)
    rate = task.steps / (time.perf_counter() - started)
    if not bool(torch.isfinite(logits).all()):
        raise RuntimeError("the logits are not finite")
    return Row(
        f"digitcnn, batch {batch_size}{', CUDA graphs' if graphs else ''}",
        rate,
        "steps/s",
        f"{rate * batch_size:,.0f} images/s",
    )


def default_training(task: Task) -> Iterator[Row]:
    """Train once, and note when the goals were reached and the memory that it took."""
    device = task.compute.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    config = TrainingConfig(digits=task.training.name, epochs=task.epochs)
    reached: dict[float, float] = {}
    started, accuracy = time.perf_counter(), 0.0
    for event in train(config, task.training, task.held_out, task.compute):
        if isinstance(event, EpochEnd):
            accuracy = event.result.accuracy
            for goal in GOALS:
                if accuracy >= goal:
                    reached.setdefault(goal, time.perf_counter() - started)
    took = time.perf_counter() - started
    for goal in GOALS:
        note = "" if goal in reached else f"not reached in {task.epochs} epochs"
        yield Row(f"to {goal:.1%} of the held-out images", reached.get(goal), "s", note)
    yield Row(
        f"the default training, {task.epochs} epochs",
        took,
        "s",
        f"{accuracy:.2%} of {len(task.held_out):,} held-out images, seed 0",
    )
    if device.type == "cuda":
        yield Row("largest allocation on the card", torch.cuda.max_memory_allocated() / 1e6, "MB")
    yield Row("largest resident memory of the process", resident_megabytes(), "MB")


def resident_megabytes() -> float | None:
    """Return the process's largest resident memory so far; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def several_processes(task: Task) -> Iterator[Row]:
    """Time two epochs by one process and by several, starting them not included."""
    if task.processes < 2:
        yield Row("several processes under torchrun", None, "", "this machine has fewer cards")
        return
    times = {count: torchrun_seconds(task, count) for count in (1, task.processes)}
    for count, took in times.items():
        note = "" if count == 1 else f"{times[1] / took:.2f} times as fast as one"
        yield Row(f"two epochs, {count} under torchrun", took, "s", note)


def torchrun_seconds(task: Task, processes: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(processes), "-m", "digitcnn", "train", "--epochs", "2"]
        command += ["--digits", task.training.name, "--no-viz", "--no-stability", "--no-save"]
        command += ["--train-images", str(len(task.training)), "--data-dir", str(task.data)]
        command += ["--device", task.compute.device.type, "--output-dir", folder]
        command += ["--checkpoint-dir", folder, "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout)["seconds"])


Part = Callable[[Task], Iterator[Row]]
PARTS: tuple[Part, ...] = (same_results, speed, default_training, several_processes)


def measure(task: Task, parts: Sequence[Part] = PARTS) -> Iterator[Row]:
    """Yield every row; a part that fails gives one row that says why, with unit ``failed``."""
    for part in parts:
        try:
            yield from part(task)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            yield Row(part.__name__.replace("_", " "), None, "failed", f"failed: {reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--digits", default="mnist", help="the digit set to train on")
    parser.add_argument("--steps", type=int, default=200, help="steps per timing")
    parser.add_argument("--epochs", type=int, default=TrainingConfig().epochs)
    parser.add_argument("--train-images", type=int, default=None, help="train on the first so many")
    parser.add_argument("--processes", type=int, default=None, help="default: 2 where cards are")
    parser.add_argument("--json", type=Path, default=None, help="write the rows to this file")
    args = parser.parse_args(arguments)
    compute, data = choose(args.device), data_folder(args.data_dir)
    images = open_training_images(Catalog(data), args.digits, args.train_images)
    training, held_out = images.training, images.held_out
    cards = torch.cuda.device_count() if compute.device.type == "cuda" else 0
    processes = min(2, cards) if args.processes is None else args.processes
    task = Task(compute, training, held_out, data, args.steps, args.epochs, processes)
    print(f"{compute}; {conditions()}; {training.name}, {len(training):,} training images\n")
    print("| what | figure | note |\n|---|---|---|")
    rows = []
    for row in measure(task):
        print(row, flush=True)
        rows.append(row)
    if args.json is not None:
        found = {
            "device": str(compute),
            "conditions": conditions(),
            "rows": list(map(asdict, rows)),
        }
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    if any(row.unit == "failed" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
