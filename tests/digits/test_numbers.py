"""Numbers: digits side by side are separated, one digit's strokes stay together."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from digitcnn.digits.hand_drawn import Drawing, drawings
from digitcnn.digits.ink import find_ink
from digitcnn.digits.numbers import MOST_DIGITS, pieces_of_ink, pieces_of_strokes
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.services.prediction import (
    AnyReading,
    NumberReading,
    Reading,
    Refusal,
    read_pieces,
)

PEN = 0.065
BAR = [[0.5, 0.0], [0.5, 1.0]]


@functools.cache
def shipped() -> Checkpoint:
    return load(SHIPPED_FILE)


def read(strokes: list[list[list[float]]], pen: float = PEN) -> AnyReading:
    return read_pieces(shipped(), pieces_of_strokes(strokes, pen))


def read_page(page: np.ndarray) -> AnyReading | None:
    ink = find_ink(page.astype(np.float32))
    return None if ink is None else read_pieces(shipped(), pieces_of_ink(ink))


def drawing_of(digit: int, form: int = 0) -> Drawing:
    return drawings()[2 * digit + form]


def placed(drawing: Drawing, left: float, top: float, height: float) -> list[list[list[float]]]:
    """Move and scale a drawing to a height; its upper left corner goes to (left, top)."""
    points = np.concatenate([np.array(stroke) for stroke in drawing.strokes])
    low, size = points.min(axis=0), np.ptp(points[:, 1])
    return [
        ((np.array(stroke) - low) * height / size + [left, top]).tolist()
        for stroke in drawing.strokes
    ]


def in_a_row(digits: Sequence[int], height: float, pitch: float) -> list[list[list[float]]]:
    return [
        stroke
        for place, digit in enumerate(digits)
        for stroke in placed(drawing_of(digit), 0.05 + place * pitch, 0.3, height)
    ]


def page_of(images: list[list[np.ndarray]], gap: int = 24) -> np.ndarray:
    """Lay rows of digits, [28, 28] with ink high, four times as large on white paper."""
    rows = [np.concatenate([np.kron(image, np.ones((4, 4))) for image in row], 1) for row in images]
    return 255 - np.pad(np.concatenate(rows), gap)


@pytest.mark.parametrize("number", ["42", "307", "18"])
def test_a_drawn_number_is_read_from_left_to_right(number: str) -> None:
    reading = read(in_a_row([int(digit) for digit in number], height=0.32, pitch=0.32))
    assert isinstance(reading, NumberReading)
    assert reading.number == number
    lefts = [part.box[0] for part in reading.parts if part.box]
    assert lefts == sorted(lefts)
    assert len(lefts) == len(number)


@pytest.mark.parametrize("drawing", drawings(), ids=lambda each: f"{each.digit} {each.form}")
def test_each_drawn_digit_is_one_digit(drawing: Drawing) -> None:
    reading = read(drawing.strokes, drawing.width)
    assert isinstance(reading, Reading)
    assert reading.closest == drawing.digit


ONE_DIGIT = {
    "4 in two strokes that touch": (
        4,
        [[[0.35, 0.2], [0.3, 0.5], [0.65, 0.5]], [[0.58, 0.3], [0.55, 0.8]]],
    ),
    "5 with its flag apart": (
        5,
        [
            [[0.4, 0.25], [0.38, 0.45], [0.5, 0.42], [0.62, 0.55], [0.55, 0.75], [0.35, 0.75]],
            [[0.48, 0.22], [0.66, 0.2]],
        ],
    ),
    "7 crossed": (7, [[[0.3, 0.2], [0.65, 0.2], [0.45, 0.8]], [[0.4, 0.5], [0.65, 0.5]]]),
}


@pytest.mark.parametrize(("digit", "strokes"), ONE_DIGIT.values(), ids=ONE_DIGIT.keys())
def test_strokes_of_one_digit_stay_together(digit: int, strokes: list) -> None:
    reading = read(strokes)
    assert isinstance(reading, Reading)
    assert reading.closest == digit


def test_a_dot_in_a_zero_is_part_of_it() -> None:
    reading = read([*drawing_of(0).strokes, [[0.5, 0.5]]])
    assert isinstance(reading, Reading)


def test_digits_of_a_picture_have_boxes_in_its_pixels() -> None:
    four, two = (image.numpy().astype(float) for image in seen_of(4, 2))
    reading = read_page(page_of([[four, two]]))
    assert isinstance(reading, NumberReading)
    assert reading.number == "42"
    (left, top, width, height), (second, *_) = (part.box or (0, 0, 0, 0) for part in reading.parts)
    # Each digit stands 4 pixels of 28 off its own edge; see ``page_of``.
    assert left == pytest.approx(24 + 4 * 6, abs=24)
    assert top == pytest.approx(24 + 4 * 4, abs=8)
    assert height == pytest.approx(80, abs=8)
    assert left + width < second


def seen_of(*digits: int) -> list:
    readings = [read(drawing_of(digit).strokes) for digit in digits]
    return [reading.seen for reading in readings if isinstance(reading, Reading)]


def test_two_rows_of_digits_are_refused_with_the_reason() -> None:
    images = [image.numpy().astype(float) for image in seen_of(4, 2, 7, 3)]
    reading = read_page(page_of([images[:2], images[2:]]))
    assert isinstance(reading, Refusal)
    assert "row" in reading.reason
    assert reading.to_json()["is_digit"] is False


def test_more_digits_than_a_row_takes_are_refused() -> None:
    bars = [[[0.02 + 0.06 * place, 0.4], [0.02 + 0.06 * place, 0.6]] for place in range(16)]
    reading = read(bars, pen=0.01)
    assert isinstance(reading, Refusal)
    assert str(MOST_DIGITS) in reading.reason


def test_a_picture_of_one_digit_has_a_box_and_no_parts() -> None:
    (seven,) = seen_of(7)
    image = Image.fromarray(page_of([[seven.numpy().astype(float)]]).astype(np.uint8))
    reading = read_page(np.asarray(image))
    assert isinstance(reading, Reading)
    assert reading.closest == 7
    assert "parts" not in reading.to_json()
