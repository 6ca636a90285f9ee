"""The Sketchpad tab: predictions while the pen is down, and feedback on them.

The pad is a template, styles and ``pad.js`` in ``digitcnn.web``. It calls the functions below as
``server_functions``: Gradio sends each call as one POST, without its queue and without updating
the page, so a prediction takes little longer than the network and the canvas never flickers. Each
call returns a plain dictionary, ``{"error": sentence}`` if it fails. Any program can send such a
POST, so every part of it is checked here.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import gradio as gr
import numpy as np
import torch
from cachetools import TTLCache, cached
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from digitcnn.digits import image_files, sketch
from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.framing import Floats
from digitcnn.digits.hand_drawn import drawings
from digitcnn.digits.ink import Ink
from digitcnn.digits.numbers import Pieces, pieces_of_ink, pieces_of_strokes
from digitcnn.errors import DigitCNNError, FeedbackError, SketchError
from digitcnn.feedback.entry import FeedbackFilter, NewFeedback, Score
from digitcnn.process import on_one_core
from digitcnn.services.prediction import digits_of, ink_of_file, read_image, read_pieces
from digitcnn.ui.clock import Clock
from digitcnn.ui.models import Models
from digitcnn.ui.parts import base64_of, png_address
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# The pad reduces images to 1,280 pixels before it sends them; these fit several times over.
MAX_PICTURE_BYTES = 4 * 1024 * 1024

# Maximum age of the visitors' total score when a page polls for updates, once a second.
SECONDS_BETWEEN_SCORES = 0.5

log = logging.getLogger(__name__)

Payload = dict[str, Any]


@dataclass(frozen=True)
class PanelSection:
    """The panels beside the pad: their HTML, and the functions that their scripts call."""

    html: Markup
    functions: Sequence[Callable[[Any], Payload]]


def build_sketchpad_tab(
    workspace: Workspace,
    models: Models,
    model_select: gr.Dropdown,
    panels: PanelSection,
    clock: Clock,
) -> None:
    """Build the pad with its panels inside an open ``gr.Tab``.

    model_select: its value is the name of the checkpoint that classifies the sketches.
    """

    # Published by the clock, so that everybody sees the score change.
    @cached(TTLCache(1, SECONDS_BETWEEN_SCORES), condition=threading.Condition())
    def everybody() -> Payload:
        return _score(workspace.feedback.score())

    clock.publish("everybody", everybody)
    gr.HTML(
        render("sketchpad/pad.html", panels=panels.html, examples=example_strokes()),
        css_template=bundle.style("pad.css", "feedback_bar.css", "panels.css", "panel_steps.css"),
        apply_default_css=False,
        server_functions=[*pad_functions(workspace, models), *panels.functions],
        elem_id="sketchpad",
    )
    # Without triggers: when the page loads and whenever the selection changes, in the browser.
    told = bundle.handler("tell", "digitcnn-model")
    gr.on(inputs=model_select, js=told, api_visibility="private")


def example_strokes() -> list[list[list[list[float]]]]:
    """Return the strokes of a drawn digit of each kind, a seven first."""
    strokes = [drawing.strokes for drawing in drawings()[::2]]
    return strokes[7:] + strokes[:7]


def pad_functions(workspace: Workspace, models: Models) -> list[Callable[[Any], Payload]]:
    """Return the functions that pad.js calls by name: JSON in, a dictionary out, never an error."""

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
    blank sketch ``{"digit": None}``. Of a picture also ``"ink"``, a PNG with what was taken for
    ink. Raises SketchError or CheckpointError.
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


def pieces_of(payload: Payload) -> tuple[Pieces | None, Ink | None]:
    """Return a sketch's strokes or a picture's pieces, None when it is blank; a picture's ink too.

    payload: ``{"picture"}`` or ``{"strokes", "width"}``, unchecked. Raises SketchError.
    """
    if "picture" not in payload:
        pieces = pieces_of_strokes(*_strokes(payload))
        return (pieces if len(pieces.boxes) else None), None
    ink = ink_of_file(_decoded(payload["picture"]))
    return (None if ink is None else pieces_of_ink(ink)), ink


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


def replying(handler: Callable[[Payload], Payload]) -> Callable[[Any], Payload]:
    """Wrap a handler to accept any JSON and to return errors, since these calls have no toast."""

    @functools.wraps(handler)
    def guarded(payload: Any) -> Payload:
        if not isinstance(payload, dict):
            return {"error": "The pad sent an invalid sketch; reload the page."}
        try:
            with on_one_core():
                return handler(payload)
        except DigitCNNError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("A handler of the Sketchpad failed")
            return {
                "error": "Something went wrong; the terminal running digitcnn shows the details."
            }

    return guarded


def seen_of(payload: Payload) -> Tensor | None:
    """Return a sketch as a network's input, uint8 [28, 28]; None when it is blank.

    payload: ``{"seen": 784 pixels in base64}``, as ``predict_sketch`` returns them for a picture
    and for each part of a number, else ``{"picture"}`` or ``{"strokes", "width"}``; unchecked.
    Everything drawn counts as one digit. Raises SketchError.
    """
    if "seen" in payload:
        pixels = _decoded(payload["seen"])
        if len(pixels) != SIDE * SIDE:
            raise SketchError("The pad sent no image of 28x28 pixels; reload the page.")
        seen = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(SIDE, SIDE)
        return seen if seen.any() else None
    if "picture" in payload:
        return sketch.from_image(image_files.open_image(_decoded(payload["picture"])))
    return sketch.from_strokes(*_strokes(payload))


def _strokes(payload: Payload) -> tuple[Any, Any]:
    return payload.get("strokes"), payload.get("width")


def _decoded(encoded: Any) -> bytes:
    if not isinstance(encoded, str) or len(encoded) > MAX_PICTURE_BYTES * 4 // 3 + 4:
        raise SketchError("The image is too large to be sent; save a smaller one.")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SketchError("The image was damaged in transit; paste or drop it again.") from error


def text_of(payload: Payload, key: str) -> str:
    """Return a text from a payload. Raises SketchError where it is missing."""
    value = payload.get(key)
    if not isinstance(value, str) or not value:
        if key == "model":
            raise SketchError("No model is chosen; choose one in the header or train one.")
        raise SketchError(f"The pad sent no valid {key} id; reload the page.")
    return value


def _score(score: Score) -> Payload:
    """Return a score for JSON, in which undefined shares are null."""
    shares = {"share": score.share, "low": score.low, "high": score.high}
    return {
        "right": score.right,
        "total": score.total,
        **{key: None if math.isnan(value) else value for key, value in shares.items()},
    }
