"""The section of panels beside the pad, one at a time, with a row of tabs.

A panel is a module here (such as ``why.py``, with its ``Panel`` and its computations), a template
(``web/templates/panels/why.html``) and a script (``web/scripts/why.js``). To add one, write them,
put its ``Panel`` into ``panels_of`` and its script into ``panel_section.js``. Shared parts are
here, in ``panels.css`` and in ``panels.js``. The calls are plain POSTs and may contain any JSON.
"""

from __future__ import annotations

from digitcnn.ui.models import Models
from digitcnn.ui.panels.break_it import break_it_panel
from digitcnn.ui.panels.nearest import nearest_panel
from digitcnn.ui.panels.panel import Panel, WorkQueue
from digitcnn.ui.panels.reading import SketchReader
from digitcnn.ui.panels.replay import replay_panel
from digitcnn.ui.panels.step_through import step_through_panel
from digitcnn.ui.panels.what_if import what_if_panel
from digitcnn.ui.panels.why import why_panel
from digitcnn.ui.sketchpad_tab import PanelSection, replying
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace


def panels_of(workspace: Workspace, models: Models) -> list[Panel]:
    """Return the panels, in their order on the page."""
    reader = SketchReader(models)
    return [
        why_panel(reader),
        nearest_panel(workspace, reader),
        what_if_panel(reader),
        step_through_panel(reader),
        break_it_panel(reader),
        replay_panel(workspace),
    ]


def panel_section(workspace: Workspace, models: Models) -> PanelSection:
    """Return the panels as a row of tabs, to stand beside the pad."""
    panels = panels_of(workspace, models)
    queue = WorkQueue()
    functions = []
    for panel in panels:
        for name, function in panel.functions.items():
            served = replying(queue.through(function))
            served.__name__ = name  # by which the script calls it
            functions.append(served)
    return PanelSection(render("panels/section.html", panels=panels), functions)
