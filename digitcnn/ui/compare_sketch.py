"""The section of the Compare tab that classifies the pad's sketch with every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from digitcnn.analysis.comparison import check_number
from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import SketchError
from digitcnn.intervals import confidence_text
from digitcnn.services.evaluation import names_of
from digitcnn.services.prediction import AnyReading, Reading, digits_of, read_pieces
from digitcnn.ui.models import Models
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketchpad_tab import Payload, pieces_of, replying
from digitcnn.ui.subject import names_in
from digitcnn.ui.wording import lettered
from digitcnn.web import bundle
from digitcnn.web.templates import render


def build_sketch_section(models: Models, chosen: gr.Dropdown) -> None:
    """Build the section. chosen: its value names the models."""
    gr.Markdown("### One sketch, every model")
    ask = gr.Button("Classify the sketch on the pad", size="sm", elem_id="compare-ask")
    gr.HTML(
        render("compare/one_sketch.html"),
        css_template=bundle.style("compare.css"),
        apply_default_css=False,
        server_functions=[compare_function(models)],
        elem_id="compare-answers",
    )
    # The page's script has the sketch, calls ``compare_answers`` and fills the table.
    told = bundle.handler("tell", "digitcnn-compare")
    ask.click(None, chosen, None, js=told, api_visibility="private")


def compare_function(models: Models) -> Callable[[Any], Payload]:
    """Return the function that compare.js calls: any JSON in, a dictionary out, never an error."""

    @replying
    def compare_answers(payload: Payload) -> Payload:
        return sketch_predictions(models, payload)

    return compare_answers


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
    refused = f"({first}?)" if short else f"Not a digit (closest: {first})"
    return [
        refused if reading.prediction is None else str(first),
        confidence_text(probabilities[first]),
        f"{second} ({confidence_text(probabilities[second])})",
    ]
