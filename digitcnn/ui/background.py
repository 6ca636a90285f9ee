"""Long work of a handler in a thread of its own, so that the page hears how far it is."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from digitcnn.analysis.shared_cache import Progress
from digitcnn.ui.parts import status_line

R = TypeVar("R")
L = TypeVar("L")

# The page is told so often; more would only keep the browser busy.
SECONDS_BETWEEN_LOOKS = 0.25


def watched(work: Callable[[Progress], R]) -> Generator[tuple[int, int], None, R]:
    """Steps done and steps in all, now and then, while ``work`` runs; returns its result.

    work: gets a function to call with both numbers. Raises what ``work`` raises. When nobody
    listens any more, as after the page was closed, that function raises and so ends the work.
    """
    told: queue.SimpleQueue[tuple[int, int] | _Result[R] | Exception] = queue.SimpleQueue()
    left = threading.Event()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if left.is_set():
            raise _NobodyListensError
        if time.monotonic() - last >= SECONDS_BETWEEN_LOOKS:
            last = time.monotonic()
            told.put((done, total))

    def run() -> None:
        try:
            told.put(_Result(work(progress)))
        except Exception as error:
            told.put(error)

    threading.Thread(target=run, name="watched", daemon=True).start()
    try:
        while True:
            step = told.get()
            if isinstance(step, Exception):
                raise step
            if isinstance(step, _Result):
                return step.value
            yield step
    finally:
        left.set()


def telling(
    work: Callable[[Progress], R], what: str, looks: Callable[[str], L]
) -> Generator[L, None, R]:
    """``watched`` as the page shows it: ``looks`` of a status line that counts the images.

    what: goes before the numbers, as in 'usps test: 500 of 2,007 images.'
    """
    walk = watched(work)
    while True:
        try:
            done, total = next(walk)
        except StopIteration as end:
            result: R = end.value
            return result
        yield looks(status_line(f"{what}: {done:,} of {total:,} images.", done / total))


class _Result(Generic[R]):
    def __init__(self, value: R) -> None:
        self.value = value


class _NobodyListensError(Exception):
    """Ends work whose page was closed."""
