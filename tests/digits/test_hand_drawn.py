"""The twenty drawings that come with the program."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch

import digitcnn.web
from digitcnn.digits.hand_drawn import drawings, framed
from digitcnn.digits.sketch import from_strokes
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import load


def test_there_are_two_of_each_digit_in_different_forms() -> None:
    assert Counter(drawing.digit for drawing in drawings()) == dict.fromkeys(range(10), 2)
    assert len({(drawing.digit, drawing.form) for drawing in drawings()}) == 20
    for first, second in zip(drawings()[::2], drawings()[1::2], strict=True):
        assert first.digit == second.digit
        a, b = (from_strokes(drawing.strokes, drawing.width) for drawing in (first, second))
        assert a is not None
        assert b is not None
        # The mean difference of two redrawings of one form is a few levels.
        assert float((a.float() - b.float()).abs().mean()) > 10, first.form


def test_drawings_have_the_form_that_the_pad_sends() -> None:
    script = Path(digitcnn.web.__file__).parent / "scripts" / "strokes.js"
    pen = re.search(r"const PEN = ([0-9.]+)", script.read_text("utf-8"))
    assert pen is not None
    for drawing in drawings():
        assert drawing.width == float(pen[1])
        points = torch.tensor([point for stroke in drawing.strokes for point in stroke])
        assert points.shape[1] == 2
        assert 0 <= float(points.min()) <= float(points.max()) <= 1
        # A hand draws on most of the pad.
        assert float((points.max(0).values - points.min(0).values).max()) > 0.5


def test_the_shipped_model_reads_at_least_nineteen() -> None:
    network = load(SHIPPED_FILE)
    drawn = framed()
    right = network.probabilities(drawn.images).argmax(dim=1) == drawn.labels
    assert int(right.sum()) >= 19
