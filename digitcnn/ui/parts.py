"""Small pieces of HTML that several tabs show."""

from __future__ import annotations

import base64
import io
from html import escape

import gradio as gr
from PIL import Image
from torch import Tensor


def results_view(elem_id: str) -> gr.Column:
    """A place for results and the tools that work on them, unseen until it holds a table or chart.

    The style sheet sees to that, and no update: one that comes while its tab is not in front can be
    lost.
    """
    return gr.Column(elem_id=elem_id, elem_classes="results")


def status_line(text: str, share: float | None = None) -> str:
    """A line on what is going on. share: how much of it is done, shown as a bar; None: nothing."""
    bar = (
        ""
        if share is None
        else f'<div class="bar" role="progressbar" aria-label="{escape(text)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}">'
        f'<div style="width: {100 * share:.1f}%"></div></div>'
    )
    running = str(share is not None).lower()
    return (
        f'<div class="status" data-running="{running}" style="min-height: 46px" '
        f'aria-live="polite"><div style="margin-bottom: 6px">{escape(text)}</div>{bar}</div>'
    )


def picture(image: Tensor) -> str:
    """A digit, uint8 [28, 28], as a data address: dark ink on white, as it was written."""
    file = io.BytesIO()
    Image.fromarray(255 - image.numpy()).save(file, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
