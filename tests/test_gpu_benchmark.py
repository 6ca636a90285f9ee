"""The GPU benchmark measures every row on the CPU as well, but for CUDA graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.device import Compute

SMALL = ["--device", "cpu", "--digits", "small", "--steps", "2", "--epochs", "1"]


def measured(folder: Path, *options: str) -> dict[str, Any]:
    file = folder / "rows.json"
    gpu.main([*SMALL, "--json", str(file), *options])
    document: dict[str, Any] = json.loads(file.read_text())
    return document | {"rows": {row["what"]: row for row in document["rows"]}}


@pytest.mark.long
def test_every_row_of_one_process_is_measured_on_the_cpu(data_dir: Path, tmp_path: Path) -> None:
    document = measured(tmp_path, "--data-dir", str(data_dir), "--processes", "1")
    rows = document["rows"]
    assert document["device"].startswith("CPU")
    # The CPU in float32 is compared with itself.
    assert rows["float32 logits against the CPU's"]["value"] == 0
    assert rows["float32 gradients against the CPU's"]["value"] == 0
    assert rows["answers that equal the CPU's"]["value"] > 90
    assert rows["digitcnn, batch 64"]["value"] > 0
    assert rows["digitcnn, batch 256"]["value"] > 0
    assert rows["plain loop, batch 64"]["value"] > 0
    assert rows["the default training, 1 epochs"]["value"] > 0
    assert rows["to 99.5% of the held-out images"]["note"] == "not reached in 1 epochs"
    assert rows["largest resident memory of the process"]["value"] > 100


def test_a_part_that_fails_reports_why_and_the_others_are_measured(
    data_dir: Path, drawn: DigitSet, cpu: Compute
) -> None:
    def broken(task: gpu.Task) -> Iterator[gpu.Row]:
        yield gpu.Row("before", 1.0, "s")
        raise RuntimeError("CUDA error: out of memory\nand a stack")

    task = gpu.Task(cpu, drawn, drawn, data_dir, steps=1, epochs=1, processes=1)
    rows = list(gpu.measure(task, (broken, gpu.several_processes)))
    assert [row.what for row in rows] == ["before", "broken", "several processes under torchrun"]
    assert (rows[1].unit, rows[1].note) == ("failed", "failed: CUDA error: out of memory")


@pytest.mark.long
def test_two_processes_are_timed_beside_one(data_dir: Path, tmp_path: Path) -> None:
    rows = measured(tmp_path, "--data-dir", str(data_dir), "--processes", "2")["rows"]
    assert rows["two epochs, 1 under torchrun"]["value"] > 0
    assert rows["two epochs, 2 under torchrun"]["value"] > 0
    assert "times as fast as one" in rows["two epochs, 2 under torchrun"]["note"]
