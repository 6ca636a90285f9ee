"""Bring strokes that are much thinner or thicker than MNIST's to its pens' width."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from digitcnn.digits.coarse import without_stairs
from digitcnn.digits.framing import MNIST_SPAN, Floats, frame_ink
from digitcnn.digits.ink import SMALL_SIDE

# In pixels of the framed digit; see THINNEST_PEN in ``sketch`` for what networks read well.
THINNEST, THICKEST = 2.0, 4.2


def framed(shares: Floats) -> Tensor:
    """Return the ink on a page in MNIST framing: uint8 [28, 28].

    shares: [H, W], 0 to 1, not blank. The pen of small images stays as it is, as in digit sets.
    """
    small = max(shares.shape) <= SMALL_SIDE
    shares = without_stairs(shares)
    if small:
        return frame_ink(shares[None])[0]
    rows, columns = (np.flatnonzero(shares.any(axis=axis)) for axis in (1, 0))
    box = shares[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return frame_ink(with_usual_pen(box)[None])[0]


def with_usual_pen(shares: Floats) -> Floats:
    """Return ink whose strokes, once framed, are between THINNEST and THICKEST wide.

    shares: [H, W], 0 to 1, cut to the box around the ink. Grows by what the strokes grow.
    """
    from scipy import ndimage

    padded = np.pad(shares, 1)
    inside = ndimage.distance_transform_edt(padded > 0.5)
    ridge = (inside > 0) & (inside >= ndimage.maximum_filter(inside, 3))
    if not ridge.any():
        return shares
    step = max(shares.shape) / MNIST_SPAN
    # A stroke one pixel wide has its ridge at a distance of 1, one two or three wide at 1 and 2.
    pen = (2 * float(inside[ridge].mean()) - 0.5) / step
    wanted = min(max(pen, THINNEST), THICKEST)
    grow = (wanted - pen) * step / 2
    if abs(grow) < 0.25:
        return shares
    margin = max(1, math.ceil(grow) + 1)
    padded = np.pad(shares, margin)
    inked = padded > 0.5
    outside = ndimage.distance_transform_edt(~inked)
    inside = ndimage.distance_transform_edt(inked)
    away = np.where(inked, 0.5 - inside, outside - 0.5)
    drawn: Floats = np.clip(grow + 0.5 - away, 0, 1).astype(np.float32)
    return drawn if drawn.max() > 0.5 else shares
