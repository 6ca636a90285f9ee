"""The ink of photographed, scanned and drawn pages: what surrounds a digit does not change it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw
from torch import Tensor

from digitcnn.digits.ink import find_ink
from digitcnn.digits.sketch import framed

SIDE = 640


def page(width: int = 16) -> Image.Image:
    """A crossed seven in black, 160 pixels high, on white."""
    image = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(image)
    draw.line([(260, 250), (370, 250), (300, 410)], fill=0, width=width, joint="curve")
    draw.line([(290, 330), (365, 330)], fill=0, width=width)
    return image


def seen(image: Image.Image | np.ndarray) -> Tensor:
    ink = find_ink(np.asarray(image, dtype=np.float32))
    assert ink is not None
    return framed(ink.shares)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().mean())


def drawn(draw_on: Callable[[ImageDraw.ImageDraw], object], under: bool = False) -> np.ndarray:
    """The page with something drawn on it, or printed under the digit."""
    if not under:
        image = page()
        draw_on(ImageDraw.Draw(image))
        return np.asarray(image, dtype=np.float32)
    paper = Image.new("L", (SIDE, SIDE), 255)
    draw_on(ImageDraw.Draw(paper))
    return np.minimum(np.asarray(paper, dtype=np.float32), np.asarray(page()))


def ruled(draw: ImageDraw.ImageDraw, grey: int, across: bool = False) -> None:
    for place in range(17, SIDE, 38):
        draw.line((0, place, SIDE, place + 9), fill=grey, width=2)
        if across:
            draw.line((place, 0, place - 9, SIDE), fill=grey, width=2)


def on_a_table() -> np.ndarray:
    table = np.full((SIDE, SIDE), 50.0)
    table[120:560, 90:520] = np.asarray(page())[120:560, 90:520]
    return table


def slanted_sheet() -> np.ndarray:
    """Grey ink on a slanted sheet on a dark table, with a camera's noise."""
    mask = Image.new("L", (2 * SIDE, 2 * SIDE))
    corners = [(-74, 44), (1340, 118), (1210, 1272), (-14, 1162)]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    sheet = np.asarray(mask.reduce(2)) / 255
    paper = 100 + 135 * (np.asarray(page()) / 255)
    noise = np.random.default_rng(2).normal(0, 3, (SIDE, SIDE))
    return 40 + (paper - 40) * sheet + noise


def shaded(shade: np.ndarray) -> np.ndarray:
    return np.asarray(page(), dtype=np.float64) * shade


Y, X = np.mgrid[0:SIDE, 0:SIDE] / SIDE

PAGES: dict[str, Callable[[], np.ndarray]] = {
    "a speck in a corner": lambda: drawn(lambda draw: draw.rectangle((600, 20, 605, 25), fill=0)),
    "punched holes": lambda: drawn(
        lambda draw: [draw.ellipse((20, y, 50, y + 30), fill=40) for y in (150, 450)]
    ),
    "a black frame": lambda: drawn(
        lambda draw: draw.rectangle((0, 0, 639, 639), outline=0, width=9)
    ),
    "a frame on one side": lambda: drawn(lambda draw: draw.rectangle((0, 0, 40, 639), fill=20)),
    "a printed box": lambda: drawn(
        lambda draw: draw.rectangle((80, 90, 540, 550), outline=0, width=4)
    ),
    "paper on a table": on_a_table,
    "a slanted sheet on a table": slanted_sheet,
    "a dark thumb": lambda: drawn(
        lambda draw: draw.rounded_rectangle((480, 520, 514, 700), 17, fill=60)
    ),
    "a dark corner": lambda: shaded(np.clip(0.2 + 2 * (X + Y), 0.2, 1)),
    "light from one side": lambda: shaded(0.3 + 0.7 * X),
    "a vignette": lambda: shaded(1 - 0.7 * ((2 * X - 1) ** 2 + (2 * Y - 1) ** 2) / 2),
    "a shadow's edge across the digit": lambda: shaded(np.where(X + 0.3 * Y < 0.65, 1, 0.5)),
    "ruled in grey": lambda: drawn(lambda draw: ruled(draw, 190), under=True),
    "ruled in black": lambda: drawn(lambda draw: ruled(draw, 20), under=True),
    "squared in grey": lambda: drawn(lambda draw: ruled(draw, 170, across=True), under=True),
    "print showing through": lambda: drawn(
        lambda draw: [
            draw.text((9, y), 30 * "muster ", 215, font_size=24) for y in range(0, 640, 30)
        ],
        under=True,
    ),
    "faint": lambda: 200 - 0.15 * (255 - np.asarray(page(), dtype=np.float64)),
    "light on dark": lambda: 40 + 0.7 * (255 - np.asarray(page(), dtype=np.float64)),
}


@pytest.fixture(scope="module")
def clean() -> Tensor:
    return seen(page())


@pytest.mark.parametrize("name", PAGES)
def test_the_surroundings_of_a_digit_hardly_change_it(name: str, clean: Tensor) -> None:
    assert difference(seen(PAGES[name]()), clean) < 7


@pytest.mark.parametrize("width", [2, 4])
def test_a_thin_stroke_gets_a_usual_width(width: int) -> None:
    thin, usual = (seen(page(each)).float().sum() / 255 for each in (width, 16))
    assert 0.6 < float(thin / usual) < 1.2


def test_noise_and_an_empty_page_have_no_ink() -> None:
    noise = np.random.default_rng(0).normal(200, 5, (SIDE, SIDE)).astype(np.float32)
    assert find_ink(noise) is None
    assert find_ink(np.full((SIDE, 80), 128, dtype=np.float32)) is None


def test_ink_is_placed_in_the_original_picture() -> None:
    ink = find_ink(np.asarray(page(), dtype=np.float32), step=(2.0, 2.0))
    assert ink is not None
    columns = np.flatnonzero(ink.shares.any(axis=0))
    assert columns[0] * ink.step[0] == pytest.approx(2 * 258, abs=16)


def test_a_tightly_cropped_digit_is_all_ink() -> None:
    whole = np.asarray(page(24), dtype=np.float32)
    rows, columns = (np.flatnonzero((whole < 128).any(axis=axis)) for axis in (1, 0))
    close = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert difference(seen(close), seen(whole)) < 7
    assert difference(seen(255 - close), seen(whole)) < 7
