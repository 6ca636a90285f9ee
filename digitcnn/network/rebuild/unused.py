"""Tell ReLU from leaky ReLU by the weights that ReLU never uses.

Both give nearly the same logits, so images hardly tell them apart. But a ReLU that never fires
gives only zeros: the weights that these are multiplied by have no gradient, and stay as they were
initialised, independent of each other. A leaky ReLU gives small negative numbers there. Optimizers
that divide gradients by their size, such as Adam, then move all weights of an output against its
bias, and as far. (Others move them too little to see. Where a ReLU fired early in the training,
they were moved with the bias.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

# How many unused weights each output needs; and up to which t-value of the slope of their means
# against the biases they were trained since, and from which on they were not. Of 10 networks with
# ReLU and 21 with leaky ReLU, 0 and 9 have less than the first, 6 and 1 more than the second.
LEAST, TRAINED, UNTOUCHED = 2, -3.8, 2.4


def were_trained(used: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool | None:
    """Whether training changed weights that ReLU never uses; None where that cannot be told.

    used: of linear layers by name, which inputs were ever not zero with ReLU, bool [inputs].
    tensors: as for ``RebuiltNetwork``.
    """
    products, variance = 0.0, 0.0
    for name, mask in used.items():
        unused = tensors[f"{name}.weight"][:, ~mask].double()
        inputs = unused.shape[1]
        if inputs < LEAST or f"{name}.bias" not in tensors:
            continue
        spread = float(unused.var(dim=1).mean()) / inputs
        bias = tensors[f"{name}.bias"].double()
        bias = bias - bias.mean()
        if spread > 0.0:
            products += float(unused.mean(dim=1) @ bias) / spread
            variance += float(bias @ bias) / spread
    if variance == 0.0:
        return None
    t = products / math.sqrt(variance)
    return True if t < TRAINED else False if t > UNTOUCHED else None
