"""A button that starts a computation of the page, and one that stops it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Literal

import gradio as gr

from digitcnn.ui.parts import PRIVATE, ViewUpdate, status_line
from digitcnn.web import bundle


class RunButtons:
    """A button that starts a computation, and beside it one that stops it.

    One of them is enabled at a time; ``keep_focus.js`` moves the keyboard focus along.
    """

    def __init__(
        self, label: str, elem_id: str, variant: Literal["primary", "secondary"] = "secondary"
    ) -> None:
        """Build the row of both. elem_id: followed by ``-run`` and ``-stop``."""
        with gr.Row(elem_classes="primary-row") as self.row:
            self.run = gr.Button(label, variant=variant, elem_id=f"{elem_id}-run")
            self.stop = gr.Button(
                "Stop", variant="stop", interactive=False, elem_id=f"{elem_id}-stop"
            )
        # Page sessions that pressed Stop.
        self._pressed: set[str] = set()

    def connect(self, status: gr.HTML) -> None:
        """Let Stop work, and show the status of a computation that starts below the screen.

        status: says that the computation is being stopped until it has ended.
        """
        # On a phone and in a low window the status is below the visible part.
        self.run.click(None, js=bundle.handler("center", f"#{status.elem_id}"), **PRIVATE)
        # In the browser: a response could arrive after the last one of the computation.
        stopping = bundle.handler(
            "give", {**gr.update(interactive=False)}, status_line("Stopping.")
        )
        self.stop.click(None, None, [self.stop, status], js=stopping, **PRIVATE)
        self.stop.click(self.press, None, None, queue=False, **PRIVATE)

    def press(self, request: gr.Request) -> None:
        """Request a page's computation to stop."""
        self._pressed.add(_session(request))

    def start(self, request: gr.Request) -> ViewUpdate:
        """Forget an earlier press; return the states of both buttons while something runs."""
        self._pressed.discard(_session(request))
        return {"run": gr.update(interactive=False), "stop": gr.update(interactive=True)}

    def ready(self) -> ViewUpdate:
        """Return the states of both buttons while nothing runs."""
        # Updates rather than Buttons: constructing one here would add it to the page.
        return {"run": gr.update(interactive=True), "stop": gr.update(interactive=False)}

    def until_stopped(
        self, request: gr.Request, updates: Iterator[list[Any]]
    ) -> Generator[list[Any], None, bool]:
        """Yield ``updates`` until Stop is pressed; return whether it was."""
        for update in updates:
            if _session(request) in self._pressed:
                # Nothing else holds the generator, so it is closed, which ends its work.
                return True
            yield update
        return False


def _session(request: gr.Request) -> str:
    return request.session_hash or ""
