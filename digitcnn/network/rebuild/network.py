"""A network rebuilt from a recipe and named tensors: a ``Classifier``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits.digit_set import SIDE
from digitcnn.network.classifier import Capability
from digitcnn.network.rebuild.recipe import (
    IMAGENET_MEANS,
    IMAGENET_SCALING,
    IMAGENET_STDS,
    InputForm,
    Recipe,
    Step,
    Work,
)


def _elu(x: Tensor) -> Tensor:
    # PyTorch's takes ten times as long for a small batch; the difference is below 1e-7.
    return torch.maximum(x, x.clamp(max=0).exp() - 1)


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "leaky_relu_0.1": partial(functional.leaky_relu, negative_slope=0.1),
    "leaky_relu_0.2": partial(functional.leaky_relu, negative_slope=0.2),
    "tanh": torch.tanh,
    "elu": _elu,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "selu": functional.selu,
    "relu6": functional.relu6,
    "softplus": functional.softplus,
    "hardtanh": functional.hardtanh,
    "hardswish": functional.hardswish,
    "mish": functional.mish,
    "softsign": functional.softsign,
}
# Fainter pixels, of 0 to 1, are not taken for ink.
FAINT = 0.05
# Numbers in all maps of a batch together: 12 MB in float32, which a processor caches in part.
BATCH_NUMBERS = 3_000_000


class RebuiltNetwork(nn.Module):
    """Ten logits from 28x28 images, by the steps of a recipe; in evaluation mode.

    tensors: float32, by ``layer.part``, as the recipe's steps name them.
    Raises ValueError where recipe and tensors do not fit.
    """

    def __init__(self, recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.recipe = recipe
        self.work: Work = recipe.check({name: tuple(t.shape) for name, t in tensors.items()})
        self._places = {name: f"tensor{number}" for number, name in enumerate(tensors)}
        for name, place in self._places.items():
            self.register_buffer(place, tensors[name])
        self.eval()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Gradients: what its layers are called differs from network to network."""
        return frozenset(("gradients",))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.buffers()).device

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights, by ``layer.part``."""
        return {name: self.get_buffer(place) for name, place in self._places.items()}

    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, 10], for images [N, 28, 28] from 0 to 255, any dtype."""
        tensors = self.tensors
        logits = []
        for part in images.split(max(1, BATCH_NUMBERS // self.work.numbers)):
            x = prepare(part, self.recipe.input)
            for step in self.recipe.steps:
                x = run(step, x, tensors)
            logits.append(x.flatten(1))
        return torch.cat(logits)

    def inference_copy(self) -> RebuiltNetwork:
        """Itself."""
        return self


def divergence_of(x: Tensor, name: str, tensors: Mapping[str, Tensor]) -> float:
    """How far a batch norm's input [N, C, ...] is from that in training, in nats.

    KL(input || stored statistics) of normal distributions, of the median channel, which dead
    channels do not affect. At most 1, because digits that were augmented in training have other
    statistics.
    """
    maps = x.unsqueeze(2).flatten(2)
    n = len(maps) * maps.shape[2]
    # PyTorch's own variance takes thirty times as long.
    mean = maps.sum(2).sum(0) / n
    squares = torch.linalg.vector_norm(maps, dim=2).square().sum(0)
    stored_mean, stored = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
    stored = stored.clamp(min=1e-9)
    ratio = (squares / n - mean.square()).div(stored).clamp(min=1e-9)
    shift = (mean - stored_mean).square().div(stored)
    divergence = float((0.5 * (ratio + shift - 1 - ratio.log())).median())
    return min(divergence, 1.0) if math.isfinite(divergence) else 1.0


def prepare(images: Tensor, form: InputForm) -> Tensor:
    """The network's input [N, C, S, S] for images [N, 28, 28] from 0 to 255."""
    x = images.float().unsqueeze(1) / 255
    if form.framed:
        x = _framed(x)
    if form.transposed:
        x = x.transpose(2, 3)
    if form.side != SIDE and form.resized:
        smooth = form.side < SIDE and not form.sharp
        x = functional.interpolate(
            x, size=form.side, mode="bilinear", align_corners=False, antialias=smooth
        )
    elif form.side != SIDE:
        x = functional.pad(x, [(form.side - SIDE) // 2] * 4)
    if form.inverted:
        x = 1 - x
    x = x.expand(-1, form.channels, -1, -1)
    if form.channels == 3 and (form.mean, form.std) == IMAGENET_SCALING:
        means, stds = (
            x.new_tensor(each)[:, None, None] for each in (IMAGENET_MEANS, IMAGENET_STDS)
        )
        return (x - means) / stds
    return ((x - form.mean) / form.std).contiguous()


def _framed(x: Tensor) -> Tensor:
    """Enlarge what is inked in [N, 1, 28, 28], 0 to 1, until two pixels are left around it."""
    ink = x.detach()[:, 0] > FAINT
    centers, sizes = [], []
    for along in (ink.any(1), ink.any(2)):  # columns and rows
        first = along.float().argmax(1)
        last = SIDE - 1 - along.flip(1).float().argmax(1)
        centers.append((first + last + 1) / SIDE - 1)
        sizes.append(last - first + 1)
    scale = ((torch.maximum(*sizes) + 4) / SIDE).clamp(max=1.0)
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale, zero, centers[0]], 1), torch.stack([zero, scale, centers[1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    enlarged = functional.grid_sample(x, grid, mode="bicubic", align_corners=False)
    return enlarged.clamp(0, 1)


def run(step: Step, x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """One step on maps [N, C, S, S] or features [N, F]."""
    op, name = step.op, step.name
    if op == "conv":
        stride, padding, dilation, groups = step.numbers
        return functional.conv2d(
            x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), stride, padding, dilation,
            groups,
        )  # fmt: skip
    if op == "linear":
        return functional.linear(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))
    if op == "norm":
        return functional.batch_norm(
            x,
            tensors[f"{name}.running_mean"],
            tensors[f"{name}.running_var"],
            tensors.get(f"{name}.weight"),
            tensors.get(f"{name}.bias"),
        )
    if op == "layer_norm":
        weight = tensors[f"{name}.weight"]
        return functional.layer_norm(x, weight.shape, weight, tensors.get(f"{name}.bias"))
    if op == "prelu":
        return functional.prelu(x, tensors[f"{name}.weight"])
    if op in ("max_pool", "avg_pool"):
        kernel, stride, padding, ceil = step.numbers
        pool = functional.max_pool2d if op == "max_pool" else functional.avg_pool2d
        # With the channels last, PyTorch takes a maximum five times as fast.
        x = x.contiguous(memory_format=torch.channels_last)
        return pool(x, kernel, stride, padding, ceil_mode=bool(ceil))
    if op == "adaptive_max":
        return functional.adaptive_max_pool2d(x, step.numbers[0])
    if op == "adaptive_avg":
        side, (after,) = x.shape[2], step.numbers
        if side % after:
            return functional.adaptive_avg_pool2d(x, after)
        return functional.avg_pool2d(x, side // after)  # the same, and faster
    if op == "flatten":
        return x.flatten(1)
    if op == "flatten_last":
        return x.movedim(1, -1).flatten(1)
    return _FUNCTIONS[name](x)
