"""Memory that one training step frees serves the next one, and goes back at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from digitcnn.heap import freed_memory_kept

if sys.platform != "linux":
    pytest.skip("glibc is Linux's", allow_module_level=True)

import resource

# Below what the C library takes from the heap; together more than it would keep by itself.
BLOCK, BLOCKS = 12 << 20, 12
PAGE = resource.getpagesize()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def a_step() -> None:
    """Holds and frees what a step's maps take."""
    _maps = [torch.zeros(BLOCK, dtype=torch.uint8) for _ in range(BLOCKS)]


def pages_that_come_anew() -> int:
    """In one step, after one that may have had to ask for all of them."""
    a_step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    a_step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_step_finds_the_pages_of_the_last_one_until_they_go_back() -> None:
    with freed_memory_kept():
        # The least of three: another thread may take what was freed.
        assert min(pages_that_come_anew() for _ in range(3)) < BLOCK * BLOCKS / PAGE / 4
        kept = resident()
    assert resident() < kept - BLOCK * BLOCKS / 2


def test_it_goes_back_after_a_failure_too() -> None:
    keeper = freed_memory_kept()
    keeper.__enter__()
    a_step()
    kept = resident()
    with pytest.raises(RuntimeError, match="failed"):
        keeper.gen.throw(RuntimeError("failed"))
    assert resident() < kept - BLOCK * BLOCKS / 2
