"""The Compare tab: compares several models on the same images, with significance tests."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from digitcnn.ui.access import Access
from digitcnn.ui.compare_export import export_page
from digitcnn.ui.compare_models import ModelChoice
from digitcnn.ui.compare_sketch import build_sketch_section
from digitcnn.ui.compare_steps import comparison_steps, comparison_subject, differences_of
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, status_line
from digitcnn.ui.results import Computation, Results, results_view
from digitcnn.ui.robustness_section import RobustnessSection
from digitcnn.ui.run_buttons import RunButtons
from digitcnn.ui.set_chooser import build_sets
from digitcnn.ui.subject import Subject
from digitcnn.ui.tables import data_link, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.workspace import Workspace

# Comparisons computed at a time, for all pages together; the others wait.
AT_A_TIME = 2

NO_RESULTS = (
    "No results yet. Press Compare to see how the models' settings differ, which model is better, "
    "and which images they disagree on."
)


def build_compare_tab(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    run_tools: gr.HTML,
    page: gr.Blocks,
    tab: gr.Tab,
) -> None:
    """Build the tab inside the open ``tab`` of ``page``.

    model_select: its value is the name of the model that is compared with others at first.
    run_tools: its ``select`` event carries names of models, ``{"models"}``, to compare at once.
    """
    with gr.Column(elem_classes="takes-files"):
        with gr.Row(equal_height=True, elem_classes="tab-head"):
            gr.Markdown(
                "Which model is better on the same images, and is the difference more than chance?",
                elem_classes="lead-in",
            )
            export = gr.Button("Export page", size="sm", scale=0, elem_id="compare-export")
        export_link = gr.HTML(elem_id="compare-export-link")
        with gr.Row(equal_height=False, elem_classes="compare-choice"):
            with gr.Column(min_width=300):
                choice = ModelChoice(workspace, models)
            # Before the lines on dropped files: however many there are, the button stays in sight.
            with gr.Column(min_width=300):
                digits = build_sets(workspace, page, "compare-digits")
                buttons = RunButtons("Compare", "compare", "primary")
                with buttons.row:
                    choice.build_offer()
                status = gr.HTML(status_line(NO_RESULTS), elem_id="compare-status")
            with gr.Column(min_width=300):
                choice.build_drop_zone()
        choice.connect(access, owner_token, model_select, run_tools, status, page)
        results = Results("compare", "Comparison", "Compare")
        components, robustness = _build_results(workspace, models, results)

        compared = results.connect(
            buttons,
            {"status": status, **components},
            Computation(
                [choice.chosen, digits],
                partial(comparison_subject, workspace, models),
                lambda _, subject: comparison_steps(workspace, models, subject),
                at_a_time=AT_A_TIME,
            ),
            opens=tab,
        )
        compared.then(None, js=bundle.handler("center", "#compare-words .verdict"), **PRIVATE)

        @toasting
        def make_page(subject: Subject, measured: dict[str, str]) -> str:
            page = export_page(workspace, models, subject, measured)
            return data_link(page.encode(), "text/html;charset=utf-8", "comparison.html", "Export")

        export.click(make_page, [results.view, robustness.shown], export_link, **PRIVATE).success(
            None, js=bundle.handler("press", "#compare-export-link a"), **PRIVATE
        )
        build_sketch_section(models, choice.chosen)


def _build_results(
    workspace: Workspace, models: Models, results: Results
) -> tuple[dict[str, Any], RobustnessSection]:
    """Build the components of the results; return them by name."""
    with results_view("compare-results"):
        differs = table_view(elem_id="compare-differs")
        verdicts = gr.HTML(
            css_template=bundle.style("verdicts.css"),
            apply_default_css=False,
            elem_id="compare-words",
        )
        accuracies = gr.HTML(apply_default_css=False, elem_id="compare-accuracies")
        table = table_view(elem_id="compare-table")
        gr.Markdown("### Where they differ")
        with gr.Row():
            set_of = gr.Dropdown([], label="Test set", min_width=140, elem_id="compare-set")
            first = gr.Dropdown([], label="Model", min_width=220, elem_id="compare-first")
            second = gr.Dropdown([], label="Compared with", min_width=220, elem_id="compare-second")
        images = gr.HTML(
            css_template=bundle.style("tiles.css"),
            apply_default_css=False,
            elem_id="compare-images",
        )
        robustness = RobustnessSection(results, "test set chosen above")
        robustness.connect(workspace, models, set_of)
        with gr.Accordion("Significance tests (McNemar, Holm)", open=False):
            pairs = table_view("compare-pairs", "tight_table.css")
        with gr.Accordion("Per digit and confusion", open=False):
            digit_tables = table_view(elem_id="compare-digit-tables")
        with gr.Accordion("All settings and training curves", open=False):
            settings = table_view(elem_id="compare-settings")
            history = gr.HTML(apply_default_css=False, elem_id="compare-history")

    @toasting
    def differ(subject: Subject, *choice: Any) -> list[str]:
        parts = differences_of(workspace, models, subject, *choice)
        return [results.stamped(subject, part) for part in parts]

    for control in (set_of, first, second):
        control.input(
            differ, [results.view, set_of, first, second], [images, digit_tables], **PRIVATE
        )
    return {
        "differs": differs,
        "verdicts": verdicts,
        "accuracies": accuracies,
        "table": table,
        "pairs": pairs,
        "settings": settings,
        "history": history,
        "set": set_of,
        "first": first,
        "second": second,
        "images": images,
        "digit_tables": digit_tables,
        "robustness_status": robustness.status,
        "robustness": robustness.figure,
        "robustness_table": robustness.table,
    }, robustness
