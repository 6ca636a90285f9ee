"""The Evaluate tab: scores a model on several test sets and shows its errors and their causes.

It writes only the nine figures of a run, and only for the owner. The sections are built by
``set_chooser``, ``error_browser``, ``figure_gallery``, ``gap_section`` and ``robustness_section``;
the results come from ``evaluation_steps``, and ``results`` shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from digitcnn.services.evaluation import FigureCache
from digitcnn.ui.context import Context
from digitcnn.ui.error_browser import ANY, ANY_ERROR, build_error_browser
from digitcnn.ui.evaluation_steps import EvaluationRequest, evaluation_steps, evaluation_subject
from digitcnn.ui.figure_gallery import build_figure_gallery, gallery_images
from digitcnn.ui.gap_section import build_gap_section
from digitcnn.ui.parts import ViewUpdate, html_view, status_line
from digitcnn.ui.results import Computation, Results, RunButtons, results_view
from digitcnn.ui.robustness_section import build_robustness_section
from digitcnn.ui.set_chooser import build_set_chooser
from digitcnn.ui.subject import Subject
from digitcnn.ui.tables import table_view
from digitcnn.web.bundle import style

NO_RESULTS = (
    "No results yet. Press Evaluate to see the accuracy on each test set, the errors, nine "
    "figures, the causes of the gap, and robustness."
)


def build_evaluate_tab(context: Context, tab: gr.Tab) -> None:
    """Build the tab inside the open ``tab``."""
    workspace, models = context.workspace, context.models
    cache = FigureCache()
    gr.Markdown(
        "How accurate is the model on digits that it was not trained on?", elem_classes="lead-in"
    )
    digits = build_set_chooser(context)
    buttons = RunButtons("Evaluate", "evaluate", "primary")
    status = gr.HTML(status_line(NO_RESULTS), elem_id="evaluate-status")
    results = Results("evaluate", "Evaluation", "Evaluate")
    parts = results.parts
    parts["status"] = status
    with results_view("evaluate-results"), gr.Tabs(elem_classes="sub-tabs"):
        with gr.Tab("Summary"):
            _build_summary(parts)
        with gr.Tab("Errors"):
            build_error_browser(workspace, models, results)
        with gr.Tab("Figures"):
            further = build_figure_gallery(context, cache, results)
        with gr.Tab("Gap and robustness"):
            part_set = gr.Dropdown([], label="Test set", elem_id="evaluate-gap-digits")
            parts["part_set"] = part_set
            build_gap_section(workspace, models, results, part_set)
            build_robustness_section(workspace, models, results, part_set)

    def score(
        request: gr.Request, subject: Subject, token: str, *further: Any
    ) -> Iterator[ViewUpdate]:
        checked = EvaluationRequest.check(workspace, models, subject, *further)
        first, last = subject.sets[0], subject.sets[-1]
        yield {
            "true": ANY,
            "predicted": ANY_ERROR,
            "error_set": gr.Dropdown(subject.set_choices, value=first),
            "part_set": gr.Dropdown(subject.set_choices, value=last),
        }
        save = context.access.is_owner(request, token)
        yield from evaluation_steps(workspace, cache, checked, save=save)

    def prepare(update: ViewUpdate) -> ViewUpdate:
        if "figures" not in update:
            return update
        return {**update, "figures": gallery_images(update["figures"], parts["figures"])}

    results.connect(
        buttons,
        Computation(
            [context.model_select, digits],
            partial(evaluation_subject, workspace, models),
            score,
            further=further,
        ),
        opens=tab,
        owner_token=context.owner_token,
        prepare=prepare,
    )


def _build_summary(parts: dict[str, Any]) -> None:
    """Build what is seen first: accuracies, errors per digit and the worst errors."""
    with gr.Column(elem_classes="summary"):
        parts["summary"] = html_view("evaluate-summary", "summary.css")
        parts["table"] = table_view(elem_id="evaluate-table")
        with gr.Row(equal_height=False):
            with gr.Column(scale=6, min_width=300):
                parts["bars"] = html_view("evaluate-bars")
            with gr.Column(scale=5, min_width=300):
                parts["worst"] = html_view("evaluate-worst", "tiles.css")
        with gr.Accordion("Calibration, per digit, CSV files", open=False):
            parts["words"] = gr.HTML(css_template=style("downloads.css"), elem_id="evaluate-words")
            parts["per_digit"] = table_view(elem_id="evaluate-per-digit")
