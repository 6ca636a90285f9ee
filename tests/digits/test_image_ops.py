"""Image operations against PyTorch's own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.image_ops import affine_grid, box_blur, dilate


def images() -> Tensor:
    return torch.randn(3, 1, 9, 7, generator=torch.Generator().manual_seed(0))


def test_dilation_is_a_maximum_over_3x3() -> None:
    # Below 0 as well: nothing outside of the image counts.
    assert torch.equal(dilate(images()), functional.max_pool2d(images(), 3, 1, 1))


def test_box_blur_is_a_mean_over_3x3() -> None:
    torch.testing.assert_close(box_blur(images()), functional.avg_pool2d(images(), 3, 1, 1))


def test_sampling_places_are_those_of_affine_grid() -> None:
    matrices = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(1))
    expected = functional.affine_grid(matrices, [3, 1, 9, 7], align_corners=False)
    torch.testing.assert_close(affine_grid(matrices, 9, 7), expected)
