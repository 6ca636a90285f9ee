"""Shared by several tabs: status lines, images, and values for some components."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any

import gradio as gr
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from digitcnn.errors import CheckpointError
from digitcnn.options import usual_passes
from digitcnn.ui.models import Models
from digitcnn.web import bundle
from digitcnn.web.templates import render

# For every event of the page: no public API, and progress is shown in a status line of our own.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

# New values for some components, by the names that a tab gives them; the others stay as they are.
ViewUpdate = dict[str, Any]


def html_view(elem_id: str, *styles: str, value: str | None = None, **options: Any) -> gr.HTML:
    """Build a component for rendered HTML, with these style sheets instead of Gradio's own."""
    return gr.HTML(
        value,
        css_template=bundle.style(*styles),
        apply_default_css=False,
        elem_id=elem_id,
        **options,
    )


def announced(component: Any) -> None:
    """Let the page's scripts know each new value of a component at once.

    To be called before the component has other events: Gradio runs the events of one change one
    after another, each after the response to the one before it.
    """
    told = bundle.handler("tellChoice", component.elem_id)
    component.change(None, component, js=told, **PRIVATE)


def outputs(update: ViewUpdate, names: Iterable[str]) -> list[Any]:
    """Return the values of an update in the order of a handler's outputs."""
    return [update.get(name, gr.skip()) for name in names]


def status_line(text: str, share: float | None = None) -> Markup:
    """Render a status line. share: progress from 0 to 1, shown as a bar."""
    return render("status.html", text=text, share=share)


def base64_of(content: bytes | Tensor) -> str:
    """Encode bytes, or those of a tensor on the CPU, for the page."""
    data = content if isinstance(content, bytes) else content.contiguous().numpy().tobytes()
    return base64.b64encode(data).decode("ascii")


def file_reply(name: str, media_type: str, content: bytes) -> dict[str, Any]:
    """Return a file for the page's script to save."""
    return {"name": name, "type": media_type, "content": base64_of(content)}


def png_address(png: bytes) -> str:
    """Return the bytes of a PNG file as a data address."""
    return "data:image/png;base64," + base64_of(png)


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
