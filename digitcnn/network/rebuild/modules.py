"""The steps of a network that was pickled as a whole, where its modules say all of them.

A ``Sequential`` of PyTorch's own modules runs them in order. Any other class has a ``forward`` of
its own, which is not in the file: then its modules only limit the guesses.
"""

from __future__ import annotations

from digitcnn.network.reader import Module, StateDict
from digitcnn.network.rebuild.plans import pool_of, square
from digitcnn.network.rebuild.recipe import Step

ACTIVATION_MODULES = {
    "ReLU": "relu", "Tanh": "tanh", "ELU": "elu", "Sigmoid": "sigmoid", "GELU": "gelu",
    "SiLU": "silu", "SELU": "selu", "ReLU6": "relu6", "Softplus": "softplus",
    "Hardtanh": "hardtanh", "Hardswish": "hardswish", "Mish": "mish", "Softsign": "softsign",
}  # fmt: skip
_SLOPES = {0.01: "leaky_relu", 0.1: "leaky_relu_0.1", 0.2: "leaky_relu_0.2"}
# Modules that change nothing at inference, or not which digit is the most probable.
_IGNORED = {
    "Sequential", "Dropout", "Dropout2d", "AlphaDropout", "Identity", "Softmax", "LogSoftmax",
}  # fmt: skip


def activation_of(module: Module) -> str | None:
    """The name of an activation module's function; None for other modules."""
    if module.kind == "LeakyReLU":
        slope = module.attributes.get("negative_slope")
        return _SLOPES.get(slope) if isinstance(slope, float) else None
    return ACTIVATION_MODULES.get(module.kind)


def steps_of(state: StateDict) -> tuple[Step, ...]:
    """The steps of a pickled ``Sequential`` of known modules; empty for everything else."""
    modules = state.modules
    if not modules or modules[0].kind != "Sequential" or not all(m.is_torch for m in modules):
        return ()
    steps: list[Step] = []
    for module in modules:
        if module.kind in _IGNORED:
            continue
        step = _step(module)
        if step is None:
            return ()
        steps.append(step)
    return tuple(steps)


def _step(module: Module) -> Step | None:
    activation = activation_of(module)
    if activation is not None:
        return Step("activation", activation)
    if module.kind == "Linear":
        return Step("linear", module.name)
    if module.kind in ("BatchNorm1d", "BatchNorm2d"):
        return Step("norm", module.name) if module.attributes.get("eps") == 1e-5 else None
    if module.kind == "Flatten":
        return Step("flatten")
    if module.kind == "PReLU":
        return Step("prelu", module.name)
    if module.kind in ("MaxPool2d", "AvgPool2d"):
        pool = pool_of(module.attributes)
        kind = "max_pool" if module.kind == "MaxPool2d" else "avg_pool"
        return None if pool is None else Step(kind, "", pool)
    if module.kind in ("AdaptiveAvgPool2d", "AdaptiveMaxPool2d"):
        side = square(module.attributes.get("output_size"))
        kind = "adaptive_avg" if "Avg" in module.kind else "adaptive_max"
        return None if side is None else Step(kind, "", (side,))
    if module.kind == "Conv2d":
        numbers = [
            square(module.attributes.get(name)) for name in ("stride", "padding", "dilation")
        ]
        groups = square(module.attributes.get("groups"))
        if None in numbers or groups is None:
            return None
        return Step("conv", module.name, (*(number or 0 for number in numbers), groups))
    return None
