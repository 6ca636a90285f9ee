"""Write any strokes, digits or not, in the handwriting of ``digits.synthetic``."""

from __future__ import annotations

import numpy as np

from digitcnn.digits.pen_strokes import Floats, make_template
from digitcnn.digits.synthetic import (
    Bytes,
    Population,
    frame_curves,
    ink_curves,
    make_writers,
    write_form,
)


def write(strokes: str, population: Population, count: int, random: np.random.Generator) -> Bytes:
    """Write strokes, in the notation of ``pen_strokes``, each time by another writer.

    Returns uint8 [count, 28, 28].
    """
    template = make_template(strokes)
    writers = make_writers(population, count, random)
    return write_form(template, 0, population, writers, np.arange(count), random)


def scrawl(
    points: Floats, strokes: int, population: Population, random: np.random.Generator
) -> Bytes:
    """Draw lines through any points, half of them smooth, with pens of the population.

    points: [N, K, 2] in any unit. strokes: the number of strokes, of equally many points each.
    Returns uint8 [N, 28, 28].
    """
    count, length = points.shape[:2]
    # Where the points of the template lie matters only for how densely it is sampled.
    zigzag = [f"{50 * (place % 2)},0" for place in range(length // strokes)]
    template = make_template(" / ".join([" ".join(zigzag)] * strokes))
    smooth = random.random((count, 1, 1)) < 0.5
    curves = np.where(smooth, template.smooth @ points, template.straight @ points)
    pen = population.pen.draw(random, count)
    samples, lengths = frame_curves(curves, template.joined, pen, population)
    radius = np.repeat(pen[:, None], curves.shape[1], 1)
    return ink_curves(samples, lengths, radius, population.blur)
