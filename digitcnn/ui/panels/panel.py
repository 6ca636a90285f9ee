"""What the panels below the pad have in common on the server: their files, and whose turn it is."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from digitcnn.ui.sketchpad_tab import Payload

FOLDER = Path(__file__).parent

# Panels compute one at a time, for all pages together, so that the pad finds a free core. Each call
# that waits holds one of the server's forty threads, so only this many may; others ask again.
MOST_WAITING = 8
# Milliseconds after which they do.
AGAIN = 300


@dataclass(frozen=True)
class Panel:
    """One foldable panel.

    name: of its files, and its element is ``panel-<name>``. title: its heading.
    explanation: one sentence for a student. functions: what its JavaScript calls, by their names;
    each takes a dictionary and returns one.
    open: whether it is unfolded at first on a wide page; on a narrow one none is.
    content: its HTML where that is made here and not in a file.
    """

    name: str
    title: str
    explanation: str
    functions: tuple[Callable[[Payload], Payload], ...]
    open: bool = False
    content: str | None = None

    @property
    def html(self) -> str:
        """The heading that folds, the explanation, and the panel's own content."""
        name = f"panel-{self.name}"
        return (
            f'<details class="panel" id="{name}" data-open="{str(self.open).lower()}">'
            f"<summary><h3>{escape(self.title)}</h3></summary>"
            f'<div class="inside"><p class="explanation">{escape(self.explanation)}</p>'
            f'<div class="front"><div class="content">{self.content or self._file("html")}</div>'
            '<p class="said" role="status" aria-live="polite"></p></div></div></details>'
        )

    @property
    def css(self) -> str:
        return self._file("css")

    @property
    def js(self) -> str:
        """Its script in a block of its own, so that its names are its own."""
        return f"{{\n{self._file('js')}\n}}\n"

    def _file(self, kind: str) -> str:
        return (FOLDER / f"{self.name}.{kind}").read_text("utf-8")


class WorkQueue:
    """Runs one of the panels' computations at a time, while a few wait. Thread-safe."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._running = threading.Lock()
        self._places = threading.Semaphore(1 + most_waiting)

    def through(self, function: Callable[[Payload], Payload]) -> Callable[[Payload], Payload]:
        """Return the function, answering ``{"again": milliseconds}`` where too many wait."""

        @functools.wraps(function)
        def queued(payload: Payload) -> Payload:
            if not self._places.acquire(blocking=False):
                return {"again": AGAIN}
            try:
                with self._running:
                    return function(payload)
            finally:
                self._places.release()

        return queued
