"""The first block of a network, fused for training on a CPU: convolution, norm, pooling and ReLU.

The plain layers pass a dozen times over the largest maps of a step, and memory bandwidth limits
their speed. Two identities avoid most of that:

Batch norm's statistics are known before the convolution. With one input channel they follow from
the second moments M = E[p p^T] of the 3x3 input patches p, each extended by a one for the bias: a
filter f has the mean f M e, with e the unit vector of that one, and the variance f M f^T minus the
mean's square. The normalisation is then a change of the filters, through which gradients flow.

The four patches under a pooling cell lie in one window of 4x4 pixels. Convolution is one matrix
product of the windows with each filter in four positions, and pooling the maximum of the four.
The product is computed for a few images at a time, which stay in the second-level cache, and again
in the backward pass: neither maps nor indices are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Images at a time: 1.6 MB of products with 32 filters in bfloat16.
_IMAGES = 32

# Values of a patch: 3x3 pixels, and a one for the bias. Of a window: 4x4 pixels, and two ones: for
# the bias, and to make up for the change of the mean when the weights are rounded.
_PATCH, _WINDOW = 10, 18

# Integer types as large as one value, and as two.
_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
_PAIR = {torch.bfloat16: torch.int32, torch.float32: torch.int64}


def _places() -> Tensor:
    """Return where each weight of a filter goes in a window, 0 or 1: float64 [4, 11, 18].

    For each position in the cell (upper left, upper right, lower left, lower right): the 3x3
    weights, the bias, and the correction of the mean.
    """
    places = torch.zeros(4, _PATCH + 1, _WINDOW, dtype=torch.double)
    for position in range(4):
        for weight in range(9):
            row, column = position // 2 + weight // 3, position % 2 + weight % 3
            places[position, weight, 4 * row + column] = 1
        places[position, 9, 16] = places[position, 10, 17] = 1
    return places


_PLACES = _places()


def applies(x: Tensor, conv: nn.Module | None, norm: nn.Module | None) -> bool:
    """Return whether ``conv_norm_pool_relu`` can replace the layers for ``x``, [N, C, H, W]."""
    return (
        isinstance(norm, nn.BatchNorm2d)
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and isinstance(conv, nn.Conv2d)
        and (conv.in_channels, conv.kernel_size, conv.padding) == (1, (3, 3), (1, 1))
        and (conv.stride, conv.dilation, conv.padding_mode) == ((1, 1), (1, 1), "zeros")
        and conv.bias is not None
        and x.device.type == "cpu"
        and not x.requires_grad
        and _dtype(x) in _BITS
        and len(x) > 0
        and x.shape[2] % 2 == x.shape[3] % 2 == 0
    )


def conv_norm_pool_relu(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return relu(max_pool2d(norm(conv(x)), 2)) and update the running statistics of ``norm``.

    x: [N, 1, H, W]; it gets no gradient. Returns [N, O, H/2, W/2], stored channels last, in the
    dtype of autocast, else of ``x``. Requires ``applies``.
    """
    assert conv.bias is not None
    windows = _windows(x, _dtype(x))
    with torch.autocast("cpu", enabled=False):
        patches = _PLACES[:, :_PATCH]
        moments = (patches @ _second_moments(windows) @ patches.mT).mean(0)
        filters = torch.cat((conv.weight.flatten(1), conv.bias[:, None]), 1).double()
        mean = filters @ moments[-1]
        variance = ((filters @ moments) * filters).sum(1) - mean**2
        _update_running_statistics(norm, mean.detach(), variance.detach(), 4 * len(windows))
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        shift = norm.bias - mean * scale
        normalised = filters * scale[:, None] + functional.pad(shift[:, None], (_PATCH - 1, 0))
        rounded = normalised.to(windows.dtype).double()
        lost = (normalised - rounded).detach() @ moments[-1]
        placed = torch.cat((rounded, lost[:, None]), 1) @ _PLACES
        maps: Tensor = _ProductPoolReLU.apply(windows, placed)
    return maps.view(len(x), x.shape[2] // 2, x.shape[3] // 2, -1).permute(0, 3, 1, 2)


class _ProductPoolReLU(torch.autograd.Function):
    """relu(max over p of windows @ filters[p].T), where p is the position in the pooling cell.

    windows: bfloat16 or float32 [W, 18], no gradient. filters: float64 [4, O, 18], rounded to the
    dtype of the windows. Returns [W, O] in that dtype. The gradient of a maximum goes to one of
    the values that equal it.

    From 0 up, floating-point values are ordered as their bits are as integers, and maxima and
    differences of 16-bit integers are several times as fast as those of bfloat16.
    """

    @staticmethod
    def forward(ctx: Any, windows: Tensor, filters: Tensor) -> Tensor:
        bits = _BITS[windows.dtype]
        weights = filters.flatten(0, 1).T.to(windows.dtype)
        output = windows.new_empty(len(windows), filters.shape[1])
        for part, result in zip(_parts(windows), _parts(output.view(bits)), strict=True):
            upper, lower = (part @ weights).view(bits).chunk(2, 1)
            left, right = torch.maximum(upper, lower).chunk(2, 1)
            torch.maximum(left, right, out=result).clamp_min_(0)
        if not bool(torch.isfinite(weights).all()):
            # As an integer, NaN may be below 0.
            output.fill_(torch.nan)
        ctx.save_for_backward(windows, weights, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        windows, weights, output = ctx.saved_tensors
        bits = _BITS[windows.dtype]
        gradient = torch.ops.aten.threshold_backward(gradient, output, 0)
        weight_gradient = torch.zeros(weights.shape)
        for part, largest, cell_gradient in zip(
            _parts(windows), _parts(output.view(bits)), _parts(gradient.view(bits)), strict=True
        ):
            upper, lower = (part @ weights).view(bits).chunk(2, 1)
            columns = torch.maximum(upper.clamp_min_(0), lower)
            column_gradient = torch.empty_like(columns)
            left, _ = columns.chunk(2, 1)
            _route(cell_gradient, left - largest, *column_gradient.chunk(2, 1))
            product_gradient = columns.new_empty(len(columns), 2 * columns.shape[1])
            _route(column_gradient, upper - columns, *product_gradient.chunk(2, 1))
            weight_gradient += part.T @ product_gradient.view(part.dtype)
        return None, weight_gradient.T.reshape(4, -1, _WINDOW).double()


def _route(gradient: Tensor, difference: Tensor, first: Tensor, second: Tensor) -> None:
    """Copy each gradient to ``first`` where ``difference`` is 0, else to ``second``.

    The other of the two becomes 0. All are integers of one type and shape; ``difference`` is never
    positive, and is overwritten.
    """
    # The sign bit, repeated over all bits.
    below = difference.bitwise_right_shift_(torch.iinfo(difference.dtype).bits - 1)
    torch.bitwise_and(below, gradient, out=second)
    torch.bitwise_xor(second, gradient, out=first)


def _parts(rows: Tensor) -> Sequence[Tensor]:
    """Split rows, one per pooling cell, into parts of ``_IMAGES`` images of 28x28."""
    parts: Sequence[Tensor] = rows.split(_IMAGES * 14 * 14)
    return parts


def _windows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the zero-padded 4x4 window around each 2x2 cell, then ones: [N * H/2 * W/2, 18]."""
    pairs = functional.pad(x[:, 0], (1, 1, 1, 1)).to(dtype).view(_PAIR[dtype])
    images, height, width = len(x), x.shape[2] // 2, x.shape[3] // 2
    windows = pairs.new_empty(images, height, width, _WINDOW // 2)
    # Eight strided copies are five times as fast as copying the 4x4 view that unfold gives.
    for row in range(4):
        for pair in range(2):
            windows[..., 2 * row + pair] = pairs[:, row : row + 2 * height : 2, pair : pair + width]
    values = windows.view(dtype).view(-1, _WINDOW)
    values[:, 16:] = 1
    return values


def _second_moments(windows: Tensor) -> Tensor:
    """Return the mean product of every pair of values of a window: float64 [18, 18]."""
    total = torch.zeros(_WINDOW, _WINDOW, dtype=torch.double)
    for part in _parts(windows):
        # Float32 is exact enough for sums over one part.
        part = part.float()
        total += part.T @ part
    return total / len(windows)


def _update_running_statistics(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int
) -> None:
    """Update the statistics as BatchNorm2d does.

    mean, variance: [O], of the batch, the variance biased. count: values per channel.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    # Without a momentum, BatchNorm2d averages all batches.
    share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.float(), share)
    norm.running_var.lerp_((variance * count / (count - 1)).float(), share)


def _dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
