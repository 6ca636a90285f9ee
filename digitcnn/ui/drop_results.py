"""The results of dropping files: a line each, until it is dismissed or its model is removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from digitcnn.ui.dropped import DroppedFile
from digitcnn.ui.gradio_private import event_data
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE
from digitcnn.web import bundle
from digitcnn.web.templates import render

# A page holds eight models; the other lines are of refused files.
MOST_LINES = 24


def with_new(earlier: Sequence[DroppedFile], new: Sequence[DroppedFile]) -> tuple[DroppedFile, ...]:
    """Return the lines after another drop: a file that was refused is replaced by its name."""
    new_names = {one.file for one in new}
    remaining = [
        one for one in earlier if one not in new and (one.key or one.file not in new_names)
    ]
    return (*remaining, *new)[-MOST_LINES:]


def results_html(files: Sequence[DroppedFile], already: str, reading: str = "") -> str:
    """Render a line per file, accepted or refused.

    already: the word for a model that is present already, such as ``compared``. reading: the name
    of the file that is being read.
    """
    if not files and not reading:
        return ""
    return render("models/dropped_files.html", files=files, already=already, reading=reading)


class DropResults:
    """The component and its state, inside an open layout; ``connect`` adds its events."""

    def __init__(self, models: Models, elem_id: str, already: str) -> None:
        self._models, self._already = models, already
        self.files = gr.State(())
        self.html = gr.HTML(js_on_load=bundle.on_load("reportLine"), elem_id=elem_id)

    def connect(self, chosen: gr.Dropdown | None = None) -> None:
        """Add the event of the lines' buttons. chosen: its value is passed to ``lines``."""
        inputs = [self.files, *([chosen] if chosen is not None else [])]
        outputs = [self.files, self.html]
        self.html.select(self._dismiss, inputs, outputs, queue=False, **PRIVATE)

    def receive(
        self, sent: Any, earlier: Sequence[DroppedFile], session: str, chosen: Any = None
    ) -> Iterator[tuple[tuple[DroppedFile, ...], str, list[str]]]:
        """Read the files that a page sent, one after another.

        Yields the new values of ``files`` and ``html`` with every step, and the keys of the models
        so far. chosen: as for ``lines``; the new models count as chosen. Raises CheckpointError
        for too many files.
        """
        paths = [Path(file) for file in sent or []]
        results: list[DroppedFile] = []
        verdicts = self._models.receive(paths, session)
        for done, path in enumerate(paths):
            yield self._step(earlier, results, chosen, f"{done} of {len(paths)} read: {path.name}…")
            results.append(next(verdicts))
        results += verdicts  # on models that were removed to make room
        yield self._step(earlier, results, chosen)

    def _step(
        self,
        earlier: Sequence[DroppedFile],
        results: Sequence[DroppedFile],
        chosen: Any,
        reading: str = "",
    ) -> tuple[tuple[DroppedFile, ...], str, list[str]]:
        files = with_new(earlier, results)
        keys = [result.key for result in results if result.key is not None]
        shown = [*chosen, *keys] if isinstance(chosen, list) else chosen
        return files, self.lines(files, shown, reading), keys

    def _dismiss(
        self, event: gr.EventData, files: Sequence[DroppedFile], chosen: Any = None
    ) -> tuple[tuple[DroppedFile, ...], str]:
        line = event_data(event)
        dismissed = line.get("file"), line.get("key")
        remaining = tuple(one for one in files if (one.file, one.key or "") != dismissed)
        return remaining, self.lines(remaining, chosen)

    def lines(self, files: Sequence[DroppedFile], chosen: Any = None, reading: str = "") -> str:
        """Render the lines, without those of models that have left the page or a choice.

        chosen: the names of the chosen models; anything but a list hides no line. reading: as for
        ``results_html``.
        """
        shown = [
            one
            for one in files
            if one.key is None
            or (
                self._models.dropped.get(one.key) is not None
                and (not isinstance(chosen, list) or one.key in chosen)
            )
        ]
        return results_html(shown, self._already, reading)
