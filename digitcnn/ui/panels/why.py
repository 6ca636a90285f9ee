"""Why: which ink and which gaps speak for the answer and against a rival, and what the layers see.

What is shown is computed by ``analysis.explain``; here are its words, and how it is sent.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import torch
from torch import Tensor

from digitcnn.analysis.explain import (
    FIRST_PLACE,
    LAST_PLACE,
    SPACING,
    Explanation,
    along_ink,
    explain,
    feature_maps,
)
from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import CheckpointError, SketchError
from digitcnn.ui.models import Models
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.panels.twins import Twins
from digitcnn.ui.sketchpad_tab import Payload, seen_of, text_of

# Effects below this share of the lead, and below half a point, are not worth a word or a dot.
LEAST_SHARE, LEAST_POINTS = 0.1, 0.5
# In the grid of places: ink lies there.
INKED = -128


def why_panel(models: Models) -> Panel:
    """The panel; ``why`` answers the drawing with ``"rival"``: a digit, or null."""
    twins = Twins()

    def why(payload: Payload) -> Payload:
        return explain_sketch(models, twins, payload)

    return Panel(
        name="why",
        title="Why",
        explanation="Which of your ink, drawn as blocks, and which empty places, drawn as dots, "
        "make the network answer this digit and not its rival.",
        functions=(why,),
        open=True,
    )


def explain_sketch(models: Models, twins: Twins, payload: Payload) -> Payload:
    """Why the chosen model answers as it does, rather than ``"rival"``; null: the second best.

    ``{"digit", "rival", "sentence", "seen", "ink", "gaps", "grid", "maps"}``, or
    ``{"blank": True}``. ``"seen"``: 784 pixels. ``"ink"``: for each, -127 (for the rival) to 127
    (for the answer). ``"gaps"``: the same for places of the grid, ``{"first", "step", "across"}``,
    -128 where there is ink. ``"maps"``: two layers, on one scale each. All bytes are in base64.
    Raises SketchError or CheckpointError.
    """
    rival = _rival(payload.get("rival"))
    seen = seen_of(payload)
    if seen is None:
        return {"blank": True}
    network = twins.of(models.get(text_of(payload, "model")))
    found = explain(network, seen, rival)
    if not math.isfinite(found.lead):
        raise CheckpointError(
            "The answers of this network are no numbers, so they cannot be explained; choose "
            "another model."
        )
    across = (LAST_PLACE - FIRST_PLACE) // SPACING + 1
    return {
        "digit": found.answer,
        "rival": found.rival,
        "sentence": sentence(found),
        "seen": _base64(seen),
        "ink": _base64(_signed(along_ink(found.ink, seen), 0.0)),
        "gaps": _base64(_grid(found, across)),
        "grid": {"first": FIRST_PLACE, "step": SPACING, "across": across},
        "maps": [_base64(_scaled(maps)) for maps in feature_maps(network, seen)],
    }


def sentence(found: Explanation) -> str:
    """What speaks most for the answer, in one sentence."""
    (ink_place, ink), (gap_place, gap) = found.strongest_ink(), found.strongest_gap()
    least = max(LEAST_POINTS, LEAST_SHARE * found.lead)
    reasons = []
    if ink >= least:
        reasons.append(f"the ink {ink_place} adds {ink:.1f}")
    if gap >= least:
        reasons.append(f"a dot in the gap {gap_place} would take {gap:.1f} away")
    start = f"A {found.answer} and not a {found.rival}, with a score {found.lead:.1f} higher"
    return f"{start}: {', and '.join(reasons) or 'no single part decides it'}."


def _rival(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < CLASSES:
        raise SketchError("The rival is no digit from 0 to 9; choose it again.")
    return value


def _grid(found: Explanation, across: int) -> Tensor:
    """The effects of gaps in their places: int8 [across, across]; INKED where there is none."""
    grid = torch.full((across, across), INKED, dtype=torch.int8)
    rows, columns = ((found.gaps.places - FIRST_PLACE) // SPACING).T
    # Where no gap matters, small effects are not blown up to large dots.
    grid[rows, columns] = _signed(found.gaps.effects, max(1.0, found.lead / 4))
    return grid


def _signed(values: Tensor, least_scale: float) -> Tensor:
    """-127 to 127 on a scale whose end is the largest size, or ``least_scale``: int8."""
    largest = float(values.abs().max()) if len(values) else 0.0
    return (values * (127 / (max(largest, least_scale) or 1.0))).round().to(torch.int8)


def _scaled(maps: Tensor) -> Tensor:
    """0 to 255 on a scale whose end is the layer's highest value: uint8.

    Of the square root: a few maps are strong, and the others should be seen as well.
    """
    return ((maps / (float(maps.max()) or 1.0)).sqrt() * 255).round().byte()


def _base64(values: Tensor) -> str:
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode("ascii")
