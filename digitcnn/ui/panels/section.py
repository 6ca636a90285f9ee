"""The section of panels: which there are, and how each gets onto the page.

A panel is four files in this folder under one name: ``why.py`` (what the server answers, and the
``Panel``), ``why.html`` (its content), ``why.css`` and ``why.js``. To add one, write them and put
its ``Panel`` into ``panels_of``. What all have in common is here and in ``panels.css`` and
``panels.js``: they fold, ask only while they are open and in sight, and only after the pad has its
own answer. The calls are plain POSTs, as the pad's: anybody can send any JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from digitcnn.ui.models import Models
from digitcnn.ui.panels.film import film_panel
from digitcnn.ui.panels.nearest import nearest_panel
from digitcnn.ui.panels.panel import FOLDER, Panel, WorkQueue
from digitcnn.ui.panels.reading import SketchReader
from digitcnn.ui.panels.what_if import what_if_panel
from digitcnn.ui.panels.why import why_panel
from digitcnn.ui.sketchpad_tab import Payload, replying
from digitcnn.workspace import Workspace


def panels_of(workspace: Workspace, models: Models) -> list[Panel]:
    """Return the panels, in their order on the page."""
    reader = SketchReader(models)
    return [
        nearest_panel(workspace, reader),
        why_panel(reader),
        what_if_panel(reader),
        film_panel(workspace),
    ]


def build_panels(workspace: Workspace, models: Models) -> None:
    """The panels, inside the Sketchpad's open ``gr.Tab``, below the pad."""
    panels = panels_of(workspace, models)
    queue = WorkQueue()
    functions: list[Callable[[Any], Payload]] = [
        replying(queue.through(function)) for panel in panels for function in panel.functions
    ]
    common_css, common_js = (
        (FOLDER / f"panels.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    gr.HTML(
        html_template='<section class="panels" aria-label="More about the answer">'
        + "".join(panel.html for panel in panels)
        + "</section>",
        css_template=common_css + "".join(panel.css for panel in panels),
        js_on_load=common_js + "".join(panel.js for panel in panels),
        apply_default_css=False,
        server_functions=functions,
        elem_id="panels",
    )
