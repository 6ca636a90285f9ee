"""Break it: the smallest change of the sketch that changes the prediction, beside random noise."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from digitcnn.analysis.adversarial import RADII, TRIES, SmallestChange, smallest_change
from digitcnn.errors import CheckpointError
from digitcnn.ui.calls import Payload
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketches import SketchReader


def break_it_panel(reader: SketchReader) -> Panel:
    """Return the panel."""
    return Panel(
        name="break-it",
        title="Break it",
        explanation="The smallest change of your drawing that changes the prediction. Random noise "
        "of the same size is shown for comparison: what fools a network is the direction of the "
        "change, not its size.",
        functions={"break_it": partial(broken_sketch, reader)},
    )


def broken_sketch(reader: SketchReader, payload: Payload) -> Payload:
    """Break a sketch's prediction.

    payload: that of ``SketchReader.read``.
    Returns ``{"answer", "broken", "sentence", "images", "probabilities", "noise_images",
    "noise_probabilities"}``; images: 784 pixels for each place of the slider, in base64, from the
    sketch to the changed one; probabilities: ten, calibrated, for each. ``{"unbroken": sentence}``
    where no change was found, ``{"blank": True}`` for an empty sketch. Raises SketchError,
    CheckpointError or CapabilityError.
    """
    reading = reader.read(payload)
    if reading is None:
        return {"blank": True}
    change = smallest_change(reading.network, reading.image)
    if change is None:
        return {"unbroken": f"No change up to size {RADII[-1]:g} changes the prediction."}
    if not math.isfinite(float(change.logits.sum())):
        raise CheckpointError(
            "This model's outputs are not finite numbers, so Break it cannot be used; choose "
            "another model."
        )
    temperature = reading.checkpoint.temperature
    return {
        "answer": change.predicted,
        "broken": change.broken,
        "sentence": sentence(change, reading.image),
        "images": base64_of(change.images),
        "probabilities": _probabilities(change.logits, temperature),
        "noise_images": base64_of(change.noise_images),
        "noise_probabilities": _probabilities(change.noise_logits, temperature),
    }


def sentence(change: SmallestChange, image: Tensor) -> str:
    """Return how large the change is, what it does, and how often noise does the same."""
    ink = float(image.float().norm()) / 255
    share = change.size / ink
    return (
        f"A change of {share:.0%} of your ink's size turns the {change.predicted} into a "
        f"{change.broken}. Random noise of the same size changes the prediction in "
        f"{change.noise_changed or 'none'} of {TRIES} tries."
    )


def _probabilities(logits: Tensor, temperature: float) -> list[list[float]]:
    shares = torch.softmax(logits / temperature, dim=1)
    return [[round(share, 4) for share in row] for row in shares.tolist()]
