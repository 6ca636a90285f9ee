"""Run the work of a handler in a thread, so that the page can show its progress."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from markupsafe import Markup

from digitcnn.analysis.events import Event, ImagesProcessed, Notify, step_of
from digitcnn.analysis.stability import PassResult
from digitcnn.ui.parts import ViewUpdate, status_line

R = TypeVar("R")

# Progress is shown this often; more would only keep the browser busy.
SECONDS_BETWEEN_UPDATES = 0.25


@dataclass(frozen=True)
class _Result(Generic[R]):
    value: R


class _PageClosedError(Exception):
    """Ends the work of a page that was closed."""


def events_of(work: Callable[[Notify], R]) -> Generator[Event, None, R]:
    """Run ``work`` in a thread, yield its events and return its result.

    Raises what ``work`` raises. When the generator is closed, as after the page was closed, the
    next event ends the work.
    """
    messages: queue.SimpleQueue[Event | _Result[R] | Exception] = queue.SimpleQueue()
    closed = threading.Event()

    def notify(event: Event) -> None:
        if closed.is_set():
            raise _PageClosedError
        messages.put(event)

    def run() -> None:
        try:
            messages.put(_Result(work(notify)))
        except Exception as error:
            messages.put(error)

    threading.Thread(target=run, name="page-work", daemon=True).start()
    try:
        while True:
            message = messages.get()
            if isinstance(message, Exception):
                raise message
            if isinstance(message, _Result):
                return message.value
            yield message
    finally:
        closed.set()


def updates_of(
    work: Callable[[Notify], R], show: Callable[[Event], ViewUpdate | None]
) -> Generator[ViewUpdate, None, R]:
    """Run ``work`` in a thread, yield a view update for its events and return its result.

    show: turns an event into an update, None for no update. Called in this thread; for events of
    progress only a few times a second.
    """
    events = events_of(work)
    last = -SECONDS_BETWEEN_UPDATES
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: R = end.value
            return result
        if isinstance(event, ImagesProcessed | PassResult):
            if time.monotonic() - last < SECONDS_BETWEEN_UPDATES:
                continue
            last = time.monotonic()
        update = show(event)
        if update is not None:
            yield update


def progress_line(event: Event) -> Markup | None:
    """Render an event of progress as a status line; None for any other event."""
    step = step_of(event)
    return None if step is None else status_line(step.text, step.done / step.total)


def status_update(event: Event) -> ViewUpdate | None:
    """Return the progress as a value of the component called ``status``: a usual ``show``."""
    line = progress_line(event)
    return None if line is None else {"status": line}
