"""Why: what the convolution layers see in the drawing, and which ink speaks for the answer."""

from __future__ import annotations

import base64

from torch import Tensor

from digitcnn.analysis.explain import feature_maps
from digitcnn.ui.models import Models
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.sketchpad_tab import Payload, seen_of, text_of


def why_panel(models: Models) -> Panel:
    """The panel; ``why`` answers ``{"model", "strokes", "width"}`` or with ``"picture"``."""

    def why(payload: Payload) -> Payload:
        return explain_sketch(models, payload)

    return Panel(
        name="why",
        title="Why",
        explanation="Each small picture shows where one filter of the network found its shape.",
        functions=(why,),
        open=True,
    )


def explain_sketch(models: Models, payload: Payload) -> Payload:
    """``{"maps": two texts}``, each the bytes of a layer's maps in base64; ``{"blank": True}``.

    Raises SketchError or CheckpointError.
    """
    seen = seen_of(payload)
    if seen is None:
        return {"blank": True}
    network = models.get(text_of(payload, "model")).network
    return {"maps": [_encoded(maps) for maps in feature_maps(network, seen)]}


def _encoded(maps: Tensor) -> str:
    """Maps on one scale, 255 the highest of the layer, in base64."""
    highest = float(maps.max()) or 1.0
    scaled = (maps * (255 / highest)).round().byte()
    return base64.b64encode(scaled.numpy().tobytes()).decode("ascii")
