"""Why this digit: the ink and gaps that favour the prediction over a rival, and feature maps.

``analysis.explain`` computes them; this module words and encodes the result.
"""

from __future__ import annotations

import math
from functools import partial
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
from digitcnn.errors import CapabilityError, CheckpointError, SketchError
from digitcnn.network.model import Network
from digitcnn.ui.calls import Payload
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketches import SketchReader

# Smaller effects, as a share of the lead and in points, are not worth a word or a dot.
LEAST_SHARE, LEAST_POINTS = 0.1, 0.5
MOST_LOG_ODDS = math.log(10_000)
# Marks a place of the grid that has ink.
INKED = -128


def why_panel(reader: SketchReader) -> Panel:
    """Return the panel."""
    return Panel(
        name="why",
        title="Why",
        explanation="Which ink (blocks) and which gaps (dots) make the network predict this digit "
        "rather than the rival.",
        functions={"why": partial(explain_sketch, reader)},
    )


def explain_sketch(reader: SketchReader, payload: Payload) -> Payload:
    """Explain why the model predicts its digit rather than a rival.

    payload: that of ``SketchReader.read`` with ``"rival"``: a digit, or null for the runner-up.
    Returns ``{"digit", "rival", "sentence", "seen", "ink", "gaps", "grid", "maps", "sizes"}``, or
    ``{"blank": True}``. ``"seen"``: 784 pixels. ``"ink"``: for each, -127 (for the rival) to 127
    (for the prediction). ``"gaps"``: the same for places of the grid, ``{"first", "step",
    "across"}``, -128 where there is ink. ``"maps"``: two layers, on one scale each, and
    their ``"sizes"``, ``{"count", "side"}``; instead ``"no_maps"``, a sentence, without
    convolutions. All bytes are in base64. Raises SketchError or CheckpointError.
    """
    rival = _rival(payload.get("rival"))
    reading = reader.read(payload)
    if reading is None:
        return {"blank": True}
    network, image = reading.network, reading.image
    explanation = explain(network, image, rival)
    if not math.isfinite(explanation.lead):
        raise CheckpointError(
            "This model's outputs are not finite numbers, so they cannot be explained; choose "
            "another model."
        )
    across = (LAST_PLACE - FIRST_PLACE) // SPACING + 1
    return {
        "digit": explanation.predicted,
        "rival": explanation.rival,
        "sentence": sentence(explanation, reading.checkpoint.temperature),
        "seen": base64_of(image),
        "ink": base64_of(_signed(along_ink(explanation.ink, image), 0.0)),
        "gaps": base64_of(_grid(explanation, across)),
        "grid": {"first": FIRST_PLACE, "step": SPACING, "across": across},
        **_maps(network, image),
    }


def _maps(network: Network, image: Tensor) -> Payload:
    """Return ``{"maps", "sizes"}``, or ``{"no_maps": sentence}`` for a network without any."""
    try:
        layers = feature_maps(network, image)
    except CapabilityError as error:
        return {"no_maps": str(error)}
    return {
        "maps": [base64_of(_scaled(maps)) for maps in layers],
        "sizes": [{"count": maps.shape[0], "side": maps.shape[1]} for maps in layers],
    }


def sentence(explanation: Explanation, temperature: float) -> str:
    """Say how much likelier the prediction is than the rival, and which parts favour it most.

    temperature: what the model's logits are divided by before they become probabilities.
    """
    ink_place, ink = explanation.strongest_ink()
    gap_place, gap = explanation.strongest_gap()
    # All on the scale on which exp(lead) is the ratio of the probabilities.
    lead, ink, gap = (points / temperature for points in (explanation.lead, ink, gap))
    least = max(LEAST_POINTS, LEAST_SHARE * lead)
    reasons = []
    if ink >= least:
        rest = round(ink, 1) - round(lead, 1)
        reasons.append(
            f"The ink {ink_place} alone adds {ink:.1f}, the rest takes away {rest:.1f}."
            if rest > 0
            else f"Of these points, the ink {ink_place} adds {ink:.1f}."
        )
    if gap >= least:
        reasons.append(f"A dot in the gap {gap_place} would cost {gap:.1f}.")
    because = " ".join(reasons) or "No single part decides it."
    return (
        f"{explanation.predicted} is {_times(lead)}as likely as {explanation.rival}: before scores "
        f"become percentages, its score is {lead:.1f} higher. {because}"
    )


def _times(log_odds: float) -> str:
    """Return what goes before "as likely": ``1.3 times ``, ``790 times ``, or nothing for 1."""
    if log_odds > MOST_LOG_ODDS:
        return "more than 10,000 times "
    odds = math.exp(log_odds)
    if odds < 1.05:
        return ""
    return f"{odds:.1f} times " if odds < 10 else f"{float(f'{odds:.2g}'):,.0f} times "


def _rival(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < CLASSES:
        raise SketchError("The rival must be a digit from 0 to 9; choose it again.")
    return value


def _grid(explanation: Explanation, across: int) -> Tensor:
    """Return the gaps' effects in their places: int8 [across, across]; INKED where there is ink."""
    grid = torch.full((across, across), INKED, dtype=torch.int8)
    rows, columns = ((explanation.gaps.places - FIRST_PLACE) // SPACING).T
    # Where no gap matters, small effects are not blown up to large dots.
    grid[rows, columns] = _signed(explanation.gaps.effects, max(1.0, explanation.lead / 4))
    return grid


def _signed(values: Tensor, least_scale: float) -> Tensor:
    """Scale values to -127 to 127 by the largest magnitude, at least ``least_scale``: int8."""
    largest = float(values.abs().max()) if len(values) else 0.0
    return (values * (127 / (max(largest, least_scale) or 1.0))).round().to(torch.int8)


def _scaled(maps: Tensor) -> Tensor:
    """Scale the square root of maps to 0 to 255 by the layer's highest value: uint8.

    The square root, because a few maps are strong and the others should be visible as well.
    """
    return ((maps / (float(maps.max()) or 1.0)).sqrt() * 255).round().byte()
