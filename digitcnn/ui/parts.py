"""Shared by several tabs: results, status lines, images, and values for some components."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import gradio as gr
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from digitcnn.errors import CheckpointError
from digitcnn.options import usual_passes
from digitcnn.ui.models import Models
from digitcnn.ui.toasts import toasting
from digitcnn.web.templates import render

# For every event of the page: no public API, and progress is shown in a status line of our own.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# New values for some components, by the names that a tab gives them; the others stay as they are.
ViewUpdate = dict[str, Any]


def outputs(update: ViewUpdate, names: Iterable[str]) -> list[Any]:
    """Return the values of an update in the order of a handler's outputs."""
    return [update.get(name, gr.skip()) for name in names]


def run_on_press(
    button: gr.Button,
    task: str,
    steps: Callable[..., Iterator[ViewUpdate]],
    inputs: Sequence[Any],
    components: Mapping[str, Any],
    *,
    at_a_time: int | Literal["default"] = "default",
    js: str | None = None,
) -> None:
    """Show what ``steps`` yields when a button is pressed, which is disabled until the end.

    task: its name in the status after a failure. steps: called with the request and the values of
    ``inputs``. components: by the names in the updates, ``status`` among them. at_a_time: how many
    run at a time, for all pages together; the others wait.
    """
    shown = {**components, "button": button}
    # An update, for a Button that is made here would be another one on the page.
    enabled = {"button": gr.update(interactive=True)}

    @toasting
    def run(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        try:
            for update in steps(request, *values):
                yield outputs(update, shown)
        except Exception:
            # Gradio runs no further step after one that fails, so the button is enabled here.
            stopped = status_line(f"{task} stopped; see the error message.")
            yield outputs({"status": stopped, **enabled}, shown)
            raise
        yield outputs(enabled, shown)

    run.__name__ = steps.__name__  # what the event is called in Gradio's configuration
    button.click(
        lambda: [status_line("Waiting in the queue."), gr.Button(interactive=False)],
        None,
        [shown["status"], button],
        queue=False,
        **PRIVATE,
    ).then(run, inputs, list(shown.values()), concurrency_limit=at_a_time, js=js, **PRIVATE)


def results_view(elem_id: str) -> gr.Column:
    """Build a column for results and their tools, hidden until it has a table or chart.

    The style sheet hides it: an update that arrives while its tab is not open can be lost.
    """
    return gr.Column(elem_id=elem_id, elem_classes="results")


def status_line(text: str, share: float | None = None) -> Markup:
    """Render a status line. share: progress from 0 to 1, shown as a bar."""
    return render("status.html", text=text, share=share)


def png_address(png: bytes) -> str:
    """Return the bytes of a PNG file as a data address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def image_address(image: Tensor) -> str:
    """Return a digit, uint8 [28, 28], as a data address: dark ink on white."""
    file = io.BytesIO()
    Image.fromarray(255 - image.numpy()).save(file, format="png")
    return png_address(file.getvalue())


def default_passes(models: Models, name: str | None) -> int:
    """Return how many dropout passes are usual for a model: as many as it has epochs."""
    try:
        return usual_passes(models.get(name).details.epochs)
    except CheckpointError:
        # The selector follows within a second; pressing the button meanwhile shows the problem.
        return usual_passes(None)
