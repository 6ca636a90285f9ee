"""Settings of the whole process: how it shares memory and cores, where it can be told."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8

# Threads that answer visitors share the interpreter's lock anyway.
MAX_HEAPS = 2

# The most that glibc accepts as M_MMAP_THRESHOLD: larger blocks go back to the system when freed.
LARGEST_REUSED_BLOCK = 32 << 20
# What glibc itself would arrive at after one freed block of that size.
DEFAULT_TRIM = 2 * LARGEST_REUSED_BLOCK
NEVER_TRIM = (1 << 31) - 1


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return libc
    return None


def share_heaps() -> None:
    """Let all threads allocate from the same few heaps.

    By default each thread that answers visitors gets a heap of its own, and each of these retains
    the 30 to 40 MB that building a page once took.
    """
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, MAX_HEAPS)


def share_cores() -> None:
    """Let PyTorch's threads sleep soon when they wait for each other; call before importing it.

    By default OpenMP lets them spin for milliseconds. Where a training ran on the same cores, an
    answer to a sketch took 50 ms of processor time instead of 2, and a training beside another busy
    program ten times as long. A training alone is as fast with either.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Retain freed memory for its next use within the block, and release it at the end.

    A training step frees some hundred megabytes and allocates them again in the next step. By
    default a part goes back to the system each time, and every page that is mapped again costs a
    fault: a tenth to a fifth of the step on a virtual machine. Not for nested use.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED_BLOCK)
    libc.mallopt(M_TOP_PAD, LARGEST_REUSED_BLOCK)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)
    try:
        yield
    finally:
        libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM)
        libc.mallopt(M_TOP_PAD, 0)
        libc.malloc_trim(0)
