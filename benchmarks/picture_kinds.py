"""Pictures of digits as cameras, scanners and paint programs make them, for measuring.

Each kind draws one picture around a given digit; nothing here is used for training. A digit comes
as ink, float32 [H, W] from 0 to 1, cut to its box.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from skimage.morphology import skeletonize

# Greys or shares of ink, of either precision.
Floats = NDArray[Any]
Random = np.random.Generator

SIDE = 1_600


def enlarged(pixels: NDArray[np.uint8], height: int) -> Floats:
    """Cut a digit, uint8 [28, 28], to its box and enlarge it: float32 [height, W], 0 to 1."""
    rows, columns = (np.flatnonzero((pixels > 16).any(axis=axis)) for axis in (1, 0))
    box = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(1, round(height * box.shape[1] / box.shape[0]))
    grey = Image.fromarray(box).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(grey, dtype=np.float32) / 255


def thinned(ink: Floats, pen: float) -> Floats:
    """Draw the centre line of a digit with another pen, in shares of the digit's height."""
    calm = ndimage.gaussian_filter(ink, len(ink) / 60)
    line = np.uint8(255 * skeletonize(calm > 0.45))
    width = max(1, round(pen * len(ink)))
    thick = Image.fromarray(line).filter(ImageFilter.MaxFilter(2 * (width // 2) + 1))
    return np.asarray(thick.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32) / 255


def on_page(
    ink: Floats, random: Random, paper: float | Floats = 255.0, darkness: float = 1.0
) -> Floats:
    """Put a digit somewhere around the middle of a page: greys, float32 [SIDE, SIDE]."""
    page: Floats = np.full((SIDE, SIDE), paper, dtype=np.float32)
    top, left = (
        round((SIDE - size) / 2 + min(180, (SIDE - size) / 2 - 20) * random.uniform(-1, 1))
        for size in ink.shape
    )
    page[top : top + ink.shape[0], left : left + ink.shape[1]] *= 1 - darkness * ink
    return page


def noisy(page: Floats, random: Random, deviation: float) -> Floats:
    """Add a camera's noise."""
    noise = random.standard_normal(page.shape, dtype=np.float32) * np.float32(deviation)
    noised: Floats = page + noise
    return noised


def far_speck(ink: Floats, random: Random) -> Floats:
    """A dark square of 6 pixels in a far corner of a white page."""
    page = on_page(ink, random)
    y, x = (random.choice([random.integers(20, 200), random.integers(1400, 1570)]) for _ in "yx")
    page[y : y + 6, x : x + 6] = 0
    return page


def specks(ink: Floats, random: Random) -> Floats:
    """Two to twelve specks of dirt of 3 to 16 pixels, none near the digit."""
    page = on_page(ink, random, paper=random.uniform(215, 255))
    drawn, draw = _drawing(page)
    for _ in range(random.integers(2, 13)):
        y, x = _far_place(random, 430)
        a, b = random.uniform(1.5, 8, 2)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=int(random.integers(0, 90)))
    return np.asarray(drawn, dtype=np.float32)


def dark_table(ink: Floats, random: Random) -> Floats:
    """A sheet of 1,000 pixels on a dark table."""
    page = on_page(ink, random)
    around = np.ones(page.shape, dtype=bool)
    around[300:1300, 300:1300] = False
    page[around] = random.uniform(20, 80)
    return page


def turned_sheet(ink: Floats, random: Random) -> Floats:
    """A sheet on a table with a grain, turned by up to 20 degrees, not in the middle."""
    page = on_page(ink, random, paper=random.uniform(190, 245))
    size = random.uniform(900, 1350)
    corners = (
        np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size / 2 * [1, random.uniform(1, 1.2)]
    )
    turn = np.radians(random.uniform(-20, 20))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places = corners @ rotation + SIDE / 2 + random.uniform(-60, 60, 2)
    sheet = _polygon(places)
    grain = random.normal(0, 8, (SIDE // 8, SIDE)).astype(np.float32).repeat(8, axis=0)
    table = random.uniform(40, 120) + grain
    return noisy(page * sheet + table * (1 - sheet), random, 3)


def black_frame(ink: Floats, random: Random) -> Floats:
    """A black frame of 20 pixels along the picture's edge."""
    return _framed(on_page(ink, random), (20, 20, 20, 20), 0)


def some_frame(ink: Floats, random: Random) -> Floats:
    """A frame of up to 90 pixels, on one to four sides, of any darkness."""
    widths = random.integers(4, 90, 4) * (random.random(4) < 0.7)
    widths[random.integers(4)] = 30
    page = on_page(ink, random, paper=random.uniform(200, 255))
    return _framed(page, tuple(int(width) for width in widths), random.uniform(0, 130))


def inset_frame(ink: Floats, random: Random) -> Floats:
    """A printed box around the digit, as on a form."""
    page = on_page(ink, random, paper=245)
    drawn, draw = _drawing(page)
    left, top = random.uniform(120, 330, 2)
    right, bottom = SIDE - random.uniform(120, 330, 2)
    draw.rectangle(
        (left, top, right, bottom),
        outline=int(random.integers(0, 90)),
        width=int(random.integers(3, 14)),
    )
    return np.asarray(drawn, dtype=np.float32)


def dark_corner(ink: Floats, random: Random) -> Floats:
    """A corner darkened by a soft triangle."""
    size = random.uniform(400, 800)
    corner = _polygon(np.array([(0, 0), (size, 0), (0, size)]), soft=60)
    for _ in range(random.integers(4)):
        corner = np.rot90(corner)
    return on_page(ink, random) * (1 - random.uniform(0.4, 0.85) * corner)


def vignette(ink: Floats, random: Random) -> Floats:
    """Light that falls off towards the edges."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 2, indexing="ij")
    fall = 1 - random.uniform(0.3, 0.75) * ((x**2 + y**2) / 2) ** random.uniform(0.7, 1.5)
    return noisy(on_page(ink, random, 235) * fall, random, 2)


def gradient(ink: Floats, random: Random) -> Floats:
    """Light from one side."""
    fall = np.linspace(random.uniform(0.25, 0.6), 1, SIDE, dtype=np.float32)[None, :]
    light = np.rot90(np.repeat(fall, SIDE, axis=0), int(random.integers(4)))
    return noisy(on_page(ink, random, 240, random.uniform(0.6, 0.95)) * light, random, 3)


def hard_shadow(ink: Floats, random: Random) -> Floats:
    """A shadow with an edge, through the digit or beside it."""
    a, b = random.uniform(200, 1400, 2)
    places = np.array([(a, 0), (b, SIDE), (SIDE, SIDE), (SIDE, 0)])
    shade = _polygon(places, soft=random.uniform(2, 25))
    if random.random() < 0.5:
        shade = shade[:, ::-1]
    page = on_page(ink, random, 235, random.uniform(0.6, 0.95))
    return noisy(page * (1 - random.uniform(0.3, 0.6) * shade), random, 3)


def hand_shadow(ink: Floats, random: Random) -> Floats:
    """A band of shadow, as a hand or phone throws it."""
    a, width, slope = random.uniform(0, 1300), random.uniform(150, 500), random.uniform(-300, 300)
    places = np.array([(a, 0), (a + width, 0), (a + width + slope, SIDE), (a + slope, SIDE)])
    shade = _polygon(places, soft=random.uniform(8, 40))
    page = on_page(ink, random, 225, random.uniform(0.6, 0.95))
    return noisy(page * (1 - random.uniform(0.25, 0.5) * shade), random, 3)


def ruled(ink: Floats, random: Random) -> Floats:
    """Paper ruled in grey, blue or red, turned a little."""
    return _ruled(ink, random, across=False)


def squared(ink: Floats, random: Random) -> Floats:
    """Squared paper, turned a little."""
    return _ruled(ink, random, across=True)


def dark_lines(ink: Floats, random: Random) -> Floats:
    """Lines as dark as the ink."""
    return _ruled(ink, random, across=random.random() < 0.5, darkness=(0.6, 0.95))


def pencil(ink: Floats, random: Random) -> Floats:
    """A thin pencil of low contrast on noisy paper."""
    page = on_page(
        thinned(ink, random.uniform(0.015, 0.04)),
        random,
        random.uniform(170, 230),
        random.uniform(0.15, 0.35),
    )
    return noisy(page, random, random.uniform(1, 4))


def thin_pen(ink: Floats, random: Random) -> Floats:
    """A ballpoint's hairline."""
    return on_page(thinned(ink, random.uniform(0.008, 0.03)), random, 245, random.uniform(0.5, 0.9))


def show_through(ink: Floats, random: Random) -> Floats:
    """Print of the page's other side shows through."""
    page = on_page(ink, random, 235, random.uniform(0.7, 0.95))
    text = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(text)
    size = int(random.integers(24, 70))
    for y in range(30, SIDE - 40, round(size * 1.5)):
        letters = "".join(random.choice(list("abdefghkmnorstuw  "), 120))
        draw.text((-int(random.integers(60)), y), letters, fill=255, font_size=size)
    back = np.asarray(text.filter(ImageFilter.GaussianBlur(2)), dtype=np.float32)[:, ::-1] / 255
    return noisy(page * (1 - random.uniform(0.08, 0.25) * back), random, 2)


def holes(ink: Floats, random: Random) -> Floats:
    """Two or four punched holes, or staples, along an edge."""
    drawn, draw = _drawing(np.full((SIDE, SIDE), 255.0, dtype=np.float32))
    radius, x = random.uniform(8, 32), random.uniform(50, 160)
    for y in np.linspace(300, 1300, random.choice([2, 4])):
        if random.random() < 0.5:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=50)
        else:
            draw.line((x, y, x + 40, y + 12), fill=60, width=5)
    turned = np.rot90(np.asarray(drawn, dtype=np.float32), int(random.integers(4)))
    return np.minimum(on_page(ink, random, 240), turned)


def coarse_jpeg(ink: Floats, random: Random) -> Floats:
    """A small picture, compressed hard."""
    page = noisy(on_page(ink, random, 225, random.uniform(0.5, 0.9)), random, 10)
    side = int(random.integers(160, 500))
    small = Image.fromarray(np.uint8(page.clip(0, 255))).resize((side, side))
    file = io.BytesIO()
    small.save(file, "jpeg", quality=int(random.integers(12, 40)))
    return np.asarray(Image.open(file), dtype=np.float32)


def chalk(ink: Floats, random: Random) -> Floats:
    """Light on a dark, unevenly lit board."""
    y, x = np.meshgrid(*[np.linspace(0, 1, SIDE, dtype=np.float32)] * 2, indexing="ij")
    board = random.uniform(30, 80) * (
        1 + random.uniform(-0.4, 0.4) * x + random.uniform(0, 0.5) * y
    )
    light = 255 - on_page(ink, random, darkness=random.uniform(0.5, 0.85))
    return noisy(board + light * (255 - board) / 255, random, 5)


def photographed(ink: Floats, random: Random) -> Floats:
    """Everything at once: squared paper, uneven light, an edge of the table, blur and noise."""
    page = _ruled(thinned(ink, random.uniform(0.02, 0.08)), random, across=random.random() < 0.6)
    light = np.linspace(random.uniform(0.5, 0.9), 1, SIDE, dtype=np.float32)[None, :]
    page = page * (light if random.random() < 0.5 else light.T)
    if random.random() < 0.5:
        page[: int(random.integers(30, 200))] = random.uniform(30, 90)
    blurred = Image.fromarray(np.uint8(page.clip(0, 255))).filter(ImageFilter.GaussianBlur(2))
    return noisy(np.asarray(blurred, dtype=np.float32), random, 4)


def crop(ink: Floats, random: Random) -> Floats:
    """Cut close around the digit, under uneven light."""
    margin = round(random.uniform(0.03, 0.15) * max(ink.shape))
    padded = np.pad(ink, margin)
    light = np.linspace(random.uniform(0.5, 0.9), 1, padded.shape[1], dtype=np.float32)[None]
    return noisy(random.uniform(180, 240) * light * (1 - 0.8 * padded), random, 3)


KINDS: Mapping[str, Callable[[Floats, Random], Floats]] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        far_speck,
        dark_table,
        black_frame,
        dark_corner,
        specks,
        turned_sheet,
        some_frame,
        inset_frame,
        vignette,
        gradient,
        hard_shadow,
        hand_shadow,
        ruled,
        squared,
        dark_lines,
        pencil,
        thin_pen,
        show_through,
        holes,
        coarse_jpeg,
        chalk,
        photographed,
        crop,
    )
}


def picture(kind: str, pixels: NDArray[np.uint8], random: Random) -> Image.Image:
    """Draw one picture of a digit, uint8 [28, 28]. kind: a name in ``KINDS``."""
    height = 300 if kind in ("far speck", "dark table", "black frame", "dark corner") else None
    ink = enlarged(pixels, height or int(random.integers(160, 480)))
    return Image.fromarray(np.uint8(np.clip(KINDS[kind](ink, random), 0, 255)))


def _drawing(page: Floats) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.fromarray(np.uint8(page.clip(0, 255)))
    return image, ImageDraw.Draw(image)


def _far_place(random: Random, distance: float) -> tuple[float, float]:
    """Return a place (y, x) that is at least so far from the page's middle."""
    while True:
        y, x = random.uniform(20, SIDE - 20, 2)
        if np.hypot(y - SIDE / 2, x - SIDE / 2) > distance + 200:
            return float(y), float(x)


def _polygon(places: NDArray[np.float64], soft: float = 1) -> Floats:
    """Return a polygon with a soft edge: float32 [SIDE, SIDE], 0 to 1."""
    small = Image.new("L", (SIDE // 2, SIDE // 2), 0)
    ImageDraw.Draw(small).polygon([(x / 2, y / 2) for x, y in places.tolist()], fill=255)
    shape = small.filter(ImageFilter.GaussianBlur(soft / 2)).resize((SIDE, SIDE))
    return np.asarray(shape, dtype=np.float32) / 255


def _framed(page: Floats, widths: tuple[int, ...], grey: float) -> Floats:
    top, right, bottom, left = widths
    page[:top], page[SIDE - bottom :], page[:, :left], page[:, SIDE - right :] = (grey,) * 4
    return page


def _ruled(
    ink: Floats, random: Random, across: bool, darkness: tuple[float, float] = (0.12, 0.45)
) -> Floats:
    lines = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(lines)
    pitch, width = random.uniform(45, 140), int(random.integers(2, 6))
    turn = random.uniform(-0.06, 0.06)
    for place in np.arange(-200, SIDE + 200, pitch):
        draw.line((0, place, SIDE, place + turn * SIDE), fill=255, width=width)
        if across:
            draw.line((place, 0, place - turn * SIDE, SIDE), fill=255, width=width)
    printed = np.asarray(lines, dtype=np.float32) / 255
    page = on_page(ink, random, random.uniform(205, 250), random.uniform(0.7, 0.95))
    return noisy(np.minimum(page, 250 * (1 - random.uniform(*darkness) * printed)), random, 2)
