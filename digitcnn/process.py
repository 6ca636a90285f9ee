"""The process: its memory, its cores, and how it ends as one of several."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from threadpoolctl import ThreadpoolController

# Parameters of glibc's mallopt.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8

# Request threads share the interpreter's lock anyway.
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

    By default each request thread gets a heap of its own, which retains the 30 to 40 MB that
    building a page takes.
    """
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, MAX_HEAPS)


def release_freed_memory() -> None:
    """Return memory that is free within the heaps to the system; takes some ten milliseconds.

    Each visit leaves gaps between blocks that stay. Together they grow to 60 MB, which the C
    library returns only from a heap's end.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


def share_cores() -> None:
    """Let PyTorch's threads sleep soon when they wait for each other; call before importing it.

    By default OpenMP lets them spin for milliseconds. During training on the same cores,
    classifying a sketch then took 50 ms of processor time instead of 2. Training beside another
    busy program took ten times as long. The shorter they spin, the faster it is there, and the
    slower alone: by 2% with this number.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")


@functools.cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


@contextmanager
def on_one_core() -> Iterator[None]:
    """Let PyTorch compute on one core within the block; other threads of the process keep theirs.

    For one sketch at a time: a second thread makes the forward pass no faster, but takes half as
    much processor time again, and beside a training both wait for each other. PyTorch's own
    ``set_num_threads`` would also apply to threads that start meanwhile, such as a training's.
    """
    with _openmp().limit(limits=1):
        yield


@contextmanager
def retain_freed_memory() -> Iterator[None]:
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
        release_freed_memory()


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether torchrun started this process, perhaps as one of several."""
    return "TORCHELASTIC_RUN_ID" in environment


def end_at_once(status: int) -> NoReturn:
    """End the process with ``status`` after flushing its output, without dismantling Python.

    Even after ``destroy_process_group`` a thread of gloo may still drop a tensor, for which it
    needs the interpreter. Where that is being dismantled, the process aborts although its work is
    done (pytorch/pytorch#179291).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
