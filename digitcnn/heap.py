"""How the C library's allocator deals with freed memory, where it is glibc; elsewhere nothing."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt's parameters.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8

# As many heaps as a program gets that shares one lock anyway.
MOST_HEAPS = 2

# The most that glibc takes as M_MMAP_THRESHOLD: what is larger goes back to the system when freed.
LARGEST_KEPT = 32 << 20
# What glibc itself would arrive at after one freed block of that size.
TRIM_USUALLY = 2 * LARGEST_KEPT
TRIM_NEVER = (1 << 31) - 1


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return libc
    return None


def share_heaps() -> None:
    """Have all threads allocate from the same few heaps.

    By default each of the threads that answer visitors gets a heap of its own, and each of these
    keeps the 30 to 40 MB that building a page once took.
    """
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, MOST_HEAPS)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within it the process keeps freed memory for its next use, and gives it back at the end.

    A training step frees some hundred megabytes of maps and asks for them again in the next step.
    By default a part goes back to the system each time, and each page that comes anew costs a
    fault: a tenth to a fifth of the step on a virtual machine. For one such block at a time.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
    libc.mallopt(M_TOP_PAD, LARGEST_KEPT)
    libc.mallopt(M_TRIM_THRESHOLD, TRIM_NEVER)
    try:
        yield
    finally:
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_USUALLY)
        libc.mallopt(M_TOP_PAD, 0)
        libc.malloc_trim(0)
