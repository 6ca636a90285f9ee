"""How an ONNX model takes digit images, by the shape that it declares for its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from digitcnn.digits.digit_set import SIDE
from digitcnn.network.rebuild.recipe import SIDES, InputForm

# The sides of the square images, the usual ones first; 32 is LeNet's, padded or resized.
_SIDES = (SIDE, 32, *(side for side in SIDES if side < SIDE))


@dataclass(frozen=True)
class Layout:
    """The shape of an input.

    batch: images at once; 0 for any number, None for an input without a batch axis.
    shape: of one image in it. side, channels: of the image. channels_last: as TensorFlow has them.
    """

    batch: int | None
    shape: tuple[int, ...]
    side: int
    channels: int = 1
    channels_last: bool = False

    def input_shape(self, n: int) -> tuple[int, ...]:
        """The whole input's shape for ``n`` images."""
        return self.shape if self.batch is None else (n, *self.shape)

    def arrange(self, images: Tensor) -> np.ndarray:
        """Return the inputs [N, ...] for prepared images [N, C, S, S]."""
        if self.channels_last:
            images = images.movedim(1, -1)
        array: np.ndarray = images.contiguous().numpy().reshape(len(images), *self.shape)
        return array

    def forms(self) -> Iterator[InputForm]:
        """The ways to bring images of 28x28 to its size."""
        yield InputForm(side=self.side, channels=self.channels)
        if self.side != SIDE:
            yield InputForm(side=self.side, resized=True, channels=self.channels)


def _shapes() -> Iterator[Layout]:
    """What one image may look like, the likelier first."""
    for side in _SIDES:
        yield Layout(0, (1, side, side), side)
        yield Layout(0, (side, side, 1), side, channels_last=True)
        yield Layout(0, (side * side,), side)
        yield Layout(0, (side, side), side)
        yield Layout(0, (3, side, side), side, 3)
        yield Layout(0, (side, side, 3), side, 3, channels_last=True)
        yield Layout(0, (1, side * side), side)
        yield Layout(0, (side * side, 1), side)


def layouts(shape: tuple[int | None, ...] | None) -> list[Layout]:
    """Return the layouts that an input's declared shape allows, the likelier first.

    shape: None for a side, or for all of it, that the file leaves open.
    """
    if shape is None:
        return list(_shapes())[:4]
    found = []
    for layout in _shapes():
        if len(shape) == len(layout.shape) + 1 and _fits(shape[1:], layout.shape):
            found.append(replace(layout, batch=max(0, shape[0] or 0)))
    # A whole batch of 28 rows, or of one channel, is the less likely reading of the same numbers.
    found += [replace(layout, batch=None) for layout in _shapes() if shape == layout.shape]
    return found[:4]


def _fits(declared: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    # Negative and zero sides are other programs' way to leave a side open.
    return all(a is None or a < 1 or a == b for a, b in zip(declared, shape, strict=True))
