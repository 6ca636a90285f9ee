"""An LRU cache that threads share, in which each value is computed by one thread at a time.

``cachetools`` evicts. It has no single flight, so that part is here: a request for a value that
another thread is computing waits for it and gets its progress.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# Called with the steps done and the steps in all.
Progress = Callable[[int, int], None]


def unwatched(done: int, total: int) -> None:
    """Do nothing: the ``Progress`` of work that nobody follows."""


class SharedCache(Generic[Key, Value]):
    """At most ``maxsize`` values, or ``maxsize`` in all as ``size`` counts them. Thread-safe."""

    def __init__(self, maxsize: float, size: Callable[[Value], float] | None = None) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[Key, Value] = LRUCache(maxsize, size)
        self._flights: dict[Key, _Flight] = {}

    def get(
        self,
        key: Key,
        compute: Callable[[Progress], Value],
        *,
        progress: Progress = unwatched,
        accept: Callable[[Value], bool] = lambda value: True,
    ) -> Value:
        """Return the value of ``key``, computed unless it is there and ``accept`` accepts it.

        compute: called outside the lock with a callback for its progress. progress: called in the
        caller's own thread, whichever thread computes. Raises what ``compute`` and ``progress``
        raise; waiting callers then compute the value themselves.
        """
        while True:
            with self._lock:
                value: Value | None = self._values.get(key)
                if value is not None and accept(value):
                    return value
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
            if leads:
                return self._lead(key, flight, compute, progress)
            value = flight.wait(progress)
            if value is not None and accept(value):
                return value

    def _lead(
        self,
        key: Key,
        flight: _Flight,
        compute: Callable[[Progress], Value],
        progress: Progress,
    ) -> Value:
        def report(done: int, total: int) -> None:
            flight.report(done, total)
            progress(done, total)

        value: Value | None = None
        try:
            value = compute(report)
            return value
        finally:
            with self._lock:
                if value is not None:
                    with contextlib.suppress(ValueError):  # larger than the whole cache
                        self._values[key] = value
                del self._flights[key]
            flight.end(value)


class _Flight:
    """One computation in progress: its last step, and its value at the end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._step: tuple[int, int] | None = None
        self._ended = False
        self._value: Any = None

    def report(self, done: int, total: int) -> None:
        with self._changed:
            self._step = done, total
            self._changed.notify_all()

    def end(self, value: Any) -> None:
        with self._changed:
            self._value, self._ended = value, True
            self._changed.notify_all()

    def wait(self, progress: Progress) -> Any:
        """Wait until it ends. Return its value, None where it failed."""
        seen: tuple[int, int] | None = None
        while True:
            with self._changed:
                while not self._ended and self._step == seen:
                    self._changed.wait()
                step, ended = self._step, self._ended
            if step is not None and step != seen:
                progress(*step)
            seen = step
            if ended:
                return self._value
