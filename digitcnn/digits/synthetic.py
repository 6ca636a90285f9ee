"""Digits drawn by the program from pen strokes, by made-up writers: the embedded default.

A *form* is one way to write a digit, as control points of its strokes. A *population* says how
its writers differ. A *writer* keeps a slant, a pen, proportions and favourite forms over all the
digits he draws, and no two of his digits are alike. Train and test have different writers.

    forms -> control points, jittered -> smooth curves, bent, slanted -> framed -> inked, 28x28

Deforming the template smoothly follows Simard et al. 2003 ("Best practices for convolutional
neural networks applied to visual document analysis"), here on the curves, not on the pixels.
Accuracies got on these sets are theirs alone and never carry the name MNIST.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.names import GENERATED, GENERATED_IMAGES
from digitcnn.errors import DigitSetError

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# Number of writers, by split.
WRITERS = {"train": 1_200, "test": 300}

# --- Forms: how digits are written -----------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """One way to write a digit.

    digit: what it means, 0 to 9.
    weight: how frequent it is among the forms of its digit; only ratios matter.
    strokes: control points ``x,y`` in percent of the digit's height, x to the right, y down, in
    the order of the pen. The pen goes through every point, smoothly, except for a corner where the
    point carries ``!``. ``/`` lifts the pen.
    """

    digit: int
    weight: float
    strokes: str


# To add a form, add a line here; ``Population.form_weights`` can make it more or less frequent.
FORMS: Mapping[str, Form] = {
    "0 oval": Form(0, 5, "54,2 24,14 8,52 24,88 50,98 78,84 90,48 76,14 50,2 36,8"),
    "0 from the side": Form(0, 2, "76,14 48,2 18,24 8,58 26,94 58,96 84,66 86,30 66,8 44,10"),
    "0 clockwise": Form(0, 1, "20,26 46,2 78,16 90,50 74,88 46,98 16,80 10,46 22,18 40,4"),
    "0 overlapping": Form(0, 1, "34,6 14,40 20,82 50,98 80,78 86,40 66,10 40,8 22,30"),
    "1 bar": Form(1, 18, "50,0 51,50 50,100"),
    "1 flag": Form(1, 1.2, "26,24 40,14 52,2! 51,50 50,100"),
    "1 flag and base": Form(1, 0.5, "22,26 40,14 52,2! 51,50 50,97 / 16,97 50,97 86,96"),
    "2 swan": Form(2, 3, "14,24 31,4 61,4 77,26 58,60 16,94! 50,94 88,93"),
    "2 wave": Form(2, 2, "12,22 33,4 63,6 73,30 52,64 14,94! 35,84 61,96 94,86"),
    "2 looped": Form(2, 4, "14,22 35,3 65,6 75,30 56,64 29,92 10,90 16,74 39,78 65,92 96,88"),
    "2 wide loop": Form(2, 3, "16,20 36,2 62,8 70,34 50,68 22,96 8,84 24,68 54,82 78,92 96,84"),
    "2 high loop": Form(2, 4, "18,20 40,2 66,10 66,36 44,72 18,94 8,80 24,63 50,72 70,85 94,78"),
    "2 narrow": Form(2, 2, "24,20 46,2 66,16 60,46 38,82 20,90 16,72 34,62 54,76 74,97"),
    "2 high tail": Form(2, 1.5, "22,16 44,2 64,14 60,42 38,72 16,92 8,78 24,62 50,66 92,60"),
    "2 angular": Form(2, 0.7, "12,12 46,4 78,10! 50,52 16,94! 50,92 86,90"),
    "3 round": Form(3, 5, "19,14 43,2 71,12 69,34 40,48! 71,56 76,82 48,98 14,88"),
    "3 looped": Form(3, 2, "17,12 45,2 72,14 65,36 40,50 33,44 45,42 74,58 76,84 45,98 12,86"),
    "3 smooth": Form(3, 2, "17,16 43,2 69,16 64,38 48,47 69,58 72,82 47,98 14,90"),
    "3 slim": Form(3, 1.5, "24,10 50,3 64,16 44,42! 62,58 60,80 30,100"),
    "3 flat top": Form(3, 0.8, "19,6 47,5 76,4! 43,40! 72,50 79,76 53,98 14,88"),
    "4 open": Form(4, 4, "26,6 22,30 17,54! 50,54 85,50 / 70,6 67,50 61,100"),
    "4 open, round": Form(4, 4, "28,4 15,34 22,54 50,54 87,46 / 78,2 68,48 59,100"),
    "4 like a y": Form(4, 2, "22,6 17,38 35,54 59,44 76,6! 68,50 59,100"),
    "4 closed": Form(4, 2, "61,100 65,50 67,2! 37,34 10,64! 50,64 90,60"),
    "5 flag last": Form(5, 4, "32,6 26,24 22,44! 54,38 82,62 68,92 38,98 8,86 / 32,6 60,5 90,3"),
    "5 one stroke": Form(5, 3, "88,3 60,5 34,7! 28,26 22,44! 54,40 78,64 64,92 34,98 6,88"),
    "5 curled": Form(5, 2, "86,4 58,6 34,8! 28,26 22,44! 56,40 80,66 62,94 28,96 8,82 20,68"),
    "5 big belly": Form(5, 2, "30,10 24,28 18,46! 56,36 86,58 72,92 34,97 10,84 / 30,9 56,8 78,2"),
    "5 like an S": Form(5, 1.5, "88,4 54,6 32,18 32,38 60,52 72,74 52,96 8,92"),
    "6 curled": Form(6, 5, "66,2 38,22 16,56 20,88 48,98 74,82 68,60 42,58 20,78"),
    "6 straight": Form(6, 3, "52,0 32,30 18,66 26,94 54,96 72,78 60,62 36,66 20,84"),
    "6 hooked": Form(6, 2, "78,12 56,2 28,22 12,58 24,92 54,98 80,80 66,58 36,60 16,76"),
    "6 spiral": Form(6, 3, "36,2 14,40 12,78 34,98 68,90 82,66 66,48 44,60 34,82"),
    "7 plain": Form(7, 6, "14,10 48,8 82,6! 64,50 46,100"),
    "7 serif": Form(7, 1.5, "16,26 16,17 18,8! 50,8 82,6! 64,50 48,100"),
    "7 crossed": Form(7, 2, "14,10 48,8 82,6! 64,50 46,100 / 32,56 57,54 84,50"),
    "7 curved": Form(7, 3, "12,18 36,6 70,6 75,26 61,60 50,100"),
    "7 hooked": Form(7, 2, "16,32 18,18 24,9 50,10 84,4! 66,50 54,100"),
    "7 hooked, crossed": Form(7, 1, "16,26 18,8! 50,9 82,4! 64,50 52,100 / 36,54 58,51 82,50"),
    "8 in one": Form(8, 6, "74,14 50,2 28,18 46,44 72,68 63,94 35,98 21,78 43,54 70,28 78,10"),
    "8 two rings": Form(8, 2, "52,46 28,26 48,2 74,22 52,46 22,74 46,98 78,76 54,48"),
    "8 open": Form(8, 2, "81,12 54,4 30,20 44,42 67,66 57,92 32,98 21,80 46,54 85,8"),
    "8 small foot": Form(8, 2, "78,10 46,3 25,20 42,40 60,58 58,86 44,98 34,82 49,54 82,16"),
    "8 stacked": Form(8, 2, "50,42 22,30 28,5 68,4 78,28 50,44 14,62 22,93 72,96 86,66 52,42"),
    "8 ribbon": Form(8, 0.7, "24,96 46,64 72,30 62,5 36,5 26,28 50,58 76,92"),
    "9 straight": Form(9, 5, "72,14 48,3 23,24 32,48 57,42 73,12! 70,54 64,100"),
    "9 leaning": Form(9, 3, "70,10 41,8 21,32 37,50 64,34 75,6! 64,52 48,100"),
    "9 small loop": Form(9, 2, "66,12 48,2 30,18 38,36 56,28 68,8! 66,50 58,100"),
    "9 round": Form(9, 2, "72,26 55,3 27,16 28,46 57,48 73,24 75,52 61,100"),
    "9 open": Form(9, 2, "66,18 46,6 22,28 32,50 58,42 76,8! 71,54 66,100"),
    "9 big loop": Form(9, 2, "76,16 46,2 14,24 18,54 50,60 74,30 80,14! 78,58 76,100"),
    "9 curled": Form(9, 1.5, "72,16 48,3 23,24 32,50 59,44 73,16 75,54 59,92 21,92"),
}

# A curve is sampled so densely that neighbours stay about a pixel apart in the finished image.
_SAMPLE_STEP = 0.03  # in units of the digit's height

# Ways in which a whole digit bends, in each direction.
_BENDS = 4


@dataclass(frozen=True)
class _Template:
    """A form made ready: control points, and matrices from them to M samples of the curve.

    points: [K, 2] control points in units of the height, the middle of the digit at the origin.
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


def _catmull_rom(before: bool, after: bool, t: float) -> tuple[float, float, float, float]:
    """Weights of the points p0 p1 p2 p3 at ``t`` between p1 and p2.

    Where p0 or p3 is missing (an end or a corner), p1 or p2 is mirrored in its stead.
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


def _read_strokes(form: Form) -> tuple[Floats, list[list[bool]]]:
    """The control points of a form, centred, [K, 2], and which are corners or ends, by stroke."""
    strokes = [stroke.split() for stroke in form.strokes.split("/")]
    points = [
        [float(number) / 100 for number in word.rstrip("!").split(",")]
        for stroke in strokes
        for word in stroke
    ]
    control = np.array(points, dtype=np.float32)
    breaks = [
        [place in (0, len(stroke) - 1) or word.endswith("!") for place, word in enumerate(stroke)]
        for stroke in strokes
    ]
    return control - (control.min(0) + control.max(0)) / 2, breaks


def _template(form: Form) -> _Template:
    """Everything about a form that is the same in each digit written in it."""
    control, breaks = _read_strokes(form)
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
            steps = max(2, round(length / _SAMPLE_STEP))
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

    curve = np.array(smooth) @ control
    reach = np.abs(control).max(0).clip(0.12)
    u, v = (curve / reach.clip(0.25)).T
    # Slender digits bend less. Odd terms along their own direction would square the round.
    bends = np.stack(
        [
            np.stack([u * v, u**2, v**2, 0.4 * np.sin(np.pi * v)], axis=1) * reach[0] / 0.4,
            np.stack([u * v, u**2, v**2, 0.4 * np.sin(np.pi * u)], axis=1) * reach[1] / 0.5,
        ]
    )
    return _Template(
        points=control,
        smooth=np.array(smooth, dtype=np.float32),
        straight=np.array(straight, dtype=np.float32),
        bends=bends.astype(np.float32),
        joined=np.array(joined[:-1], dtype=np.float32),
        along=np.linspace(0, 1, len(smooth), dtype=np.float32),
        ends=ends,
    )


# --- Populations: how writers differ ---------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """A normal distribution, cut off at ``low`` and ``high``."""

    mean: float
    deviation: float
    low: float
    high: float

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        values = random.normal(self.mean, self.deviation, count)
        return values.clip(self.low, self.high).astype(np.float32)


@dataclass(frozen=True)
class Population:
    """How the writers of one population differ from each other, and from digit to digit.

    slant: degrees from upright, positive to the right.
    width: width of a digit, 1 as in the forms.
    pen: half the width of a stroke, in pixels.
    roundness: 0 straight lines between the control points, 1 smooth curves, above 1 bulging ones.
    habit, mood: deviation of the bends of a whole digit, in units of its height; a habit stays
    with the writer and the form, a mood changes from digit to digit.
    wobble: deviation of single control points, in units of the height, from digit to digit.
    looseness: how much farther than other points the ends of a stroke stray.
    steadiness: share of the digits that a writer writes in his favourite form.
    pressure: how much the width of a stroke varies along it, as a share.
    blur: width of the soft edge of a stroke, in pixels.
    span: the longer side of the ink, in pixels.
    centred: whether the ink is centred by its ``mass`` or by its ``box``.
    form_weights: factors on the weights of single forms, by name.
    """

    slant: Spread
    width: Spread
    pen: Spread
    roundness: Spread
    habit: float
    mood: float
    wobble: float
    looseness: float
    steadiness: float
    pressure: float
    blur: float = 1.0
    span: float = 20.0
    centred: Literal["mass", "box"] = "mass"
    form_weights: Mapping[str, float] = field(default_factory=dict)


POPULATIONS: Mapping[str, Population] = {
    "synthetic": Population(
        slant=Spread(9, 13, -22, 45),
        width=Spread(0.98, 0.2, 0.55, 1.7),
        pen=Spread(1.3, 0.45, 0.6, 2.7),
        roundness=Spread(1.0, 0.1, 0.6, 1.2),
        habit=0.055,
        mood=0.04,
        wobble=0.018,
        looseness=2.0,
        steadiness=0.8,
        pressure=0.15,
    ),
    # Backward slants, wide and uneven writing, rarer forms, EMNIST framing (arXiv 1702.05373).
    "synthetic-other-writers": Population(
        slant=Spread(-6, 14, -38, 30),
        width=Spread(1.15, 0.2, 0.6, 1.8),
        pen=Spread(1.2, 0.35, 0.6, 2.2),
        roundness=Spread(0.95, 0.1, 0.6, 1.2),
        habit=0.06,
        mood=0.045,
        wobble=0.022,
        looseness=2.5,
        steadiness=0.7,
        pressure=0.25,
        blur=1.8,
        span=24.0,
        centred="box",
        form_weights={
            "1 bar": 0.2,
            "1 flag": 3,
            "1 flag and base": 3,
            "2 looped": 0.3,
            "2 angular": 4,
            "4 closed": 4,
            "7 serif": 4,
            "7 crossed": 8,
            "9 curled": 6,
        },
    ),
}


@dataclass(frozen=True)
class _Writers:
    """What W writers keep over all their digits.

    slant (radians), width, pen, roundness: [W].
    favourites: [W, 10], the index of each one's favourite form of each digit.
    habits: [W, 10, 2, 4], how each one bends each digit.
    """

    slant: Floats
    width: Floats
    pen: Floats
    roundness: Floats
    favourites: Integers
    habits: Floats


def _choose_forms(
    population: Population, digits: Integers, random: np.random.Generator
) -> Integers:
    """A form for each of the digits, [N] -> indices into ``FORMS`` [N], by the forms' weights."""
    weights = np.zeros((CLASSES, len(FORMS)))
    for place, (name, form) in enumerate(FORMS.items()):
        weights[form.digit, place] = form.weight * population.form_weights.get(name, 1)
    limits = weights.cumsum(1)
    picks = random.random(len(digits)) * limits[digits, -1]
    return (limits[digits] <= picks[:, None]).sum(1)


def _gather_writers(population: Population, count: int, random: np.random.Generator) -> _Writers:
    every_digit = np.tile(np.arange(CLASSES), count)
    habits = random.normal(0, population.habit, (count, CLASSES, 2, _BENDS))
    return _Writers(
        slant=np.radians(population.slant.draw(random, count)),
        width=population.width.draw(random, count),
        pen=population.pen.draw(random, count),
        roundness=population.roundness.draw(random, count),
        favourites=_choose_forms(population, every_digit, random).reshape(count, CLASSES),
        habits=habits.astype(np.float32),
    )


# --- Drawing ---------------------------------------------------------------------------------

# Images inked at a time: the work area stays in a core's cache and below 32 MiB.
_CHUNK = 256

# Reach of a sample's ink in pixels: wide enough that samples a pixel apart blend into an even
# stroke, narrow enough that corners stay corners.
_REACH = 0.8

# Slant, width and pen vary a little from digit to digit, too: deviations in radians and shares.
_SLANT_MOOD = 0.06
_WIDTH_MOOD = 0.08
_PEN_MOOD = 0.15


def _randomness(name: str, split: str) -> np.random.Generator:
    """A generator of their own for the writers and digits of each split of each set."""
    seed = hashlib.sha256(f"{name}/{split}".encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:16], "big"))


def draw(name: str, split: str, images: int | None = None) -> DigitSet:
    """The synthetic set ``name``, the same bytes every time on one machine.

    name: one of ``GENERATED``; split: ``train`` or ``test``, by different writers.
    images: how many; None takes 24,000 for train and 4,000 for test. Each digit is as frequent as
    the others, give or take one image, in shuffled order.

    Raises DigitSetError when the name or split is unknown or there is nothing to draw.
    """
    if name not in POPULATIONS:
        raise DigitSetError(f"There is no synthetic set {name!r}; take {' or '.join(GENERATED)}.")
    if split not in GENERATED_IMAGES:
        raise DigitSetError(f"{name} has no split {split!r}; take {' or '.join(GENERATED_IMAGES)}.")
    count = GENERATED_IMAGES[split] if images is None else images
    if count < 1:
        raise DigitSetError(f"{count} images of {name} were asked for; ask for at least 1.")

    population = POPULATIONS[name]
    random = _randomness(name, split)
    writers = _gather_writers(population, WRITERS[split], random)
    labels = random.permutation(np.arange(count) % CLASSES)
    authors = random.integers(WRITERS[split], size=count)
    forms = np.where(
        random.random(count) < population.steadiness,
        writers.favourites[authors, labels],
        _choose_forms(population, labels, random),
    )
    pixels = np.empty((count, SIDE, SIDE), dtype=np.uint8)
    for place, form in enumerate(FORMS.values()):
        template = _template(form)
        written = np.flatnonzero(forms == place)
        for start in range(0, len(written), _CHUNK):
            chosen = written[start : start + _CHUNK]
            pixels[chosen] = _write(
                template, form.digit, population, writers, authors[chosen], random
            )
    return DigitSet(
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels.astype(np.uint8)),
        name=name,
        split=split,
    )


def write(
    strokes: str, population: Population, count: int, random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """The strokes of any form, in the notation of ``Form``, each time by another writer.

    Returns uint8 [count, 28, 28]. What is written need be no digit.
    """
    template = _template(Form(0, 1, strokes))
    writers = _gather_writers(population, count, random)
    return _write(template, 0, population, writers, np.arange(count), random)


def scrawl(
    points: Floats, strokes: int, population: Population, random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Lines through any points, half of them smooth, by pens of the population.

    points: [N, K, 2] in any unit. strokes: into how many of as many points each the pen divides
    the line. Returns uint8 [N, 28, 28].
    """
    count, length = points.shape[:2]
    # Where the points of the template lie does not matter, but for how densely it is sampled.
    zigzag = [f"{50 * (place % 2)},0" for place in range(length // strokes)]
    template = _template(Form(0, 1, " / ".join([" ".join(zigzag)] * strokes)))
    smooth = random.random((count, 1, 1)) < 0.5
    curves = np.where(smooth, template.smooth @ points, template.straight @ points)
    pen = population.pen.draw(random, count)
    samples, lengths = _frame(curves, template.joined, pen, population)
    return _ink(samples, lengths, np.repeat(pen[:, None], curves.shape[1], 1), population.blur)


def _write(
    template: _Template,
    digit: int,
    population: Population,
    writers: _Writers,
    authors: Integers,
    random: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """One image of the form by each of the authors: uint8 [N, 28, 28]."""
    count = len(authors)

    def noise(deviation: float, *shape: int) -> Floats:
        return random.standard_normal((count, *shape), dtype=np.float32) * np.float32(deviation)

    stray = 1 + (population.looseness - 1) * template.ends[:, None]
    points = template.points + noise(population.wobble, *template.points.shape) * stray
    roundness = writers.roundness[authors, None, None]
    curve = roundness * (template.smooth @ points) + (1 - roundness) * (template.straight @ points)
    bends = writers.habits[authors, digit] + noise(population.mood, 2, _BENDS)
    curve += np.einsum("dmb,ndb->nmd", template.bends, bends)
    curve[..., 0] *= writers.width[authors, None] * np.exp(noise(_WIDTH_MOOD, 1))
    curve[..., 0] -= np.tan(writers.slant[authors, None] + noise(_SLANT_MOOD, 1)) * curve[..., 1]

    pen = writers.pen[authors] * np.exp(noise(_PEN_MOOD))
    # Pressure swings once along the digit, each time from another phase.
    phase = random.random((count, 1), dtype=np.float32)
    swing = np.sin(2 * np.pi * (template.along + phase))
    radius = pen[:, None] * (1 + noise(population.pressure, 1) * swing).clip(0.5, 1.5)
    return _ink(*_frame(curve, template.joined, pen, population), radius, population.blur)


def _frame(
    curve: Floats, joined: Floats, pen: Floats, population: Population
) -> tuple[Floats, Floats]:
    """Curves placed in the image, before any pixel is made.

    curve [N, M, 2] in any unit, joined [M - 1], pen [N] in pixels -> samples in pixels from the
    upper left corner [N, M, 2], and the length of curve that each stands for in pixels [N, M].
    """
    low, high = curve.min(1), curve.max(1)
    longest = (high - low).max(1)
    scale = ((population.span - 2 * pen) / longest)[:, None, None]
    steps = np.sqrt((np.diff(curve, axis=1) ** 2).sum(2)) * joined
    lengths = np.pad(steps, ((0, 0), (0, 1))) + np.pad(steps, ((0, 0), (1, 0)))
    if population.centred == "mass":
        middle = (curve * lengths[..., None]).sum(1) / lengths.sum(1)[:, None]
        centre = SIDE / 2 + 0.5  # MNIST's own: the middle of pixel 14 of 0 to 27
    else:
        middle = (low + high) / 2
        centre = SIDE / 2
    # A very uneven digit is moved so far that it stays off the outermost pixels.
    room = (
        (centre - 1 - pen)[:, None] / scale[:, 0],
        (SIDE - 1 - pen - centre)[:, None] / scale[:, 0],
    )
    middle = middle.clip(high - room[1], low + room[0])
    return (curve - middle[:, None]) * scale + centre, lengths * scale[..., 0] / 2


def _ink(samples: Floats, lengths: Floats, radius: Floats, blur: float) -> npt.NDArray[np.uint8]:
    """Strokes of the given radius around the samples: uint8 [N, 28, 28].

    samples [N, M, 2] in pixels, lengths and radius [N, M] in pixels.

    The field sum(length * Gaussian(distance to sample)) of a long stroke depends on the distance
    to the stroke alone, so its level gives that distance (a convolution surface, Bloomenthal and
    Shoemake 1991). A Gaussian is a product of one across and one down: one small matrix product
    per image does for all pixels and samples.
    """
    centres = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    across, down = (
        np.exp((centres - samples[..., axis, None]) ** 2 * np.float32(-0.5 / _REACH**2))
        for axis in (0, 1)
    )
    # A sample whose radius is larger than the pen's counts for more: exactly so much that the
    # edge of the stroke moves outward by the difference.
    pen = radius.mean(1, keepdims=True)
    weight = np.exp((radius**2 - pen**2) / np.float32(2 * _REACH**2))
    weight *= lengths / np.float32(_REACH * np.sqrt(2 * np.pi))
    level = (down * weight[..., None]).transpose(0, 2, 1) @ across
    distance = _REACH * np.sqrt(np.maximum(-2 * np.log(np.maximum(level, 1e-30)), 0))
    ink = (pen[..., None] - distance) / np.float32(blur) + np.float32(0.5)
    return (ink.clip(0, 1) * 255 + 0.5).astype(np.uint8)
