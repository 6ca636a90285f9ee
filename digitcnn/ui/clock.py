"""The page's one clock: what follows the state of the app is asked together, once a second.

Several timers would ask several times; each call costs browser and app some milliseconds, on every
page that is open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

VISIBILITY_BUTTON = "page-visibility"

# In the page's head.
VISIBILITY_SCRIPT = f"""<script>
document.addEventListener("visibilitychange", () => {{
  document.getElementById("{VISIBILITY_BUTTON}")?.click();
}});
</script>"""

_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

log = logging.getLogger(__name__)

Look = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class _Watcher:
    look: Look
    inputs: list[Any]
    outputs: list[Any]


class Clock:
    """Collects what follows the state of the app while the page is built; ``build`` starts it."""

    def __init__(self) -> None:
        self._watchers: list[_Watcher] = []
        self._told: dict[int, str] = {}

    def watch(self, look: Look, inputs: list[Any], outputs: list[Any]) -> None:
        """Ask ``look`` when the page is loaded and every second after that.

        look: called with the request and the inputs' values; returns a value for each output. What
        it raises is logged once, and its outputs stay as they are.
        """
        self._watchers.append(_Watcher(look, inputs, outputs))

    def build(self, page: gr.Blocks) -> None:
        """Inside the open ``page``, after everything that is watched."""
        inputs = [part for watcher in self._watchers for part in watcher.inputs]
        outputs = [part for watcher in self._watchers for part in watcher.outputs]

        def tick(request: gr.Request, *values: Any) -> list[Any]:
            updates: list[Any] = []
            left = list(values)
            for number, watcher in enumerate(self._watchers):
                own, left = left[: len(watcher.inputs)], left[len(watcher.inputs) :]
                updates += self._asked(number, watcher, request, own)
            return updates

        timer = gr.Timer(1)
        timer.tick(tick, inputs, outputs, queue=False, **_QUIET)
        page.load(tick, inputs, outputs, queue=False, **_QUIET)
        # Nothing is asked where nobody can see it: browsers slow the timers of hidden tabs down by
        # themselves, but go on with them for days. Without a function: in the browser alone.
        gr.on(
            [page.load, gr.Button(visible="hidden", elem_id=VISIBILITY_BUTTON).click],
            inputs=[],
            outputs=timer,
            js="() => ({__type__: 'update', active: !document.hidden})",
            **_QUIET,
        )

    def _asked(
        self, number: int, watcher: _Watcher, request: gr.Request, values: list[Any]
    ) -> list[Any]:
        try:
            updates = list(watcher.look(request, *values))
        except Exception as error:
            if self._told.get(number) != str(error):
                self._told[number] = str(error)
                log.error("A part of the page cannot be kept up to date", exc_info=error)
            return [gr.skip()] * len(watcher.outputs)
        self._told.pop(number, None)
        return updates
