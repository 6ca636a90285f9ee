"""Name weights that a file keeps without names: in lists, in pairs, and by layer.

Weights written by hand are often kept so, and those of scikit-learn, Flax and JAX.
"""

from __future__ import annotations

from typing import Any

from digitcnn.network.reader.numpy_arrays import array_spec
from digitcnn.network.reader.pickle_reader import Hidden, Placeholder
from digitcnn.network.reader.tensors import FLOATS, InvalidCheckpoint, TensorSpec

MAX_PATH = 200
# Of all modules and lists of tensors of a file together. A description within its limits has fewer,
# unless they are shared.
MAX_ENTRIES = 100_000


class Budget:
    """Limits the entries of all modules and lists; one that is read twice counts twice."""

    def __init__(self) -> None:
        self._left = MAX_ENTRIES

    def charge(self, entries: int) -> None:
        """Raise InvalidCheckpoint where a file has too many."""
        self._left -= entries
        if self._left < 0:
            raise InvalidCheckpoint(
                "describes more modules and lists than a digit classifier has; save the network's "
                "state_dict"
            )


def spec_of(value: Any) -> TensorSpec | None:
    """Return a tensor, or an array as a tensor; None for anything else."""
    return value if isinstance(value, TensorSpec) else array_spec(value)


def named(items: list[Any] | tuple[Any, ...]) -> dict[str, TensorSpec]:
    """A list's tensors by name: those of pairs; or ``0.weight``, ``0.bias``, ``1.weight``, ...

    Empty where it is neither of pairs nor of weights, each followed by the vectors of its layer.
    """
    if all(_is_named(item) for item in items):
        return dict(items)
    layers: list[list[TensorSpec]] = []
    for spec in _weights(items):
        if not _is_vector(spec):
            layers.append([spec])
        elif layers and spec.numbers in (layers[-1][0].shape[0], layers[-1][0].shape[-1]):
            layers[-1].append(spec)
        else:
            return {}
    if any(len(layer) not in _VECTORS for layer in layers):
        return {}
    return {
        f"{number}.{name}": spec
        for number, layer in enumerate(layers)
        for name, spec in zip(_VECTORS[len(layer)], layer, strict=True)
    }


# What follows one another in a layer of so many tensors, in PyTorch and Keras: weight and bias,
# then a layer norm's or a batch norm's tensors.
_NORM = ("norm.weight", "norm.bias")
_BATCH_NORM = (*_NORM, "norm.running_mean", "norm.running_var")
_VECTORS: dict[int, tuple[str, ...]] = {
    1: ("weight",), 2: ("weight", "bias"), 3: ("weight", *_NORM), 4: ("weight", "bias", *_NORM),
    5: ("weight", *_BATCH_NORM), 6: ("weight", "bias", *_BATCH_NORM),
}  # fmt: skip


def _is_named(item: Any) -> bool:
    return (
        isinstance(item, (list, tuple))
        and len(item) == 2
        and type(item[0]) is str
        and spec_of(item[1]) is not None
    )


def _weights(items: list[Any] | tuple[Any, ...]) -> list[TensorSpec]:
    """Return the tensors of a list of weights; an empty list if it has anything else.

    Without the batch norms' counters.
    """
    specs: list[TensorSpec] = []
    for item in items:
        spec = spec_of(item)
        if spec is not None and not spec.shape and spec.dtype == "int64":
            continue
        if spec is None or spec.dtype not in FLOATS or not spec.shape:
            return []
        specs.append(spec)
    return specs


def _is_vector(spec: TensorSpec) -> bool:
    return len(spec.shape) <= 2 and spec.numbers == max(spec.shape)


def paired(
    lists: list[Any] | tuple[Any, ...], seen: set[int], budget: Budget
) -> dict[str, TensorSpec]:
    """Name the tensors of a list of weights and of an equally long list of biases.

    Such as scikit-learn's ``coefs_`` and ``intercepts_``. Marks both as seen.
    """
    weights: list[Any] | tuple[Any, ...] = ()
    biases: list[list[Any] | tuple[Any, ...]] = []
    for items in lists:
        if not isinstance(items, (list, tuple)) or not items or spec_of(items[0]) is None:
            continue
        budget.charge(len(items))
        specs = _weights(items)
        if specs and not any(map(_is_vector, specs)):
            weights = weights or items
        elif specs and all(map(_is_vector, specs)):
            biases.append(items)
    partner = next((items for items in biases if len(items) == len(weights)), None)
    if partner is None:
        return {}
    seen |= {id(weights), id(partner)}
    pairs = zip(_weights(weights), _weights(partner), strict=True)
    return {
        f"{layer}.{part}": spec
        for layer, pair in enumerate(pairs)
        for part, spec in zip(("weight", "bias"), pair, strict=True)
    }


# What authors of layers call their parts. Others, such as gradients and inputs kept for the
# backward pass, belong to no network.
PARTS = {
    "w": "weight", "weight": "weight", "weights": "weight", "kernel": "weight", "gamma": "weight",
    "filters": "weight", "coef_": "weight", "scale": "weight",
    "b": "bias", "bias": "bias", "biases": "bias", "beta": "bias", "intercept_": "bias",
    "running_mean": "running_mean", "moving_mean": "running_mean", "mean": "running_mean",
    "running_var": "running_var", "moving_variance": "running_var", "moving_var": "running_var",
    "var": "running_var", "variance": "running_var",
}  # fmt: skip


def layered(children: dict[Any, Any], seen: set[int], budget: Budget) -> dict[str, TensorSpec]:
    """Name the tensors of layers side by side, each with a weight and perhaps a bias.

    A layer is a dictionary (Flax), a pair (JAX) or an object of somebody's own class. Empty for
    fewer than two, and for sets of the same shapes, such as a layer and its average. Marks layers
    as seen.
    """
    layers: dict[str, dict[str, TensorSpec]] = {}
    visited: set[int] = set()
    for name, child in children.items():
        value = child.state if isinstance(child, Placeholder) else child
        if isinstance(value, (list, tuple)):
            pair = named(value) if len(value) == 2 else {}
            value = {key[2:]: pair[key] for key in ("0.weight", "0.bias") if "0.bias" in pair}
        if not isinstance(value, dict) or isinstance(name, Hidden):
            continue
        budget.charge(len(value))
        parts: dict[str, TensorSpec] = {}
        for key, item in value.items():
            part = PARTS.get(str(key).lower().lstrip("_"))
            spec = spec_of(item) if part else None
            if part and spec is not None and spec.dtype in FLOATS and spec.shape:
                parts.setdefault(part, spec)
        if "weight" in parts:
            layers[str(name)] = parts
            visited |= {id(child), id(value)}
    if len({parts["weight"].shape for parts in layers.values()}) < 2:
        return {}
    seen |= visited
    return {
        f"{layer}.{part}"[-MAX_PATH:]: spec
        for layer, parts in layers.items()
        for part, spec in parts.items()
    }
