"""Enlarging the USPS digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from digitcnn.digits.idx import read_idx
from digitcnn.digits.usps import enlarge_usps


def test_enlarging_agrees_with_pillow() -> None:
    pixels = np.random.default_rng(0).uniform(-1, 1, (20, 16, 16)).astype(np.float32)
    ours = enlarge_usps(torch.from_numpy(pixels)).numpy()
    theirs = np.stack(
        [
            np.asarray(
                Image.fromarray((row + 1) * 127.5).resize((20, 20), Image.Resampling.BILINEAR)
            )
            for row in pixels
        ]
    )
    assert np.abs(ours[:, 4:24, 4:24] - theirs).max() <= 0.51
    inner = np.zeros((28, 28), bool)
    inner[4:24, 4:24] = True
    assert (ours[:, ~inner] == 0).all()


def test_paper_is_0_and_ink_255_after_enlarging() -> None:
    paper, ink = enlarge_usps(torch.tensor([-1.0, 1.0]).view(2, 1, 1).expand(2, 16, 16))
    assert paper.max() == 0
    assert ink[4:24, 4:24].min() == 255


def test_the_real_usps_digits_are_enlarged_as_before(
    real_data: Path,
) -> None:
    path = real_data / "usps" / "test-images-idx3-ubyte.gz"
    if not path.exists():
        pytest.skip("DIGITCNN_DATA holds no usps")
    images = read_idx(path)
    enlarged = images[:, 4:24, 4:24].double()
    # Back to the 16x16 they came from, by least squares.
    unit = torch.eye(16, dtype=torch.float64).view(16, 1, 16, 1).expand(16, 1, 16, 16)
    grown = torch.nn.functional.interpolate(unit, (20, 16), mode="bilinear")
    back = torch.linalg.pinv(grown[:, 0, :, 0].T)
    small = (back @ enlarged @ back.T / 127.5 - 1).clamp(-1, 1)
    again = enlarge_usps(small.float())
    assert (again.int() - images.int()).abs().max() <= 2
    assert (again.int() - images.int()).abs().float().mean() < 0.1
