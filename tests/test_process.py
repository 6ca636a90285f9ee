"""Freed memory is reused by the next step; one of several processes ends at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("glibc is Linux's", allow_module_level=True)

# In a process of its own: other tests leave threads and fragments in the heap.
STEPS = """
import resource
from contextlib import nullcontext
from pathlib import Path

from digitcnn.process import retain_freed_memory

# Small enough for the heap; together more than the C library would retain by itself.
BLOCK, BLOCKS = 12 << 20, 12
PAGE = resource.getpagesize()


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def a_step():
    maps = [bytearray(BLOCK) for _ in range(BLOCKS)]
    for each in maps:
        each[::PAGE] = b"1" * (BLOCK // PAGE)


def newly_mapped_share():
    "The share that the second of two steps maps again."
    a_step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    a_step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * PAGE / BLOCK / BLOCKS
"""


def measured(program: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", STEPS + program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


@pytest.mark.parametrize(("kept", "least", "most"), [(True, 0, 0.1), (False, 0.5, 1.1)])
def test_a_step_reuses_the_memory_of_the_last_one(kept: bool, least: float, most: float) -> None:
    keeper = "retain_freed_memory()" if kept else "nullcontext()"
    mapped = measured(f"with {keeper}: print(newly_mapped_share())")
    assert least <= mapped <= most


@pytest.mark.parametrize("end", ["pass", "raise RuntimeError"])
def test_memory_is_released_at_the_end_and_after_an_error(end: str) -> None:
    released = measured(f"""
try:
    with retain_freed_memory():
        a_step()
        held = resident()
        {end}
except RuntimeError:
    pass
print((held - resident()) / BLOCK / BLOCKS)
""")
    assert released > 0.5


@pytest.mark.parametrize(
    ("launcher", "torn_down"), [({}, True), ({"TORCHELASTIC_RUN_ID": "1"}, False)]
)
def test_a_command_under_torchrun_prints_and_ends_without_dismantling_python(
    launcher: dict[str, str], torn_down: bool
) -> None:
    program = (
        "import atexit, sys; from digitcnn import cli; "
        "atexit.register(print, 'torn down'); sys.exit(cli.main(['data', 'list']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | launcher,
    )
    assert "synthetic" in done.stdout
    assert ("torn down" in done.stdout) == torn_down
