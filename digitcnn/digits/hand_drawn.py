"""Twenty digits drawn for this project, two different ones of each, as the pad sends them.

They are strokes in ``hand_drawn.json``, to check whether a network can read sketches at all; twenty
are too few to measure how well.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.sketch import from_strokes

FILE = Path(__file__).with_suffix(".json")
NAME = "hand-drawn"


@dataclass(frozen=True)
class Drawing:
    """One drawn digit.

    form: how it is drawn, in words. strokes: polylines of (x, y) in units of the pad's side, 0 to
    1, y downwards. width: of the pen, in the same units.
    """

    digit: int
    form: str
    strokes: list[list[list[float]]]
    width: float


@functools.cache
def drawings() -> tuple[Drawing, ...]:
    """Return all twenty, two of each digit one after the other."""
    content = json.loads(FILE.read_text("utf-8"))
    return tuple(Drawing(**drawing, width=content["width"]) for drawing in content["drawings"])


@functools.cache
def framed() -> DigitSet:
    """Return all twenty as sketches in MNIST framing, in the order of ``drawings``."""
    images = []
    for drawing in drawings():
        image = from_strokes(drawing.strokes, drawing.width)
        assert image is not None  # none of them is blank
        images.append(image)
    labels = torch.tensor([drawing.digit for drawing in drawings()], dtype=torch.uint8)
    return DigitSet(torch.stack(images), labels, NAME, "test")
