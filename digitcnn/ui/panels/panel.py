"""The panels beside the pad, one at a time, with a row of tabs.

A panel is a module here (such as ``why.py``, with its ``Panel`` and its computations), a template
(``web/templates/panels/why.html``) and a script (``web/scripts/why.js``). To add one, write them,
put its ``Panel`` into ``panels_of`` of ``sketchpad_tab.py`` and its script into
``panel_section.js``. Shared parts are here, in ``panels.css`` and in ``panels.js``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from digitcnn.ui.calls import Payload, replying
from digitcnn.web.templates import render

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
    one. values: what its template, ``panels/<name>.html``, shows.
    """

    name: str
    title: str
    explanation: str
    functions: Mapping[str, Callable[[Payload], Payload]]
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> Markup:
        """The rendered template."""
        return render(f"panels/{self.name.replace('-', '_')}.html", **self.values)


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


def panel_functions(panels: Sequence[Panel]) -> list[Callable[[Any], Payload]]:
    """Return the functions that the panels' scripts call by name, through one queue."""
    queue = WorkQueue()
    functions = []
    for panel in panels:
        for name, function in panel.functions.items():
            served = replying(queue.through(function))
            served.__name__ = name
            functions.append(served)
    return functions
