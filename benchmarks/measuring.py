"""What the benchmarks share: options, the conditions they ran under, contenders timed in turn."""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from digitcnn.digits.digit_set import DigitSet
from digitcnn.training.run_record import PROGRAM, git_revision


def options(about: str) -> argparse.ArgumentParser:
    """Return a parser with ``--data-dir``. about: the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="digit-set folder")
    return parser


def conditions() -> str:
    """Processor, cores, load, versions and commit, for the line above a table."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load "
        f"{load:.1f}; {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, commit {(git_revision(PROGRAM) or 'unknown')[:10]}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median time of each contender, all timed once in every round: in the same minutes.

    A contender returns its seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            times[name].append(contender())
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def repeated(digits: DigitSet, n: int) -> DigitSet:
    """``n`` images made of those of ``digits``, again and again."""
    index = torch.arange(n) % len(digits)
    return dataclasses.replace(digits, images=digits.images[index], labels=digits.labels[index])


def lay_for_torchvision(data: Path, folder: Path) -> None:
    """MNIST, from a data folder, as ``torchvision.datasets.MNIST(folder)`` looks for it."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (data / "mnist").glob("*-ubyte*"):
        content = file.read_bytes()
        (raw / file.name.removesuffix(".gz")).write_bytes(
            gzip.decompress(content) if file.suffix == ".gz" else content
        )
