"""Examples for training the OOD detector: handwritten and printed digits, and non-digits.

All are in MNIST framing, uint8 [N, 28, 28].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from benchmarks.detector import grammar, shapes
from benchmarks.detector.glyphs import FONTS, Glyph, notation, printed, strokes_of
from benchmarks.detector.handwriting import write
from digitcnn.digits.digit_forms import FORMS
from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.framing import frame_ink, frame_mnist
from digitcnn.digits.synthetic import POPULATIONS, Population, Spread

Bytes = npt.NDArray[np.uint8]
Random = np.random.Generator

# Handwriting with more variation than any synthetic set, so that everyone's digits are accepted.
ANY_HAND: Population = replace(
    POPULATIONS["synthetic"],
    slant=Spread(3, 19, -40, 48),
    width=Spread(1.05, 0.25, 0.55, 1.9),
    pen=Spread(1.35, 0.45, 0.6, 2.7),
    roundness=Spread(0.95, 0.12, 0.6, 1.2),
    habit=0.07,
    mood=0.05,
    wobble=0.027,
    looseness=2.3,
    pressure=0.2,
    blur=1.3,
)

# Each traced or invented character is written by this many writers.
WRITERS = 3
# Fonts whose glyphs are traced. Bold fonts have the same skeletons as regular ones.
TRACED = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "STIXGeneralItalic", "cmmi10", "STIXNonUni")
# Weights of scripts that people often write; any other script has weight 1.
COMMON = {"LATIN": 5.0, "GREEK": 3.0, "CYRILLIC": 1.5, "Sm": 0.7, "So": 0.7}


def written_glyphs(count: int, random: Random, among: Sequence[Glyph]) -> Bytes:
    """Return glyphs in handwriting: traced, displaced, and written by ``shapes.WRITERS``."""
    traced = [(strokes_of(glyph), COMMON.get(glyph.script, 1.0)) for glyph in among]
    traces = [strokes for strokes, _ in traced if strokes]
    weights = np.array([weight for strokes, weight in traced if strokes])
    drawn = []
    for place in random.choice(len(traces), count // WRITERS + 1, p=weights / weights.sum()):
        strokes = notation(traces[place], random, random.uniform(0, 1.4))
        drawn.append(write(strokes, shapes.WRITERS, WRITERS, random))
    return np.concatenate(drawn)[:count]


def invented(count: int, random: Random) -> Bytes:
    """Return invented characters in handwriting."""
    drawn = [
        write(notation(grammar.character(random), random, 0.5), shapes.WRITERS, WRITERS, random)
        for _ in range(count // WRITERS + 1)
    ]
    return np.concatenate(drawn)[:count]


def printed_glyphs(count: int, random: Random, among: Sequence[Glyph]) -> Bytes:
    """Return printed glyphs, regular and bold."""
    weights = np.array([COMMON.get(g.script, 1.0) for g in among])
    chosen = random.choice(len(among), count, p=weights / weights.sum())
    return _framed([printed(among[k].character, among[k].font, random) for k in chosen])


def printed_digits(count: int, random: Random) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Return printed digits, uint8 [N, 28, 28], and their labels, int64 [N]."""
    fonts = [font for font in FONTS if font not in ("STIXNonUni", "cmmi10")]
    labels = random.integers(CLASSES, size=count)
    pictures = [printed(str(d), fonts[random.integers(len(fonts))], random) for d in labels]
    return _framed(pictures), labels


def _framed(pictures: Sequence[Image.Image]) -> Bytes:
    """Return pictures of any size with white ink in MNIST framing: uint8 [N, 28, 28]."""
    side = 96
    framed = []
    for start in range(0, len(pictures), 500):
        part = np.zeros((len(pictures[start : start + 500]), side, side), np.float32)
        for place, picture in enumerate(pictures[start : start + 500]):
            picture.thumbnail((side, side), Image.Resampling.BOX)
            part[place, : picture.height, : picture.width] = np.asarray(picture, np.float32) / 255
        part[part.max((1, 2)) == 0, 40:60, 40:60] = 1  # a blank glyph becomes a box
        framed.append(frame_ink(part).numpy())
    return np.concatenate(framed)


def overlaid(digits: DigitSet, count: int, random: Random) -> Bytes:
    """Overlay two digits, displaced by at least a quarter of their size."""
    first, second = (
        digits.images[torch.from_numpy(random.integers(len(digits), size=count))].numpy()
        for _ in range(2)
    )
    ink = np.zeros((count, 2 * SIDE, 2 * SIDE), np.float32)
    for place in range(count):
        dy, dx = random.integers(-9, 10, 2)
        if max(abs(dy), abs(dx)) < 5:
            dx = 7
        ink[place, 14:42, 14:42] = first[place]
        other = ink[place, 14 + dy : 42 + dy, 14 + dx : 42 + dx]
        np.maximum(other, second[place], out=other)
    framed: Bytes = frame_ink(ink / np.float32(255)).numpy()
    return framed


def textures(count: int, random: Random) -> Bytes:
    """Return noise, gratings, squared paper and speckles, in the whole frame or in a disc."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    images = np.zeros((count, SIDE, SIDE), np.float32)

    def wave(along: npt.NDArray[np.float64], above: float) -> npt.NDArray[np.bool_]:
        turns = random.uniform(2, 8) * along + random.random()
        return np.asarray(np.sin(2 * np.pi * turns) > above)

    for place in range(count):
        kind = random.integers(4)
        if kind == 0:
            grain = int(random.integers(3, SIDE))
            small = Image.fromarray(random.integers(0, 256, (grain, grain), dtype=np.uint8))
            image = np.asarray(small.resize((SIDE, SIDE)), np.float32) / 255
            if random.random() < 0.5:
                image = (image > random.uniform(0.4, 0.8)).astype(np.float32)
        elif kind == 1:
            turn = random.uniform(0, np.pi)
            along = places * np.cos(turn) + places[:, None] * np.sin(turn)
            image = wave(along, random.uniform(-0.5, 0.7)).astype(np.float32)
        elif kind == 2:
            image = (wave(places, 0.6) | wave(places[:, None], 0.6)).astype(np.float32)
        else:
            spots = random.random((SIDE, SIDE)) < random.uniform(0.02, 0.4)
            image = spots.astype(np.float32)
        if random.random() < 0.5:
            y, x = random.uniform(0.3, 0.7, 2)
            image = image * (np.hypot(places - x, places[:, None] - y) < random.uniform(0.2, 0.5))
        images[place] = image
    images[images.max((1, 2)) == 0, 10:18, 10:18] = 1
    pixels: Bytes = np.rint(255 * images / images.max((1, 2), keepdims=True)).astype(np.uint8)
    return pixels


def non_digits(
    digits: DigitSet, count: int, random: Random, among: Sequence[Glyph]
) -> dict[str, Bytes]:
    """Return about ``count`` non-digits in total: uint8 [N, 28, 28] by the name of their kind."""
    traced = [glyph for glyph in among if glyph.font in TRACED]
    kinds: Mapping[str, tuple[float, Callable[[int], Bytes]]] = {
        "written glyphs": (0.34, lambda n: written_glyphs(n, random, traced)),
        "printed glyphs": (0.14, lambda n: printed_glyphs(n, random, among)),
        "invented": (0.24, lambda n: invented(n, random)),
        "overlaid": (0.03, lambda n: overlaid(digits, n, random)),
        "textures": (0.03, lambda n: textures(n, random)),
        "shapes": (0.22, lambda n: shapes.draw(digits, n, random).numpy()),
    }
    return {name: make(int(share * count)) for name, (share, make) in kinds.items()}


def digits_of_every_hand(
    digits: DigitSet, generated: int, print_count: int, random: Random
) -> tuple[Tensor, Tensor]:
    """Return the set's, generated and printed digits, uint8 [N, 28, 28], and labels, int64 [N]."""
    counts = random.multinomial(generated, [1 / len(FORMS)] * len(FORMS))
    images = [frame_mnist(digits.images)]
    labels = [digits.labels.long()]
    for form, each in zip(FORMS.values(), counts, strict=True):
        if each:
            images.append(torch.from_numpy(write(form.strokes, ANY_HAND, int(each), random)))
            labels.append(torch.full((int(each),), form.digit))
    prints, values = printed_digits(print_count, random)
    images.append(torch.from_numpy(prints))
    labels.append(torch.from_numpy(values))
    return torch.cat(images), torch.cat(labels)
