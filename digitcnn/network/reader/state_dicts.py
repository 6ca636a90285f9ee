"""Find the sets of weights in a file's content, wherever they are.

A set is a dictionary with tensors, as ``state_dict()`` gives it, a list of its items or of unnamed
weights and biases in order, a list of weights beside one of biases, several layers side by side
that each have their own, or a whole pickled module, which is a tree of ``_modules`` and
``_parameters``. NumPy's arrays count as tensors. What an optimizer remembers is not a set of
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from digitcnn.network.reader.numpy_arrays import array_spec
from digitcnn.network.reader.pickle_reader import OTHER_TENSORS, Hidden, Placeholder
from digitcnn.network.reader.tensors import FLOATS, InvalidCheckpoint, TensorSpec, shown

MAX_TENSORS = 1000
MAX_PATH = 200
# Of all modules and lists of tensors of a file together. A description within its limits has fewer,
# unless they are shared.
MAX_ENTRIES = 100_000


@dataclass(frozen=True)
class Module:
    """A module of a pickled network.

    name: within the network, such as ``features.0``. kind: its class, such as ``Conv2d``.
    is_torch: whether the class is PyTorch's. attributes: plain values, such as its stride.
    """

    name: str
    kind: str
    is_torch: bool
    attributes: dict[str, Any]


@dataclass(frozen=True)
class StateDict:
    """A set of weights.

    path: where it is in the file, such as ``model_state_dict``; empty for the outermost value.
    modules: of a whole pickled network, in the order in which they were registered, parents
    first; else empty.
    """

    path: str
    tensors: dict[str, TensorSpec]
    modules: list[Module] = field(default_factory=list)

    @property
    def numbers(self) -> int:
        """How many weights it has."""
        return sum(spec.numbers for spec in self.tensors.values())


def find_state_dicts(content: Any) -> list[StateDict]:
    """Return every set of weights in a file's content, the largest first.

    Raises InvalidCheckpoint, saying what the file has instead, where there is none.
    """
    found: list[StateDict] = []
    has_optimizer = False
    seen: set[int] = set()
    budget = _Budget()
    # Iterative, and by identity: content may be nested without end, shared, or cyclic.
    pending: list[tuple[str, Any]] = [("", content)]
    while pending:
        path, value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if _is_module(value):
            found.append(_read_module(path, value, seen, budget))
        elif isinstance(value, dict):
            if _is_optimizer(value):
                has_optimizer = True
                continue
            lists = list(value.values())
            sets = (_tensors_of(value), _paired(lists, seen, budget), _layered(value, seen, budget))
            found += [StateDict(path, _unprefixed(tensors)) for tensors in sets if tensors]
            pending += [
                (_join(path, key), item) for key, item in reversed(value.items()) if _nests(item)
            ]
        elif isinstance(value, (list, tuple)):
            layers = dict(enumerate(value))
            sets = (
                _tensors_of(_named(value)),
                _paired(value, seen, budget),
                _layered(layers, seen, budget),
            )
            found += [StateDict(path, _unprefixed(tensors)) for tensors in sets if tensors]
            pending += [(path, item) for item in reversed(value) if _nests(item)]
        elif isinstance(value, Placeholder):
            _refuse_other_estimators(value.name)
            perceptron = _read_perceptron(path, value, seen, budget)
            if perceptron is not None:
                found.append(perceptron)
                continue
            parts = [value.state, value.entries, value.items, value.args]
            pending += [(path, part) for part in reversed(parts) if _nests(part)]
    if not found:
        raise InvalidCheckpoint(_why_none(content, has_optimizer))
    return sorted(found, key=lambda state: -state.numbers)


def _nests(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, Placeholder))


def _join(path: str, key: Any) -> str:
    name = key if isinstance(key, str) else str(key) if isinstance(key, int) else "…"
    return f"{path}.{name}"[:MAX_PATH] if path else name[:MAX_PATH]


def _spec(value: Any) -> TensorSpec | None:
    """Return a tensor, or an array as a tensor; None for anything else."""
    return value if isinstance(value, TensorSpec) else array_spec(value)


def _tensors_of(values: dict[Any, Any]) -> dict[str, TensorSpec]:
    tensors: dict[str, TensorSpec] = {}
    for name, value in values.items():
        spec = _spec(value)
        if spec is not None and not isinstance(name, Hidden):
            tensors[str(name)[:MAX_PATH]] = spec
        elif isinstance(value, Placeholder) and value.name in OTHER_TENSORS:
            raise InvalidCheckpoint(
                f"has {OTHER_TENSORS[value.name]} ({shown(str(name), 40)}); save plain float32 "
                "weights"
            )
    if len(tensors) > MAX_TENSORS:
        raise InvalidCheckpoint(
            f"has {len(tensors):,} tensors, so it is not a small digit classifier; choose another "
            "file"
        )
    return tensors


def _named(items: list[Any] | tuple[Any, ...]) -> dict[str, TensorSpec]:
    """A list's tensors by name: those of pairs; or ``0.weight``, ``0.bias``, ``1.weight``, ...

    Empty where it is neither of pairs nor of weights, each followed by its bias or none.
    """
    if all(_is_named_tensor(item) for item in items):
        return dict(items)
    named: dict[str, TensorSpec] = {}
    layer, sides = -1, (-1, -1)  # outputs first or last
    for spec in _weights(items):
        if _is_vector(spec):
            name = f"{layer}.bias"
            if spec.numbers not in sides or name in named:
                return {}
        else:
            layer, sides = layer + 1, (spec.shape[0], spec.shape[-1])
            name = f"{layer}.weight"
        named[name] = spec
    return named


def _is_named_tensor(item: Any) -> bool:
    return (
        isinstance(item, (list, tuple))
        and len(item) == 2
        and type(item[0]) is str
        and _spec(item[1]) is not None
    )


def _weights(items: list[Any] | tuple[Any, ...]) -> list[TensorSpec]:
    """Return the tensors of a list of weights; an empty list if it has anything else."""
    specs: list[TensorSpec] = []
    for item in items:
        spec = _spec(item)
        if spec is None or spec.dtype not in FLOATS or not spec.shape:
            return []
        specs.append(spec)
    return specs


def _is_vector(spec: TensorSpec) -> bool:
    return len(spec.shape) <= 2 and spec.numbers == max(spec.shape)


def _paired(
    lists: list[Any] | tuple[Any, ...], seen: set[int], budget: _Budget
) -> dict[str, TensorSpec]:
    """Name the tensors of a list of weights and of an equally long list of biases.

    Such as scikit-learn's ``coefs_`` and ``intercepts_``. Marks both as seen.
    """
    weights: list[Any] | tuple[Any, ...] = ()
    biases: list[list[Any] | tuple[Any, ...]] = []
    for items in lists:
        if not isinstance(items, (list, tuple)) or not items or _spec(items[0]) is None:
            continue
        budget.charge(len(items))
        specs = _weights(items)
        if specs and not any(map(_is_vector, specs)):
            weights = weights or items
        elif specs and all(map(_is_vector, specs)):
            biases.append(items)
    paired = next((items for items in biases if len(items) == len(weights)), None)
    if paired is None:
        return {}
    seen |= {id(weights), id(paired)}
    pairs = zip(_weights(weights), _weights(paired), strict=True)
    return {
        f"{layer}.{part}": spec
        for layer, pair in enumerate(pairs)
        for part, spec in zip(("weight", "bias"), pair, strict=True)
    }


# What authors of layers call their parts. Others, such as gradients and inputs kept for the
# backward pass, belong to no network.
_LAYER_PARTS = {
    "w": "weight", "weight": "weight", "weights": "weight", "kernel": "weight", "gamma": "weight",
    "scale": "weight", "b": "bias", "bias": "bias", "biases": "bias", "beta": "bias",
    "running_mean": "running_mean", "moving_mean": "running_mean", "mean": "running_mean",
    "running_var": "running_var", "moving_var": "running_var", "var": "running_var",
}  # fmt: skip


def _layered(children: dict[Any, Any], seen: set[int], budget: _Budget) -> dict[str, TensorSpec]:
    """Name the tensors of layers side by side, each with a weight and perhaps a bias.

    A layer is a dictionary (Flax), a pair (JAX) or an object of somebody's own class. Empty for
    fewer than two, and for sets of the same shapes, such as a layer and its average. Marks layers
    as seen.
    """
    layers: dict[str, dict[str, TensorSpec]] = {}
    visited: set[int] = set()
    for name, child in children.items():
        value = child.state if isinstance(child, Placeholder) and not _is_module(child) else child
        if isinstance(value, (list, tuple)):
            pair = _named(value) if len(value) == 2 else {}
            value = {key[2:]: pair[key] for key in ("0.weight", "0.bias") if "0.bias" in pair}
        if not isinstance(value, dict) or isinstance(name, Hidden):
            continue
        budget.charge(len(value))
        parts: dict[str, TensorSpec] = {}
        for key, item in value.items():
            part = _LAYER_PARTS.get(str(key).lower().lstrip("_"))
            spec = _spec(item) if part else None
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


def _unprefixed(tensors: dict[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Without what all names begin with: ``module.``, ``model.``, ``_orig_mod.`` and the like."""
    while len(tensors) > 1:
        firsts = {name.partition(".")[0] for name in tensors}
        rests = [name.partition(".")[2] for name in tensors]
        # At least a layer's name and its part have to stay.
        if len(firsts) > 1 or not all("." in rest for rest in rests):
            break
        tensors = dict(zip(rests, tensors.values(), strict=True))
    return tensors


# Subpackages of scikit-learn, and why a file with a class of theirs is refused.
_NO_NETWORK = "which is not a neural network; choose a network's file"
_CHANGES_IMAGES = (
    "which changes the images before a network sees them; save an MLPClassifier alone that was "
    "trained on the pixels"
)
_ESTIMATORS = {
    **dict.fromkeys(
        ("ensemble", "tree", "neighbors", "svm", "naive_bayes", "gaussian_process"), _NO_NETWORK
    ),
    **dict.fromkeys(
        ("pipeline", "preprocessing", "decomposition", "compose", "feature_selection"),
        _CHANGES_IMAGES,
    ),
}
# Parts of a classifier that reads pixels, and a linear classifier.
_ACCEPTED_ESTIMATORS = {"LabelBinarizer", "LabelEncoder", "LinearSVC"}


def _refuse_other_estimators(name: str) -> None:
    """Raise InvalidCheckpoint for a class of scikit-learn that is no network of its own."""
    package, _, rest = name.partition(".")
    reason = _ESTIMATORS.get(rest.partition(".")[0]) if package == "sklearn" else None
    kind = name.rpartition(".")[2]
    if reason is not None and kind[:1].isupper() and kind not in _ACCEPTED_ESTIMATORS:
        raise InvalidCheckpoint(f"has scikit-learn's {shown(kind, 40)}, {reason}")


_PERCEPTRON = "sklearn.neural_network._multilayer_perceptron.MLPClassifier"
_ACTIVATIONS = {"relu": ["ReLU"], "tanh": ["Tanh"], "logistic": ["Sigmoid"], "identity": []}


def _read_perceptron(
    path: str, value: Placeholder, seen: set[int], budget: _Budget
) -> StateDict | None:
    """The weights of scikit-learn's perceptron, and its modules as PyTorch would have them."""
    state = value.state
    if value.name != _PERCEPTRON or not isinstance(state, dict):
        return None
    tensors = _paired([state.get("coefs_"), state.get("intercepts_")], seen, budget)
    activation = state.get("activation")
    if not tensors or not isinstance(activation, str) or activation not in _ACTIVATIONS:
        return None
    modules = [Module("", "Sequential", True, {}), Module("flatten", "Flatten", True, {})]
    for layer in range(len(tensors) // 2):
        kinds = [*(_ACTIVATIONS[activation] if layer else []), "Linear"]
        modules += [Module(str(layer), kind, True, {}) for kind in kinds]
    return StateDict(path, tensors, modules)


def _is_optimizer(values: dict[Any, Any]) -> bool:
    return "param_groups" in values and "state" in values


def _why_none(content: Any, has_optimizer: bool) -> str:
    save = "save the network's state_dict"
    if has_optimizer:
        return f"has only an optimizer's state, which has no weights; {save}"
    content = _spec(content) or content
    if isinstance(content, TensorSpec):
        shape = "x".join(map(str, content.shape)) or "one number"
        return f"is a single tensor ({shown(shape)}), not a network; {save}"
    if isinstance(content, Placeholder):
        return f"is a pickled {shown(content.name)} without weights; {save}"
    return f"contains no named weights; {save}"


# --- whole modules ------------------------------------------------------------------------------


class _Budget:
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


def _is_module(value: Any) -> bool:
    return (
        isinstance(value, Placeholder)
        and isinstance(value.state, dict)
        and isinstance(value.state.get("_modules"), dict)
        and isinstance(value.state.get("_parameters"), dict)
    )


def _read_module(path: str, root: Placeholder, seen: set[int], budget: _Budget) -> StateDict:
    """The weights and modules of a pickled network; marks what it visits as seen."""
    tensors: dict[str, TensorSpec] = {}
    modules: list[Module] = []
    visited: set[int] = set()
    pending: list[tuple[str, Placeholder]] = [("", root)]
    while pending:
        name, module = pending.pop()
        if len(modules) > MAX_TENSORS:
            break
        budget.charge(len(module.state))
        if id(module) in visited:
            # One ReLU for all layers is listed in each place.
            if not module.state["_modules"]:
                modules.append(_describe(name, module))
            continue
        visited.add(id(module))
        state = module.state
        for part in ("_parameters", "_buffers"):
            own = state.get(part)
            if isinstance(own, dict):
                budget.charge(len(own))
                tensors |= {_join(name, k): spec for k, spec in _tensors_of(own).items()}
        modules.append(_describe(name, module))
        budget.charge(len(state["_modules"]))
        children = [
            (_join(name, key), child)
            for key, child in state["_modules"].items()
            if _is_module(child)
        ]
        pending += reversed(children)
    seen |= visited
    if len(tensors) > MAX_TENSORS:
        raise InvalidCheckpoint(
            f"has {len(tensors):,} tensors, so it is not a small digit classifier; choose another "
            "file"
        )
    return StateDict(path, tensors, modules)


def _describe(name: str, module: Placeholder) -> Module:
    attributes = {
        key: value
        for key, value in module.state.items()
        if isinstance(key, str) and not key.startswith("_") and _is_plain(value)
    }
    is_torch = module.name.startswith("torch.nn.")
    return Module(name, module.name.rpartition(".")[2], is_torch, attributes)


def _is_plain(value: Any) -> bool:
    simple = (bool, int, float, str, type(None))
    if isinstance(value, (tuple, list)):
        return len(value) <= 4 and all(isinstance(item, simple) for item in value)
    return isinstance(value, simple)
