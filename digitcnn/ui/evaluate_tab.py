"""The Evaluate tab: scores a model on several test sets and shows its errors and their causes.

It writes only the nine figures of a run, and only for the owner. The sections are built by
``set_chooser``, ``error_browser``, ``figure_gallery``, ``gap_section`` and ``robustness_section``;
the results come from ``evaluation_steps``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from digitcnn.services.evaluation import FigureCache
from digitcnn.ui.access import WITH_TOKEN_JS, Access
from digitcnn.ui.error_browser import ANY, ANY_ERROR, build_error_browser
from digitcnn.ui.evaluation_steps import EvaluationRequest, evaluation_steps
from digitcnn.ui.evaluation_view import EvaluationView
from digitcnn.ui.figure_gallery import build_figure_gallery
from digitcnn.ui.gap_section import build_gap_section
from digitcnn.ui.models import Models
from digitcnn.ui.parts import (
    PRIVATE,
    ViewUpdate,
    default_passes,
    results_view,
    run_on_press,
    status_line,
)
from digitcnn.ui.robustness_section import build_robustness_section
from digitcnn.ui.set_chooser import build_set_chooser
from digitcnn.ui.tables import table_view
from digitcnn.web.bundle import style
from digitcnn.workspace import Workspace

NO_RESULTS = (
    "No results yet. Press Evaluate to see metrics, errors, nine figures, the causes of the gap, "
    "and robustness."
)


def build_evaluate_tab(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    page: gr.Blocks,
) -> None:
    """Build the tab inside an open ``gr.Tab`` of ``page``.

    model_select: its value is the name of the checkpoint that is evaluated.
    """
    cache = FigureCache()
    shown = gr.State(EvaluationView())
    gr.Markdown(
        "Score the model on test sets it was not trained on: accuracy with a 95% interval, "
        "calibration, nine figures, and its errors."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            digits = build_set_chooser(workspace, access, owner_token, page)
        with gr.Column(scale=2, min_width=280):
            run = gr.Button("Evaluate", variant="primary", elem_id="evaluate-run")
    status = gr.HTML(status_line(NO_RESULTS), elem_id="evaluate-status")
    with results_view("evaluate-results"):
        table = table_view(elem_id="evaluate-table")
        words = gr.HTML(css_template=style("downloads.css"), elem_id="evaluate-words")
        with gr.Accordion("Per digit", open=False):
            per_digit = table_view(elem_id="evaluate-per-digit")
        browser = build_error_browser(workspace, models, shown)
        gallery = build_figure_gallery(workspace, models, cache, shown)
        gap = build_gap_section(workspace, models, shown, browser.digits)
        robustness = build_robustness_section(workspace, models, shown, browser.digits)

    components: dict[str, Any] = {
        "status": status,
        "table": table,
        "words": words,
        "per_digit": per_digit,
        **gallery.figures,
        "zip": gallery.zip_link,
        "matrices": browser.matrices,
        "error_set": browser.digits,
        "true": browser.true,
        "predicted": browser.predicted,
        "errors": browser.images,
        "gap_status": gap.status,
        "gap": gap.figure,
        "robustness_status": robustness.status,
        "robustness": robustness.figure,
        "robustness_table": robustness.table,
        "view": shown,
    }

    def score(
        request: gr.Request, token: str, name: str | None, chosen: Any, *example_and_passes: Any
    ) -> Iterator[ViewUpdate]:
        checked = EvaluationRequest.check(workspace, models, name, chosen, *example_and_passes)
        save = access.is_owner(request, token)
        for update in evaluation_steps(workspace, cache, checked, save=save):
            if "view" in update:
                names = list(update["view"].sets)
                update |= {"true": ANY, "predicted": ANY_ERROR}
                update["error_set"] = gr.Dropdown(names, value=names[0])
            yield update

    # Without triggers: when the page loads and whenever the selection changes.
    gr.on(
        None,
        partial(default_passes, models),
        model_select,
        gallery.passes,
        queue=False,
        **PRIVATE,
    )
    run_on_press(
        run,
        "Evaluation",
        score,
        [owner_token, model_select, digits, gallery.passes, gallery.digit, gallery.place],
        components,
        js=WITH_TOKEN_JS,
    )
