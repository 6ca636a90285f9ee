"""Coarse pictures in black and white: the strokes that they sample are drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from digitcnn.digits.coarse import FINE, without_stairs
from digitcnn.digits.framing import Floats
from digitcnn.digits.sketch import from_image, from_images

SIDE = 640


def five(width: int = 64) -> Image.Image:
    """A five in black, 560 pixels high, on white."""
    image = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(image)
    draw.line([(430, 70), (240, 70), (215, 300)], fill=0, width=width, joint="curve")
    draw.arc((130, 250, 470, 570), 220, 500, fill=0, width=width)
    return image


def coarse(pixels: int, width: int = 64) -> Image.Image:
    """The five on a page of so many pixels a side, in black and white."""
    small = five(width).resize((pixels, pixels), Image.Resampling.BOX)
    return small.point(lambda grey: 255 * (grey > 140))


def read(image: Image.Image) -> Tensor:
    digit = from_image(image)
    assert digit is not None
    return digit


def ink_of(image: Image.Image) -> Floats:
    return 1 - np.asarray(image, dtype=np.float32) / 255


@pytest.mark.parametrize("factor", [2, 3, 3.7, 20])
def test_enlarging_a_coarse_picture_changes_nothing(factor: float) -> None:
    small = coarse(16)
    large = small.resize((round(16 * factor),) * 2, Image.Resampling.NEAREST)
    assert torch.equal(read(large), read(small))


def test_grey_paper_and_compression_do_not_hide_the_blocks() -> None:
    small = coarse(16)
    page = small.resize((256, 256), Image.Resampling.NEAREST).point(lambda grey: 40 + 0.6 * grey)
    file = io.BytesIO()
    page.save(file, "jpeg", quality=30)
    assert torch.equal(read(Image.open(file)), read(small))


@pytest.mark.parametrize("width", [45, 64, 110])
def test_strokes_are_drawn_as_thick_as_their_blocks(width: int) -> None:
    ink = ink_of(coarse(18, width))
    drawn = without_stairs(ink)
    assert float(drawn.sum()) / FINE**2 == pytest.approx(float(ink.sum()), rel=0.1)


def test_a_slanted_line_of_single_blocks_stays_in_one_piece() -> None:
    drawn = without_stairs(np.eye(12, dtype=np.float32))
    assert ndimage.label(drawn > 0.5)[1] == 1
    # Its edges have no stairs: it is as wide everywhere.
    widths = np.count_nonzero(drawn[16:-16] > 0.5, axis=1)
    assert np.ptp(widths) <= 1


def test_smooth_strokes_stay_as_they_are() -> None:
    greys = ink_of(five().resize((20, 20), Image.Resampling.BOX))
    black_and_white = ink_of(coarse(60))
    large = ink_of(five())
    for ink in (greys, black_and_white, large, np.zeros((28, 28), dtype=np.float32)):
        assert without_stairs(ink) is ink


def test_digit_sets_in_black_and_white_are_read_as_pictures_are() -> None:
    image = np.zeros((28, 28), dtype=np.uint8)
    image[5:23, 5:23] = np.uint8(255 * ink_of(coarse(18)))
    image = np.stack([image, image.T])
    for one, together in zip(image, from_images(torch.from_numpy(image)), strict=True):
        assert (read(Image.fromarray(one)).int() - together.int()).abs().max() <= 1
