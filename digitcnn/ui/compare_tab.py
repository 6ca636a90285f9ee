"""The Compare tab: compares several models on the same images, with significance tests."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from digitcnn.analysis.comparison import check_number
from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import SketchError
from digitcnn.intervals import confidence_text
from digitcnn.services.evaluation import names_of
from digitcnn.services.prediction import AnyReading, Reading, digits_of, read_pieces
from digitcnn.ui.calls import Payload, replying
from digitcnn.ui.compare_models import ModelChoice
from digitcnn.ui.compare_steps import (
    comparison_steps,
    comparison_subject,
    differences_of,
    export_page,
)
from digitcnn.ui.context import Context
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, base64_of, html_view, status_line
from digitcnn.ui.results import Computation, Results, RunButtons, results_view
from digitcnn.ui.robustness_section import build_robustness_section
from digitcnn.ui.set_chooser import build_sets
from digitcnn.ui.sketches import pieces_of
from digitcnn.ui.subject import Subject, names_in
from digitcnn.ui.tables import data_link, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import lettered
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# Comparisons computed at a time, for all pages together; the others wait.
AT_A_TIME = 2

NO_RESULTS = (
    "No results yet. Press Compare to see how the models' settings differ, which model is better, "
    "and which images they disagree on."
)


def build_compare_tab(context: Context, run_tools: gr.HTML, tab: gr.Tab) -> None:
    """Build the tab inside the open ``tab``.

    run_tools: its ``select`` event carries names of models, ``{"models"}``, to compare at once.
    """
    workspace, models = context.workspace, context.models
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
                choice = ModelChoice(context)
            # Before the lines on dropped files: however many there are, the button stays in sight.
            with gr.Column(min_width=300):
                digits = build_sets(context, "compare-digits")
                buttons = RunButtons("Compare", "compare", "primary")
                with buttons.row:
                    choice.build_offer()
                status = gr.HTML(status_line(NO_RESULTS), elem_id="compare-status")
            with gr.Column(min_width=300):
                choice.build_drop_zone()
        choice.connect(run_tools, status)
        results = Results("compare", "Comparison", "Compare")
        results.parts["status"] = status
        robustness = _build_results(workspace, models, results)

        compared = results.connect(
            buttons,
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

        export.click(make_page, [results.view, robustness], export_link, **PRIVATE).success(
            None, js=bundle.handler("press", "#compare-export-link a"), **PRIVATE
        )
        build_sketch_section(models, choice.chosen)


def _build_results(workspace: Workspace, models: Models, results: Results) -> gr.State:
    """Build the components and their events; return what ``build_robustness_section`` does."""
    parts = results.parts
    with results_view("compare-results"):
        parts["differs"] = table_view(elem_id="compare-differs")
        parts["verdicts"] = html_view("compare-words", "verdicts.css")
        parts["accuracies"] = html_view("compare-accuracies")
        parts["table"] = table_view(elem_id="compare-table")
        gr.Markdown("### Where they differ")
        with gr.Row():
            set_of = gr.Dropdown([], label="Test set", min_width=140, elem_id="compare-set")
            first = gr.Dropdown([], label="Model", min_width=220, elem_id="compare-first")
            second = gr.Dropdown([], label="Compared with", min_width=220, elem_id="compare-second")
        images = html_view("compare-images", "tiles.css")
        robustness = build_robustness_section(workspace, models, results, set_of)
        with gr.Accordion("Significance tests (McNemar, Holm)", open=False):
            parts["pairs"] = table_view("compare-pairs", "tight_table.css")
        with gr.Accordion("Per digit and confusion", open=False):
            digit_tables = table_view(elem_id="compare-digit-tables")
        with gr.Accordion("All settings and training curves", open=False):
            parts["settings"] = table_view(elem_id="compare-settings")
            parts["history"] = html_view("compare-history")
    parts |= {"set": set_of, "first": first, "second": second}
    parts |= {"images": images, "digit_tables": digit_tables}

    @toasting
    def differ(subject: Subject, *choice: Any) -> list[str]:
        parts = differences_of(workspace, models, subject, *choice)
        return [results.stamped(subject, part) for part in parts]

    for control in (set_of, first, second):
        control.input(
            differ, [results.view, set_of, first, second], [images, digit_tables], **PRIVATE
        )
    return robustness


def build_sketch_section(models: Models, chosen: gr.Dropdown) -> None:
    """Build the section. chosen: its value names the models."""
    gr.Markdown("### One sketch, every model")
    ask = gr.Button("Classify the sketch on the pad", size="sm", elem_id="compare-ask")

    @replying
    def compare_answers(payload: Payload) -> Payload:
        return sketch_predictions(models, payload)

    html_view(
        "compare-answers",
        "compare.css",
        value=render("compare/one_sketch.html"),
        server_functions=[compare_answers],
    )
    # The page's script has the sketch, calls ``compare_answers`` and fills the table.
    announce = bundle.handler("tell", "digitcnn-compare")
    ask.click(None, chosen, None, js=announce, api_visibility="private")


def sketch_predictions(models: Models, payload: Payload) -> Payload:
    """Return every chosen model's prediction for one sketch. Raises DigitCNNError.

    payload: the sketch, as the pad sends it, and ``{"models": names}``; from anybody. Returns
    ``{"seen": 784 pixels in base64 for each digit, "heads", "rows": texts}``; each model splits a
    number for itself, and the first model's digits are shown.
    """
    keys = names_in(payload.get("models"))
    check_number(len(keys))
    pieces, _ = pieces_of(payload)
    if pieces is None:
        raise SketchError("The pad is empty; draw a digit on the Sketchpad tab first.")
    checkpoints = [models.get(key) for key in keys]
    readings = [read_pieces(checkpoint, pieces) for checkpoint in checkpoints]
    return {
        "seen": [base64_of(digit.seen) for digit in digits_of(readings[0])],
        "heads": ["Model", "Prediction", "Confidence", "Runner-up"],
        "rows": [
            [name, *_texts(reading)]
            for name, reading in zip(lettered(names_of(checkpoints)), readings, strict=True)
        ],
    }


def _texts(reading: AnyReading) -> list[str]:
    """Return prediction, confidence and runner-up; of a number, of all its digits."""
    digits = digits_of(reading)
    if not digits:
        return ["Not one row of digits", "–", "–"]
    columns = zip(*[_digit_texts(digit, short=len(digits) > 1) for digit in digits], strict=True)
    return [" ".join(column) for column in columns]


def _digit_texts(reading: Reading, short: bool) -> list[str]:
    probabilities = reading.probabilities
    first, second = sorted(range(CLASSES), key=probabilities.__getitem__, reverse=True)[:2]
    rejected = f"({first}?)" if short else f"Not a digit (closest: {first})"
    return [
        rejected if reading.prediction is None else str(first),
        confidence_text(probabilities[first]),
        f"{second} ({confidence_text(probabilities[second])})",
    ]
