"""What if: the drawing turned, moved, scaled, thickened or blurred, and where its answer breaks."""

from __future__ import annotations

import base64
import json
import math
from html import escape

from digitcnn.analysis.robustness import AXES, Axis, Perturbation, perturb
from digitcnn.errors import SketchError
from digitcnn.ui.models import Models
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.panels.twins import Twins
from digitcnn.ui.sketchpad_tab import Payload, seen_of, text_of


def what_if_panel(models: Models) -> Panel:
    """The panel; ``what_if`` answers ``{"model", "strokes", "width", "axis"}`` or with
    ``"picture"``."""
    twins = Twins()

    def what_if(payload: Payload) -> Payload:
        return bent_sketch(models, twins, payload)

    return Panel(
        name="what_if",
        title="What if",
        explanation="Turn, move, scale, thicken or blur your drawing, and see how far you can go "
        "before the network takes it for another digit.",
        functions=(what_if,),
        content=_NOW + "".join(map(_slider, AXES)),
    )


def bent_sketch(models: Models, twins: Twins, payload: Payload) -> Payload:
    """``{"answer": digit, "axes": one per axis of {"rival", "below", "above", "probabilities"},
    "images": of the axis asked for}``; ``{"blank": True}`` for an empty drawing.

    payload: ``"axis"`` is the place of an axis in AXES, or null for the unchanged drawing alone.
    probabilities: ten, calibrated, for each of the axis' values. below, above: the place among
    them where the answer breaks, null where it never does. images: 784 pixels for each, in base64.
    Raises SketchError or CheckpointError.
    """
    wanted = payload.get("axis")
    if wanted is not None and (type(wanted) is not int or not 0 <= wanted < len(AXES)):
        raise SketchError(
            f"The axis that was asked for is none of 0 to {len(AXES) - 1}; reload the page."
        )
    seen = seen_of(payload)
    if seen is None:
        return {"blank": True}
    checkpoint = models.get(text_of(payload, "model"))
    found = perturb(twins.of(checkpoint), seen, checkpoint.temperature)
    images = seen if wanted is None else found[wanted].images
    return {
        "answer": found[0].answer,
        "axes": [_axis(one) for one in found],
        "axis": wanted,
        "images": base64.b64encode(images.numpy().tobytes()).decode("ascii"),
    }


def _axis(found: Perturbation) -> Payload:
    return {
        "rival": found.rival,
        "below": _place(found.axis, found.below),
        "above": _place(found.axis, found.above),
        "probabilities": [[round(p, 4) for p in row] for row in found.probabilities.tolist()],
    }


def _place(axis: Axis, value: float) -> int | None:
    return None if math.isnan(value) else axis.values.index(value)


_NOW = (
    '<div class="now"><canvas class="changed" width="28" height="28" role="img" '
    'aria-label="The changed drawing as the network sees it"></canvas>'
    '<ol class="columns" aria-label="Probability of each digit for the changed drawing"></ol>'
    '<div class="told"><p class="verdict" role="status" aria-live="polite"></p>'
    '<button type="button" class="back" disabled title="Undo the change">Reset</button></div></div>'
)


def _slider(axis: Axis) -> str:
    name = escape(axis.name.capitalize())
    texts = escape(json.dumps([axis.text(value) for value in axis.values]))
    neutral = axis.values.index(axis.neutral)
    return (
        f'<div class="axis" data-name="{name}" data-neutral="{neutral}" data-texts="{texts}">'
        f'<div class="words"><span class="name">{name}</span>'
        f'<output class="value">{escape(axis.text(axis.neutral))}</output>'
        '<span class="breaks"></span></div>'
        '<div class="chart"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Probabilities along this change: {name}"></svg>'
        '<span class="tag" hidden></span></div>'
        f'<input type="range" min="0" max="{len(axis.values) - 1}" step="1" value="{neutral}" '
        f'aria-label="{name}"></div>'
    )
