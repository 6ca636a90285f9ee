"""Forms: ways to write a character, as pen strokes through control points.

Strokes are text: control points ``x,y`` in percent of the character's height, x to the right, y
down, in the order of the pen. The pen goes through every point, smoothly, except for a corner
where the point carries ``!``. ``/`` lifts the pen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# A curve is sampled so densely that neighbours stay about a pixel apart in the finished image.
SAMPLE_STEP = 0.03  # in units of the character's height

# Ways in which a whole character bends, in each direction.
BENDS = 4


@dataclass(frozen=True)
class Form:
    """One way to write a digit.

    digit: what it means, 0 to 9. weight: how frequent it is among the forms of its digit; only
    ratios matter. strokes: see the module.
    """

    digit: int
    weight: float
    strokes: str


@dataclass(frozen=True)
class Template:
    """A form made ready: control points, and matrices from them to M samples of the curve.

    points: [K, 2] control points in units of the height, the middle of the character at the origin.
    smooth, straight: [M, K], weights of the control points in each sample, on the curve through
    them (Catmull and Rom 1974) and on the lines between them.
    bends: [2, M, 4], how far each way of bending moves a sample across and down.
    joined: [M - 1], 1 where a sample and the next lie on one stroke, 0 where the pen is lifted.
    along: [M], how far along the strokes a sample lies, 0 to 1.
    ends: [K], 1 where a stroke begins or ends.
    """

    points: Floats
    smooth: Floats
    straight: Floats
    bends: Floats
    joined: Floats
    along: Floats
    ends: Floats


def make_template(strokes: str) -> Template:
    """Compute everything about a form that is the same in each character written in it."""
    control, breaks = _read(strokes)
    count = len(control)
    smooth, straight = [], []
    joined: list[float] = []
    ends = np.zeros(count, dtype=np.float32)
    first = 0
    for stroke in breaks:
        last = first + len(stroke) - 1
        ends[[first, last]] = 1
        for k in range(first, last):
            length = float(np.hypot(*(control[k + 1] - control[k])))
            steps = max(2, round(length / SAMPLE_STEP))
            # The last sample of a span is the first of the next one, if there is one.
            for t in np.arange(steps + (k + 1 == last)) / steps:
                curved = np.zeros(count + 2)
                curved[k : k + 4] = _catmull_rom(
                    not stroke[k - first], not stroke[k + 1 - first], t
                )
                line = np.zeros(count)
                line[k : k + 2] = 1 - t, t
                smooth.append(curved[1:-1])
                straight.append(line)
                joined.append(1.0)
        joined[-1] = 0.0
        first = last + 1
    return Template(
        points=control,
        smooth=np.array(smooth, dtype=np.float32),
        straight=np.array(straight, dtype=np.float32),
        bends=_bends(np.array(smooth) @ control, control),
        joined=np.array(joined[:-1], dtype=np.float32),
        along=np.linspace(0, 1, len(smooth), dtype=np.float32),
        ends=ends,
    )


def _read(strokes: str) -> tuple[Floats, list[list[bool]]]:
    """Return the control points, centred, [K, 2], and which are corners or ends, by stroke."""
    words = [stroke.split() for stroke in strokes.split("/")]
    points = [
        [float(number) / 100 for number in word.rstrip("!").split(",")]
        for stroke in words
        for word in stroke
    ]
    control = np.array(points, dtype=np.float32)
    breaks = [
        [place in (0, len(stroke) - 1) or word.endswith("!") for place, word in enumerate(stroke)]
        for stroke in words
    ]
    return control - (control.min(0) + control.max(0)) / 2, breaks


def _catmull_rom(before: bool, after: bool, t: float) -> tuple[float, float, float, float]:
    """Return the weights of the points p0 p1 p2 p3 at ``t`` between p1 and p2.

    Where p0 or p3 is missing (an end or a corner), p1 or p2 is mirrored in its place.
    """
    w0 = (-t + 2 * t**2 - t**3) / 2
    w1 = (2 - 5 * t**2 + 3 * t**3) / 2
    w2 = (t + 4 * t**2 - 3 * t**3) / 2
    w3 = (-(t**2) + t**3) / 2
    if not before:
        w0, w1, w2 = 0, w1 + 2 * w0, w2 - w0
    if not after:
        w1, w2, w3 = w1 - w3, w2 + 2 * w3, 0
    return w0, w1, w2, w3


def _bends(curve: npt.NDArray[np.floating], control: Floats) -> Floats:
    """Return how far each way of bending moves the samples [M, 2] of a curve: [2, M, 4]."""
    reach = np.abs(control).max(0).clip(0.12)
    u, v = (curve / reach.clip(0.25)).T
    # Slender characters bend less. Odd terms along their own direction would square the round.
    bends = np.stack(
        [
            np.stack([u * v, u**2, v**2, 0.4 * np.sin(np.pi * v)], axis=1) * reach[0] / 0.4,
            np.stack([u * v, u**2, v**2, 0.4 * np.sin(np.pi * u)], axis=1) * reach[1] / 0.5,
        ]
    )
    return bends.astype(np.float32)
