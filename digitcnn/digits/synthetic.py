"""Digits generated from pen strokes, by simulated writers: the default without any files.

A *form* (``digit_forms``) is one way to write a digit. A *population* says how its writers differ.
A *writer* keeps a slant, a pen, proportions and favourite forms over all digits, and no two digits
are alike. Train and test have different writers.

    forms -> control points, jittered -> smooth curves, bent, slanted -> framed -> inked, 28x28

Deforming the form smoothly follows Simard et al. 2003 ("Best practices for convolutional neural
networks applied to visual document analysis"), here on the curves, not on the pixels. Checkpoints
store fingerprints of these sets, so the same name, split and count must keep giving the same bytes
(on one machine: others may round differently).
Accuracies on these sets never carry the name MNIST.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from digitcnn.digits.digit_forms import FORMS
from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.names import GENERATED_IMAGES
from digitcnn.digits.pen_strokes import BENDS, Floats, Template, make_template

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# Number of writers, by split.
WRITERS = {"train": 1_200, "test": 300}

# Populations: how writers differ


@dataclass(frozen=True)
class Spread:
    """A normal distribution, clipped to ``low`` and ``high``."""

    mean: float
    deviation: float
    low: float
    high: float

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """Return ``count`` values, float32 [count], clipped to the range."""
        values = random.normal(self.mean, self.deviation, count)
        return values.clip(self.low, self.high).astype(np.float32)


@dataclass(frozen=True)
class Population:
    """How the writers of a population differ from each other, and from digit to digit.

    slant: degrees from upright, positive to the right.
    width: width of a digit, 1 as in the forms.
    pen: half the width of a stroke, in pixels.
    roundness: 0 straight lines between the control points, 1 smooth curves, above 1 bulging ones.
    habit, mood: deviation of the bends of a whole digit, in units of its height; a habit stays
    with the writer and the form, a mood changes from digit to digit.
    wobble: deviation of single control points, in units of the height, from digit to digit.
    looseness: how much farther than other points the ends of a stroke stray.
    steadiness: share of the digits that a writer writes in a favourite form.
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
        slant=Spread(7, 12, -24, 42),
        width=Spread(0.98, 0.2, 0.55, 1.7),
        # From a thin ballpoint to a broad marker.
        pen=Spread(1.15, 0.45, 0.4, 2.4),
        roundness=Spread(1.0, 0.1, 0.6, 1.2),
        habit=0.048,
        mood=0.034,
        wobble=0.016,
        looseness=2.0,
        steadiness=0.8,
        pressure=0.18,
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
class Writers:
    """The habits of W writers.

    slant (radians), width, pen, roundness: [W].
    favourites: [W, 10], the index of each writer's favourite form of each digit.
    habits: [W, 10, 2, 4], how each writer bends each digit.
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
    """Choose a form for each digit by the forms' weights: [N] -> indices into FORMS [N]."""
    weights = np.zeros((CLASSES, len(FORMS)))
    for place, (name, form) in enumerate(FORMS.items()):
        weights[form.digit, place] = form.weight * population.form_weights.get(name, 1)
    limits = weights.cumsum(1)
    picks = random.random(len(digits)) * limits[digits, -1]
    chosen: Integers = (limits[digits] <= picks[:, None]).sum(1)
    return chosen


def make_writers(population: Population, count: int, random: np.random.Generator) -> Writers:
    """Draw ``count`` writers of a population, each with habits of its own for every digit."""
    every_digit = np.tile(np.arange(CLASSES), count)
    habits = random.normal(0, population.habit, (count, CLASSES, 2, BENDS))
    return Writers(
        slant=np.radians(population.slant.draw(random, count)),
        width=population.width.draw(random, count),
        pen=population.pen.draw(random, count),
        roundness=population.roundness.draw(random, count),
        favourites=_choose_forms(population, every_digit, random).reshape(count, CLASSES),
        habits=habits.astype(np.float32),
    )


# Writing

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
    """Return the generator of the writers and digits of one split of one set."""
    seed = hashlib.sha256(f"{name}/{split}".encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:16], "big"))


def draw(name: str, split: str, images: int | None = None) -> DigitSet:
    """Generate the set ``name``: the same bytes every time on one machine.

    name: one of ``GENERATED``; split: ``train`` or ``test``, by different writers.
    images: how many; None for 16,000 train and 4,000 test images. Each digit is as frequent as the
    others, give or take one image, in shuffled order.
    """
    count = GENERATED_IMAGES[split] if images is None else images
    population = POPULATIONS[name]
    random = _randomness(name, split)
    writers = make_writers(population, WRITERS[split], random)
    labels = random.permutation(np.arange(count) % CLASSES)
    authors = random.integers(WRITERS[split], size=count)
    forms = np.where(
        random.random(count) < population.steadiness,
        writers.favourites[authors, labels],
        _choose_forms(population, labels, random),
    )
    pixels = np.empty((count, SIDE, SIDE), dtype=np.uint8)
    for place, form in enumerate(FORMS.values()):
        template = make_template(form.strokes)
        written = np.flatnonzero(forms == place)
        for start in range(0, len(written), _CHUNK):
            chosen = written[start : start + _CHUNK]
            pixels[chosen] = write_form(
                template, form.digit, population, writers, authors[chosen], random
            )
    return DigitSet(
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels.astype(np.uint8)),
        name=name,
        split=split,
    )


def write_form(
    template: Template,
    digit: int,
    population: Population,
    writers: Writers,
    authors: Integers,
    random: np.random.Generator,
) -> Bytes:
    """Write the form once by each of the authors: uint8 [N, 28, 28]."""
    count = len(authors)

    def noise(deviation: float, *shape: int) -> Floats:
        drawn: Floats = random.standard_normal((count, *shape), dtype=np.float32)
        drawn *= np.float32(deviation)
        return drawn

    stray = 1 + (population.looseness - 1) * template.ends[:, None]
    points = template.points + noise(population.wobble, *template.points.shape) * stray
    roundness = writers.roundness[authors, None, None]
    curve = roundness * (template.smooth @ points) + (1 - roundness) * (template.straight @ points)
    bends = writers.habits[authors, digit] + noise(population.mood, 2, BENDS)
    curve += np.einsum("dmb,ndb->nmd", template.bends, bends)
    curve[..., 0] *= writers.width[authors, None] * np.exp(noise(_WIDTH_MOOD, 1))
    curve[..., 0] -= np.tan(writers.slant[authors, None] + noise(_SLANT_MOOD, 1)) * curve[..., 1]

    pen = writers.pen[authors] * np.exp(noise(_PEN_MOOD))
    # Pressure swings once along the digit, each time from another phase.
    phase = random.random((count, 1), dtype=np.float32)
    swing = np.sin(2 * np.pi * (template.along + phase))
    radius = pen[:, None] * (1 + noise(population.pressure, 1) * swing).clip(0.5, 1.5)
    return ink_curves(
        *frame_curves(curve, template.joined, pen, population), radius, population.blur
    )


def frame_curves(
    curve: Floats, joined: Floats, pen: Floats, population: Population
) -> tuple[Floats, Floats]:
    """Place curves in the image, before any pixel is made.

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


def ink_curves(samples: Floats, lengths: Floats, radius: Floats, blur: float) -> Bytes:
    """Ink strokes of the given radius around the samples: uint8 [N, 28, 28].

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
    images: Bytes = (ink.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return images
