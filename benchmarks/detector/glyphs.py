"""Characters of matplotlib's fonts, printed, and traced into strokes for handwriting.

The fonts contain letters and signs of Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Georgian,
Canadian syllabics, Tifinagh, mathematics and more. To get handwriting, a glyph is reduced to its
skeleton and traced into strokes; the strokes are displaced, stretched and simplified, and then
written by a simulated writer of ``digits.synthetic``.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import approximate_polygon
from skimage.morphology import skeletonize

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Pixel = tuple[int, int]
Line = list[Pixel]

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif",
    "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
    "STIXNonUni", "cmr10", "cmb10", "cmss10", "cmtt10", "cmti10", "cmmi10",
)  # fmt: skip
SIZE = 64

# Characters that, without accents and in compatibility form, can look like a digit.
LOOK_ALIKES = frozenset("OoIilSsZzBbgq|!1/\\.,'`")

# A line of at most SPUR pixels with a free end is an artefact of thinning. Two lines are one stroke
# if the cosine of the angle between them is above STRAIGHT.
SPUR = 6
STRAIGHT = 0.6

# The most characters per script and font, so that no script dominates.
PER_SCRIPT = 160


@dataclass(frozen=True)
class Glyph:
    """A character in a font. script: the first word of its name in Unicode, or its category."""

    character: str
    script: str
    font: str


def glyphs(fonts: Sequence[str] = FONTS) -> list[Glyph]:
    """Return the letters and signs of the fonts, except those that look like a digit."""
    found: list[Glyph] = []
    for font in fonts:
        scripts: dict[str, list[Glyph]] = {}
        for code in sorted(TTFont(_path(font)).getBestCmap()):
            character = chr(code)
            script = _script(character)
            if script is not None:
                scripts.setdefault(script, []).append(Glyph(character, script, font))
        for members in scripts.values():
            step = max(1.0, len(members) / PER_SCRIPT)
            found += [members[int(place * step)] for place in range(int(len(members) / step))]
    return found


def _script(character: str) -> str | None:
    """Return a character's script; None for digits, accents, marks, spaces and look-alikes."""
    category = unicodedata.category(character)
    plain = unicodedata.normalize("NFKD", character)
    base = "".join(part for part in plain if unicodedata.category(part)[0] != "M")
    if category[0] not in "LS" or category in ("Lm", "Sk") or not base:
        return None
    if base in LOOK_ALIKES or any(part.isnumeric() for part in base):
        return None
    name = unicodedata.name(character, "")
    if category[0] == "S":
        # Dominoes, dice and similar signs show dots or digits; box drawing shows lines.
        dull = ("DOMINO", "BRAILLE", "BOX DRAWINGS", "HEXAGRAM", "BLOCK", "DIE FACE", "DIGIT")
        return None if any(word in name for word in dull) else category
    return name.split()[0] if name else None


def _path(font: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"


@cache
def _face(font: str, size: int = SIZE) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_path(font)), size)


def printed(character: str, font: str, random: np.random.Generator) -> Image.Image:
    """Print a character in white, regular or bold; a few as an outline."""
    bold = int(random.integers(0, 8)) if random.random() < 0.5 else 0
    hollow = random.random() < 0.06
    return _print(character, font, bold, max(0, bold - 4) if hollow else None)


def _print(character: str, font: str, bold: int = 0, hollow: int | None = None) -> Image.Image:
    """Return a picture of a character, cropped to its ink; blank characters give a blank page.

    bold: pixels added on each side of the lines. hollow: the same for the erased inside.
    """
    picture = Image.new("L", (3 * SIZE, 3 * SIZE), 0)
    pen, middle = ImageDraw.Draw(picture), (1.5 * SIZE, 1.5 * SIZE)
    pen.text(middle, character, 255, _face(font), "mm", stroke_width=bold)
    if hollow is not None:
        pen.text(middle, character, 0, _face(font), "mm", stroke_width=hollow)
    return picture.crop(picture.getbbox() or (0, 0, SIZE, SIZE))


def strokes_of(glyph: Glyph) -> list[Doubles]:
    """Trace a glyph's skeleton into strokes: points [K, 2], (x, y), a pixel apart; may be empty."""
    ink = np.pad(np.asarray(_print(glyph.character, glyph.font)) > 127, 2)
    return _joined(_traced(skeletonize(ink)))


def _neighbours(points: set[Pixel], at: Pixel) -> Line:
    """Return neighbours on the skeleton; diagonal ones only if no straight step leads there."""
    y, x = at
    straight = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    near = [point for point in straight if point in points]
    for dy, dx in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corner = (y + dy, x + dx)
        if corner in points and (y + dy, x) not in points and (y, x + dx) not in points:
            near.append(corner)
    return near


def _traced(skeleton: Bools) -> list[Line]:
    """Follow the skeleton from junction to junction: lists of pixels (y, x)."""
    points = {(int(y), int(x)) for y, x in zip(*np.nonzero(skeleton), strict=True)}
    near = {point: _neighbours(points, point) for point in points}
    nodes = [point for point in points if len(near[point]) != 2]
    used: set[frozenset[Pixel]] = set()
    lines = []

    def follow(start: Pixel, then: Pixel) -> Line:
        line = [start, then]
        used.add(frozenset((start, then)))
        while len(near[line[-1]]) == 2:
            ahead = [p for p in near[line[-1]] if frozenset((line[-1], p)) not in used]
            if not ahead:
                break
            used.add(frozenset((line[-1], ahead[0])))
            line.append(ahead[0])
        return line

    for start in [*sorted(nodes), *sorted(points)]:
        if not near[start]:
            lines.append([start])
        for then in near[start]:
            if frozenset((start, then)) not in used:
                lines.append(follow(start, then))
    return lines


def _joined(lines: list[Line]) -> list[Doubles]:
    """Remove short spurs and join lines that continue straight through a junction."""
    ends = Counter(end for line in lines for end in (line[0], line[-1]))
    lines = [line for line in lines if len(line) > SPUR or not _is_spur(line, ends)]
    while (pair := _straightest(lines)) is not None:
        first, second = pair
        joined = [one for one in lines if one not in (first, first[::-1], second, second[::-1])]
        lines = [*joined, first + second[1:]]
    return [np.array(line, float)[:, ::-1] for line in lines]


def _is_spur(line: Line, ends: Mapping[Pixel, int]) -> bool:
    """Return whether a line has one free end and one end at a junction."""
    return (ends[line[0]] == 1) != (ends[line[-1]] == 1)


def _straightest(lines: Sequence[Line]) -> tuple[Line, Line] | None:
    """Return the two lines that continue each other best, in the direction of the pen."""
    best, pair = STRAIGHT, None
    for one, other in combinations([line for line in lines if len(line) > 1], 2):
        for first, second in product((one, one[::-1]), (other, other[::-1])):
            if first[-1] != second[0]:
                continue
            before = np.subtract(first[-1], first[max(-8, -len(first))])
            after = np.subtract(second[min(7, len(second) - 1)], second[0])
            straight = _cosine(before, after)
            if straight > best:
                best, pair = straight, (first, second)
    return pair


def _cosine(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    return float(one @ other) / (float(np.hypot(*one) * np.hypot(*other)) or 1.0)


def notation(strokes: Sequence[Doubles], random: np.random.Generator, amount: float = 1) -> str:
    """Return strokes in the notation of ``pen_strokes``, displaced and simplified.

    strokes: points [K, 2] in any unit. amount: how strong the displacement is; 1 is careless.
    """
    every = np.concatenate(strokes)
    low, longest = every.min(0), max(1e-6, float(np.ptp(every, axis=0).max()))
    tolerance = random.uniform(1.5, 4.5)
    written = []
    for stroke in strokes:
        points = (stroke - low) * (100 / longest)
        if len(points) < 2:
            points = points + np.array([[0.0, 0.0], [4.0, 4.0]])
        middle = points.mean(0)
        scale = np.exp(random.normal(0, 0.07 * amount, 2))
        points = (points - middle) * scale + middle + random.normal(0, 2.5 * amount, 2)
        points = _thinned(points, tolerance)
        written.append(" ".join(_marked(points, random)))
    return " / ".join(written)


def _thinned(points: Doubles, tolerance: float) -> Doubles:
    """Return a polygon of few points along a line; closed lines are opened at their start."""
    if len(points) > 8 and np.hypot(*(points[0] - points[-1])) < 3:
        half = len(points) // 2
        first = approximate_polygon(points[: half + 1], tolerance)
        return np.concatenate([first, approximate_polygon(points[half:], tolerance)[1:]])
    thinned: Doubles = approximate_polygon(points, tolerance)
    return thinned


def _marked(points: Doubles, random: np.random.Generator) -> Iterator[str]:
    """Yield each point as ``x,y``, with ``!`` at most of the sharp corners."""
    for place, (x, y) in enumerate(points):
        corner = ""
        if 0 < place < len(points) - 1:
            before, after = points[place] - points[place - 1], points[place + 1] - points[place]
            sharp = _cosine(before, after) < 0.25
            corner = "!" if sharp and random.random() < 0.8 else ""
        yield f"{x:.0f},{y:.0f}{corner}"
