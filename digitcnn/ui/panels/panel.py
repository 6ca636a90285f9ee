"""Shared by the panels below the pad: their description and their work queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from digitcnn.ui.sketchpad_tab import Payload

# Panels compute one at a time, for all pages together, so that the pad finds a free core. Each
# waiting call holds one of the server's forty threads, so only this many may wait.
MOST_WAITING = 8
# Milliseconds after which a rejected call is sent again.
AGAIN = 300


@dataclass(frozen=True)
class Panel:
    """One panel.

    name: its element is ``panel-<name>``. title: of its tab. explanation: one sentence for a
    student. functions: what its JavaScript calls, by name; each takes a dictionary and returns
    one. content: its rendered template.
    """

    name: str
    title: str
    explanation: str
    functions: Mapping[str, Callable[[Payload], Payload]]
    content: Markup


class WorkQueue:
    """Runs one of the panels' computations at a time, while a few wait. Thread-safe."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._running = threading.Lock()
        self._places = threading.Semaphore(1 + most_waiting)

    def through(self, function: Callable[[Payload], Payload]) -> Callable[[Payload], Payload]:
        """Return the function, answering ``{"again": milliseconds}`` where too many wait."""

        def queued(payload: Payload) -> Payload:
            if not self._places.acquire(blocking=False):
                return {"again": AGAIN}
            try:
                with self._running:
                    return function(payload)
            finally:
                self._places.release()

        return queued
