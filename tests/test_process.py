"""Memory that one training step frees serves the next one, and goes back at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("glibc is Linux's", allow_module_level=True)

# In a process of its own: the heap of one that ran other tests has its history and its threads.
STEPS = """
import resource
from contextlib import nullcontext
from pathlib import Path

from digitcnn.process import freed_memory_kept

# Below what the C library takes from the heap; together more than it would keep by itself.
BLOCK, BLOCKS = 12 << 20, 12
PAGE = resource.getpagesize()


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def a_step():
    maps = [bytearray(BLOCK) for _ in range(BLOCKS)]
    for each in maps:
        each[::PAGE] = b"1" * (BLOCK // PAGE)


def share_that_comes_anew():
    "In one step, after one that may have had to ask for all of it."
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
def test_a_step_finds_the_memory_of_the_last_one(kept: bool, least: float, most: float) -> None:
    keeper = "freed_memory_kept()" if kept else "nullcontext()"
    anew = measured(f"with {keeper}: print(share_that_comes_anew())")
    assert least <= anew <= most


@pytest.mark.parametrize("end", ["pass", "raise RuntimeError"])
def test_it_goes_back_at_the_end_and_after_a_failure(end: str) -> None:
    given_back = measured(f"""
try:
    with freed_memory_kept():
        a_step()
        held = resident()
        {end}
except RuntimeError:
    pass
print((held - resident()) / BLOCK / BLOCKS)
""")
    assert given_back > 0.5
