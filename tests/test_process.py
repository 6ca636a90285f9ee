"""Freed memory is reused; one of several processes ends at once; a sketch takes one core."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from threadpoolctl import ThreadpoolController

from digitcnn.process import on_one_core

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


def two_cores() -> None:
    """Let PyTorch use two in this thread, as in the app; the tests have one."""
    torch.get_num_threads()  # else a first computation would apply the tests' number
    ThreadpoolController().limit(limits=2, user_api="openmp")


def test_one_core_is_a_limit_of_the_calling_thread_within_the_block() -> None:
    with ThreadPoolExecutor(1) as caller, ThreadPoolExecutor(1) as other:
        for thread in (caller, other):
            thread.submit(two_cores).result()

        def threads_within() -> tuple[int, int]:
            with on_one_core():
                return torch.get_num_threads(), other.submit(torch.get_num_threads).result()

        assert caller.submit(threads_within).result() == (1, 2)
        assert caller.submit(torch.get_num_threads).result() == 2


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
