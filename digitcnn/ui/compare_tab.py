"""The Compare tab: compares several models on the same images, with significance tests."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from digitcnn.ui.access import Access
from digitcnn.ui.compare_models import ModelChoice
from digitcnn.ui.compare_sketch import build_sketch_section
from digitcnn.ui.compare_steps import (
    ComparisonView,
    compared_robustness_steps,
    comparison_steps,
    differences_of,
)
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, results_view, run_on_press, status_line
from digitcnn.ui.robustness_section import RobustnessSection
from digitcnn.ui.set_chooser import build_sets
from digitcnn.ui.tables import table_view
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.workspace import Workspace

# Comparisons computed at a time, for all pages together; the others wait.
AT_A_TIME = 2

NO_RESULTS = (
    "No results yet. Choose at least two models (train one or drop a file above) and press Compare "
    "to see accuracies, significance tests, the images they disagree on, and robustness."
)


def build_compare_tab(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    page: gr.Blocks,
) -> None:
    """Build the tab inside an open ``gr.Tab`` of ``page``.

    model_select: its value is the name of the model that is compared with others at first.
    """
    gr.Markdown(
        "Compare two to eight models on the same images: which is better, and is the difference "
        "more than chance? You can drop your own checkpoints below."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300, elem_classes="takes-files"):
            choice = ModelChoice(workspace, models)
        with gr.Column(scale=2, min_width=280):
            digits = build_sets(workspace, page, "compare-digits")
            run = gr.Button("Compare", variant="primary", elem_id="compare-run")
    status = gr.HTML(status_line(NO_RESULTS), elem_id="compare-status")
    choice.connect(access, owner_token, model_select, status, page)
    components = {"status": status, **_build_results(workspace, models)}

    run_on_press(
        run,
        "Comparison",
        lambda _, *values: comparison_steps(workspace, models, *values),
        [choice.chosen, digits],
        components,
        at_a_time=AT_A_TIME,
    )
    build_sketch_section(models, choice.chosen)


def _build_results(workspace: Workspace, models: Models) -> dict[str, Any]:
    """Build the components of the results; return them by name."""
    shown = gr.State(ComparisonView())
    with results_view("compare-results"):
        table = table_view(elem_id="compare-table")
        words = gr.HTML(elem_id="compare-words")
        pairs = table_view(elem_id="compare-pairs")
        with gr.Accordion("Settings and training curves", open=False):
            settings = table_view(elem_id="compare-settings")
            history = gr.HTML(elem_id="compare-history")
        gr.Markdown("### Where they differ")
        with gr.Row():
            set_of = gr.Dropdown([], label="Test set", elem_id="compare-set")
            first = gr.Dropdown([], label="Model A", elem_id="compare-first")
            second = gr.Dropdown([], label="Model B", elem_id="compare-second")
        images = table_view(elem_id="compare-images", style=bundle.style("tiles.css"))
        robustness = RobustnessSection("test set chosen above", "compare-robustness")

    for control in (set_of, first, second):
        control.input(
            toasting(partial(differences_of, workspace, models)),
            [shown, set_of, first, second],
            images,
            **PRIVATE,
        )
    robustness.on_click(partial(compared_robustness_steps, workspace, models), [shown, set_of])
    return {
        "table": table,
        "words": words,
        "pairs": pairs,
        "settings": settings,
        "history": history,
        "set": set_of,
        "first": first,
        "second": second,
        "images": images,
        "robustness_status": robustness.status,
        "robustness": robustness.figure,
        "robustness_table": robustness.table,
        "view": shown,
    }
