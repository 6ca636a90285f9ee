"""Reading and enlarging the USPS digits."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from digitcnn.digits.idx import read_idx
from digitcnn.digits.usps import enlarge_usps, read_usps
from digitcnn.errors import DigitSetError


def usps_line(label: int, pixels: np.ndarray) -> str:
    pairs = " ".join(f"{i}:{value:.3f}" for i, value in enumerate(pixels.ravel(), start=1))
    return f"{label} {pairs}"


def usps_pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, 16, 16)).round(3)


def test_enlarging_agrees_with_pillow() -> None:
    pixels = usps_pixels(20).astype(np.float32)
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


GOOD = usps_line(1, np.zeros(256))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (usps_line(11, np.zeros(256)), "labels from 1 to 10"),
        (usps_line(0, np.zeros(256)), "labels from 1 to 10"),
        (usps_line(1, np.zeros(255)), "256 numbered values"),
        (usps_line(1, np.zeros(257)), "256 numbered values"),
        (GOOD.replace("7:0.000", "7:1.001"), "from -1 to 1"),
        (GOOD.replace("7:0.000", "7:nan"), "from -1 to 1"),
        (GOOD.replace("7:0.000", "7:x"), "Line 2"),
        (GOOD.replace("7:0.000", "7"), "Line 2"),
        ("", "Line 2"),
    ],
    ids=["eleven", "zero", "short", "long", "range", "nan", "word", "no colon", "empty"],
)
def test_an_invalid_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "usps.t.bz2"
    path.write_bytes(bz2.compress(f"{GOOD}\n{line}\n{GOOD}".encode()))
    with pytest.raises(DigitSetError, match=expected) as caught:
        read_usps(path)
    assert f"Line 2 of {path}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no bz2", "not a readable bz2"),
        (bz2.compress(GOOD.encode())[:-10], "not a readable bz2"),
        (bz2.compress(b" " * ((1 << 26) + 1)), "far more than USPS has"),
        (bz2.compress(b""), "has no digits"),
    ],
    ids=["no bz2", "cut", "bomb", "empty"],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "usps.t.bz2"
    path.write_bytes(content)
    with pytest.raises(DigitSetError, match=expected):
        read_usps(path)


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
