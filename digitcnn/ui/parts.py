"""Shared by several tabs: status lines, images, and values for some components."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.intervals import confidence_text
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
    announce = bundle.handler("tellChoice", component.elem_id)
    component.change(None, component, js=announce, **PRIVATE)


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


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip file with these files: name and content each."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return file.getvalue()


def png_address(png: bytes) -> str:
    """Return the bytes of a PNG file as a data address."""
    return "data:image/png;base64," + base64_of(png)


def image_address(image: Tensor) -> str:
    """Return a digit, uint8 [28, 28], as a data address: dark ink on white."""
    file = io.BytesIO()
    Image.fromarray(255 - image.numpy()).save(file, format="png")
    return png_address(file.getvalue())


def figure_place(elem_id: str) -> gr.HTML:
    """Build an empty place for a figure."""
    return html_view(elem_id, "figures.css")


def opening_figure(name: str, alt: str, png: bytes) -> Markup:
    """Render a figure for a ``figure_place``: it opens in full, and can be saved."""
    return render("evaluate/figure.html", name=name, alt=alt, address=png_address(png))


def whole(value: Any) -> Any:
    """Return a slider's 12.0 as 12; any other value as it is, to be refused by name."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def tiles(
    heading: str,
    digit_set: DigitSet,
    indices: Sequence[int],
    probabilities: Tensor,
    note: str = "",
    *,
    first: int | None = None,
) -> Markup:
    """Render images with label, prediction, confidence and all ten probabilities.

    indices: of the images in the digit set. probabilities: [K, 10], a row per index. first: how
    many are shown before more are requested; None shows all.
    """
    rendered = [
        _tile(digit_set, index, row.tolist())
        for index, row in zip(indices, probabilities, strict=True)
    ]
    return render(
        "evaluate/tiles.html",
        heading=heading,
        note=note,
        tiles=rendered[:first],
        more=rendered[first:] if first else [],
    )


def _tile(digit_set: DigitSet, index: int, probabilities: list[float]) -> dict[str, object]:
    confidence = max(probabilities)
    return {
        "address": image_address(digit_set.images[index]),
        "index": index,
        "label": int(digit_set.labels[index]),
        "predicted": probabilities.index(confidence),
        "confidence": confidence_text(confidence),
        "probabilities": probabilities,
        "listed": ", ".join(
            f"{digit}: {confidence_text(p)}" for digit, p in enumerate(probabilities)
        ),
    }
