"""Tell ReLU from leaky ReLU by the weights that ReLU never uses.

Both give nearly the same logits, so images hardly tell them apart. But a ReLU that never fires
gives only zeros: the weights that these are multiplied by have no gradient, and stay as PyTorch
initialised them. A leaky ReLU gives small negative numbers there, and optimizers that divide
gradients by their size, such as Adam, then move these weights nearly as far as others.

PyTorch draws a linear layer's weights from 2**24 equally spaced numbers within a bound of
1 / sqrt(inputs). So weights that nothing moved are on that grid, which others are by chance only,
and within the bound.

Some inputs are the same for all images, such as those from a map's border, where the ground is
always empty. The gradients of the weights behind two such inputs are proportional in every step, as
is that of the bias, whose input is one. So an optimizer that divides gradients by their size moves
all of them alike, and those behind a negative input, which only leaky ReLU has, the opposite way.
ReLU does not move them, or moved them like the others before it died.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

# A float32 is on the grid by chance with a probability of at most this, if it is small enough.
_BY_CHANCE = 0.25
# Above this z-score, more weights are on the grid than by chance.
_ON_GRID = 3.3
# With this many unused inputs of the first linear layer, some belong to ReLUs that never fired.
_MANY = 20
# How much of the share of used weights beyond the bound unused ones reach: with ReLU, which may
# fire early in the training, and with leaky ReLU; the log-likelihood ratio that decides; and that
# of many inputs of the first layer without one weight on the grid.
_WITH_RELU, _WITH_LEAKY, _DECIDES, _NONE_ON_GRID = 0.12, 0.5, 3.0, 3.5
# Above these shares of the unused weights beyond the bound and twice the bound, another
# initialisation is likelier.
_MOST_BEYOND, _MOST_FAR_BEYOND = 0.46, 0.05
# An input varies if its range exceeds this share of the mean maximum. The least number of unused
# inputs that is tested, and the z-score above which their weights moved the opposite way.
_NEGLIGIBLE, _ENOUGH, _OPPOSED = 0.01, 6, 3.0


def were_trained(
    unused: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    behind_maps: str = "",
    *,
    is_scaled: bool = True,
) -> bool | None:
    """Whether training changed weights that ReLU never uses; None where that cannot be told.

    unused: of linear layers by name, which inputs are always zero with ReLU and not with leaky
    ReLU, bool [inputs]. tensors: as for ``RebuiltNetwork``. behind_maps: the layer that takes maps:
    in it, a ReLU that fires early fires for many inputs at once. is_scaled: False for inputs up to
    255, with which ReLUs die during training, after the weights behind them have moved.
    """
    evidence = 0.0
    for name, mask in unused.items():
        weight = tensors[f"{name}.weight"].double()
        if not mask.any():
            continue
        dead, live = weight[:, mask], weight[:, ~mask]
        bound = 1 / math.sqrt(weight.shape[1])
        beyond = dead.abs() > bound
        is_other = beyond.double().mean() > _MOST_BEYOND or (
            (dead.abs() > 2 * bound).double().mean() > _MOST_FAR_BEYOND
        )
        grid = None if _is_half(tensors[f"{name}.weight"]) else _on_grid(dead, bound)
        if grid is not None and grid > _ON_GRID:
            return False
        if is_other:
            continue
        if name != behind_maps:
            evidence += _moved(int(beyond.sum()), beyond.numel(), live.abs() > bound)
        elif grid is not None and int(mask.sum()) >= _MANY:
            evidence += _NONE_ON_GRID
    if evidence > _DECIDES and is_scaled:
        return True
    return False if evidence < -_DECIDES else None


def moved_oppositely(
    ranges: Mapping[str, tuple[Tensor, Tensor]], tensors: Mapping[str, Tensor]
) -> bool:
    """Whether weights of unused inputs moved opposite to those of constant ones (leaky ReLU).

    ranges: of linear layers by name, the lowest and highest inputs with ReLU, [inputs] each, on
    thousands of images. False where that cannot be told.
    """
    return any(
        _opposition(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), low, high) > _OPPOSED
        for name, (low, high) in ranges.items()
    )


def _opposition(weight: Tensor, bias: Tensor | None, low: Tensor, high: Tensor) -> float:
    """Return the z-score of how weights behind unused inputs oppose those behind constant ones.

    Standard normal for weights that training did not move, whatever their initialisation. Without
    constant inputs the bias alone is compared, against the spread of the weights: those of a unit
    that died during training had moved in some direction before.
    """
    varies = high - low > _NEGLIGIBLE * high.mean()
    unused, constant = (low == 0) & ~varies, (low > 0) & ~varies
    n = int(unused.sum())
    if n < _ENOUGH or (bias is None and not constant.any()):
        return 0.0
    alike = weight[:, constant].double()
    if bias is not None:
        alike = torch.cat([alike, bias.double().unsqueeze(1)], dim=1)
    direction = functional.normalize(alike.mean(1), dim=0)
    each = weight[:, unused].double()
    moved = each.mean(1)
    error = float((each.T - moved).square().mean().div(n - 1).sqrt())
    if not constant.any():
        error = max(error, float(moved.square().mean().sqrt()))
    return -float(moved @ direction) / max(error, 1e-30)


def _is_half(weight: Tensor) -> bool:
    """Whether all numbers have at most the bits of float16 or bfloat16."""
    return not bool((weight.contiguous().view(torch.int32) & 0x1FFF).any())


def _on_grid(weights: Tensor, bound: float) -> float | None:
    """Return the z-score of how many are on the grid; None where none is small enough to tell."""
    edge = float(torch.tensor(bound, dtype=torch.float32))
    step = 2 * edge / 2**24
    small = weights[weights != 0]
    spacing = torch.exp2(small.abs().log2().floor() - 23)  # of float32 at these numbers
    chance = spacing / step
    tells = chance < _BY_CHANCE
    small, spacing, chance = small[tells], spacing[tells], chance[tells]
    if not len(small):
        return None
    places = (small + edge) / step
    on_grid = (places - places.round()).abs() * step <= 0.51 * spacing
    excess = float((on_grid.double() - chance).sum())
    return excess / math.sqrt(float((chance * (1 - chance)).sum()))


def _moved(beyond: int, n: int, used_beyond: Tensor) -> float:
    """Return the log-likelihood ratio of leaky ReLU to ReLU for so many of n beyond the bound."""
    share = float(used_beyond.double().mean()) if used_beyond.numel() else 0.0
    relu, leaky = (max(part * share, 1e-3) for part in (_WITH_RELU, _WITH_LEAKY))
    return beyond * math.log(leaky / relu) + (n - beyond) * math.log((1 - leaky) / (1 - relu))
