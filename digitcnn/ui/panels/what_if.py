"""What if: the sketch rotated, shifted, scaled, thickened or blurred, and its predictions."""

from __future__ import annotations

import math
from functools import partial

from digitcnn.analysis.axes import SKETCH_AXES, Axis
from digitcnn.analysis.robustness import Perturbation, perturb
from digitcnn.errors import SketchError
from digitcnn.ui.calls import Payload
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketches import SketchReader


def what_if_panel(reader: SketchReader) -> Panel:
    """Return the panel."""
    return Panel(
        name="what_if",
        title="What if",
        explanation="Rotate, shift, scale, thicken or blur your sketch to see when the prediction "
        "changes.",
        functions={"what_if": partial(perturbed_sketch, reader)},
        values={"axes": [_slider(axis) for axis in SKETCH_AXES]},
    )


def perturbed_sketch(reader: SketchReader, payload: Payload) -> Payload:
    """Predict a sketch along every axis of change.

    payload: that of ``SketchReader.read`` with ``"axis"``, the place in SKETCH_AXES whose images to
    return, or null for the unchanged sketch alone.
    Returns ``{"answer": digit, "axes": [{"rival", "below", "above", "probabilities"}, ...],
    "axis", "images"}``, or ``{"blank": True}``. probabilities: ten, calibrated, for each of the
    axis' values. below, above: the place among them where the prediction changes, or null.
    images: 784 pixels each, in base64. Raises SketchError or CheckpointError.
    """
    axis = payload.get("axis")
    if axis is not None and (type(axis) is not int or not 0 <= axis < len(SKETCH_AXES)):
        raise SketchError("Unknown slider; reload the page.")
    reading = reader.read(payload)
    if reading is None:
        return {"blank": True}
    perturbations = perturb(reading.network, reading.image, reading.checkpoint.temperature)
    images = reading.image if axis is None else perturbations[axis].images
    return {
        "answer": perturbations[0].predicted,
        "axes": [_axis(one) for one in perturbations],
        "axis": axis,
        "images": base64_of(images),
    }


def _axis(along: Perturbation) -> Payload:
    return {
        "rival": along.rival,
        "below": _place(along.axis, along.below),
        "above": _place(along.axis, along.above),
        "probabilities": [[round(p, 4) for p in row] for row in along.probabilities.tolist()],
    }


def _place(axis: Axis, value: float) -> int | None:
    return None if math.isnan(value) else axis.values.index(value)


def _slider(axis: Axis) -> Payload:
    return {
        "name": axis.name.capitalize(),
        "texts": [axis.text(value) for value in axis.values],
        "neutral": axis.values.index(axis.neutral),
    }
