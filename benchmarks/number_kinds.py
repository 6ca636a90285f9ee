"""Numbers for measuring: drawn with the pad's pen, and laid side by side from images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks.picture_kinds import Floats, enlarged
from digitcnn.digits.digit_forms import FORMS
from digitcnn.digits.pen_strokes import make_template

Random = np.random.Generator
Stroke = list[list[float]]

PEN = 0.065


def drawn_digit(digit: int, random: Random) -> tuple[list[Floats], float]:
    """Write a digit in one of its forms: its strokes [K, 2] with a height of 1, and its width."""
    forms = [form for form in FORMS.values() if form.digit == digit]
    weights = np.array([form.weight for form in forms])
    form = forms[random.choice(len(forms), p=weights / weights.sum())]
    template = make_template(form.strokes)
    points = template.points + random.normal(0, 0.018, template.points.shape).astype(np.float32)
    roundness = random.uniform(0.6, 1)
    curve = roundness * (template.smooth @ points) + (1 - roundness) * (template.straight @ points)
    curve[:, 0] *= random.uniform(0.75, 1.1)
    curve[:, 0] -= np.tan(random.normal(0.08, 0.1)) * curve[:, 1]
    low, high = curve.min(axis=0), curve.max(axis=0)
    curve = (curve - low) / (high[1] - low[1])
    strokes = np.split(curve, np.flatnonzero(template.joined == 0) + 1)
    return strokes, float((high[0] - low[0]) / (high[1] - low[1]))


def drawn_number(digits: Sequence[int], random: Random) -> list[Stroke]:
    """Draw digits side by side on the pad, as large as they fit: strokes in sides of the pad."""
    placed: list[Floats] = []
    left = 0.0
    for digit in digits:
        strokes, width = drawn_digit(digit, random)
        size, rise = random.uniform(0.85, 1.1), random.uniform(-0.1, 0.1)
        placed += [stroke * size + [left, rise] for stroke in strokes]
        # The pen takes a share of the gap that is left between two digits.
        left += size * width + random.uniform(0.28, 0.6)
    points = np.concatenate(placed)
    low, high = points.min(axis=0), points.max(axis=0)
    room = 1 - 2 * PEN
    scale = min(room / (high - low).max(), random.uniform(0.35, 0.8))
    shift = PEN + random.uniform(0, 1, 2) * np.maximum(0, room - (high - low) * scale)
    return [((stroke - low) * scale + shift).clip(0, 1).tolist() for stroke in placed]


def laid_number(images: torch.Tensor, random: Random) -> Image.Image:
    """Lay digits, uint8 [N, 28, 28], side by side on a page."""
    height = int(random.integers(40, 220))
    inks = [enlarged(image.numpy(), round(height * random.uniform(0.85, 1.1))) for image in images]
    gaps = [round(height * random.uniform(0.1, 0.6)) for _ in inks]
    width = sum(ink.shape[1] for ink in inks) + sum(gaps)
    margins = random.integers(height // 4, 3 * height, 2)
    page: Floats = np.zeros((2 * height + 2 * margins[0], width + 2 * margins[1]), dtype=np.float32)
    left = int(margins[1])
    for ink, gap in zip(inks, gaps, strict=True):
        top = int(margins[0] + height // 3 + random.uniform(-0.1, 0.1) * height)
        page[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
        left += ink.shape[1] + gap
    grey = random.uniform(200, 255) * (1 - random.uniform(0.6, 1) * page)
    return Image.fromarray(np.uint8(grey.clip(0, 255)))
