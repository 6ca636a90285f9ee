"""The Sketchpad tab: predictions while the pen is down, and feedback on them.

The pad is a template, styles and ``pad.js`` in ``digitcnn.web``. It calls the functions below, so a
prediction takes little longer than the network and the canvas never flickers.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import gradio as gr
import numpy as np
from cachetools import TTLCache, cached
from PIL import Image

from digitcnn.digits.framing import Floats
from digitcnn.digits.hand_drawn import drawings
from digitcnn.errors import FeedbackError
from digitcnn.feedback.entry import FeedbackFilter, NewFeedback, Score
from digitcnn.services.prediction import digits_of, read_image, read_pieces
from digitcnn.ui.calls import Payload, replying, text_of
from digitcnn.ui.context import Context
from digitcnn.ui.models import Models
from digitcnn.ui.panels.break_it import break_it_panel
from digitcnn.ui.panels.nearest import nearest_panel
from digitcnn.ui.panels.panel import Panel, panel_functions
from digitcnn.ui.panels.replay import replay_panel
from digitcnn.ui.panels.step_through import step_through_panel
from digitcnn.ui.panels.what_if import what_if_panel
from digitcnn.ui.panels.why import why_panel
from digitcnn.ui.parts import base64_of, html_view, png_address
from digitcnn.ui.sketches import SketchReader, pieces_of, seen_of
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# Maximum age of the visitors' total score when a page polls for updates, once a second.
SECONDS_BETWEEN_SCORES = 0.5


def build_sketchpad_tab(context: Context) -> None:
    """Build the pad with its panels inside an open ``gr.Tab``."""
    workspace, models = context.workspace, context.models

    # Published by the clock, so that everybody sees the score change.
    @cached(TTLCache(1, SECONDS_BETWEEN_SCORES), condition=threading.Condition())
    def everybody() -> Payload:
        return _score(workspace.feedback.score())

    context.clock.publish("everybody", everybody)
    panels = panels_of(workspace, models)
    html_view(
        "sketchpad",
        *("pad.css", "feedback_bar.css", "panels.css", "panel_steps.css"),
        value=render("sketchpad/pad.html", panels=panels, examples=example_strokes()),
        server_functions=[*pad_functions(workspace, models), *panel_functions(panels)],
    )
    # Without triggers: when the page loads and whenever the selection changes, in the browser.
    announce = bundle.handler("tell", "digitcnn-model")
    gr.on(inputs=context.model_select, js=announce, api_visibility="private")


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


def example_strokes() -> list[list[list[list[float]]]]:
    """Return the strokes of a drawn digit of each kind, a seven first."""
    strokes = [drawing.strokes for drawing in drawings()[::2]]
    return strokes[7:] + strokes[:7]


def pad_functions(workspace: Workspace, models: Models) -> list[Callable[[Any], Payload]]:
    """Return the functions that pad.js calls by name."""

    @replying
    def predict(payload: Payload) -> Payload:
        return {**predict_sketch(models, payload), "busy": workspace.processor_busy}

    @replying
    def give_feedback(payload: Payload) -> Payload:
        return record_feedback(workspace, models, payload, datetime.now(timezone.utc))

    @replying
    def scores(payload: Payload) -> Payload:
        return scores_of(workspace, payload)

    return [predict, give_feedback, scores]


def predict_sketch(models: Models, payload: Payload) -> Payload:
    """Read ``{"model", "strokes", "width"}`` or ``{"model", "picture"}``.

    Returns ``{"digit": the closest, "is_digit": bool, "digit_score", "probabilities": ten, "seen":
    784 pixels in base64, "calibrated": bool}``; ``is_digit`` is None where the model cannot reject
    non-digits. For a number ``{"digit": None, "is_digit": False, "number", "parts": such
    dictionaries}``, for what is neither ``{"digit": None, "is_digit": False, "reason"}``, for a
    blank sketch ``{"digit": None}``. Of a picture also ``"ink"``, a PNG of its ink.
    Raises SketchError or CheckpointError.
    """
    pieces, ink = pieces_of(payload)
    if pieces is None:
        return {"digit": None}
    checkpoint = models.get(text_of(payload, "model"))
    reading = read_pieces(checkpoint, pieces)
    values = {**reading.to_json(), "calibrated": checkpoint.calibrated}
    shown = values.get("parts", [values])
    for value, digit in zip(shown, digits_of(reading), strict=False):
        value.update(seen=base64_of(digit.seen), is_digit=digit.is_digit)
    if ink is not None:
        values["ink"] = png_address(_stencil(ink.shares))
    return values


def _stencil(shares: Floats) -> bytes:
    """Return ink as a PNG file that is clear where there is none."""
    opacity = Image.fromarray(np.rint(255 * shares).astype(np.uint8))
    file = io.BytesIO()
    Image.merge("LA", (Image.new("L", opacity.size), opacity)).save(file, "png")
    return file.getvalue()


def record_feedback(
    workspace: Workspace, models: Models, payload: Payload, now: datetime
) -> Payload:
    """Store a person's feedback on the prediction for a sketch.

    payload: that of ``predict_sketch`` with ``{"visitor", "sketch", "digit"}``; digit None means
    'not a digit'. The prediction is computed again, never taken from the page. Returns it with the
    new scores, as ``scores_of`` does. Raises SketchError, CheckpointError or FeedbackError.
    """
    true_digit = payload.get("digit", "")
    if true_digit is not None and type(true_digit) is not int:
        raise FeedbackError("Feedback needs a label; choose 0 to 9, or None.")
    seen = seen_of(payload)
    if seen is None:
        raise FeedbackError("The pad is empty; draw a digit before giving feedback.")
    checkpoint = models.get(text_of(payload, "model"))
    reading = read_image(checkpoint, seen)
    visitor = text_of(payload, "visitor")
    workspace.feedback.record(
        NewFeedback(
            visitor=visitor,
            sketch_id=text_of(payload, "sketch"),
            model_digest=checkpoint.digest,
            model_name=checkpoint.name,
            answer=reading.prediction,
            probabilities=reading.probabilities,
            true_digit=true_digit,
            strokes=None if "seen" in payload else payload.get("strokes"),
            image=seen,
            now=now,
        )
    )
    return {"answer": reading.prediction, **scores_of(workspace, payload)}


def scores_of(workspace: Workspace, payload: Payload) -> Payload:
    """Return the scores of ``{"visitor"}`` and of all, and where sketches are stored.

    Raises FeedbackError.
    """
    store = workspace.feedback
    visitor = text_of(payload, "visitor")
    return {
        "mine": _score(store.score(FeedbackFilter(visitor))),
        "all": _score(store.score()),
        "stored_in": store.public_location,
    }


def _score(score: Score) -> Payload:
    """Return a score for JSON, in which undefined shares are null."""
    shares = {"share": score.share, "low": score.low, "high": score.high}
    return {
        "right": score.right,
        "total": score.total,
        **{key: None if math.isnan(value) else value for key, value in shares.items()},
    }
