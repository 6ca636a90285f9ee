"""Find the sets of weights in a file's content, wherever they are.

A set is a dictionary with tensors, as ``state_dict()`` gives it, a list of its items or of unnamed
weights and biases in order, a list of weights beside one of biases, or a whole pickled module,
which is a tree of ``_modules`` and ``_parameters``. NumPy's arrays count as tensors. What an
optimizer remembers is not a set of weights.
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
            tensors = _tensors_of(value) or _paired(list(value.values()), seen, budget)
            if tensors:
                found.append(StateDict(path, _unprefixed(tensors)))
            pending += [
                (_join(path, key), item) for key, item in reversed(value.items()) if _nests(item)
            ]
        elif isinstance(value, (list, tuple)):
            tensors = _tensors_of(_named(value)) or _paired(value, seen, budget)
            if tensors:
                found.append(StateDict(path, _unprefixed(tensors)))
            pending += [(path, item) for item in reversed(value) if _nests(item)]
        elif isinstance(value, Placeholder):
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
    for items in lists:
        if not isinstance(items, (list, tuple)) or not items or _spec(items[0]) is None:
            continue
        budget.charge(len(items))
        specs = _weights(items)
        if specs and not any(map(_is_vector, specs)):
            weights = weights or items
        elif specs and all(map(_is_vector, specs)) and len(items) == len(weights):
            seen |= {id(weights), id(items)}
            pairs = zip(_weights(weights), specs, strict=True)
            return {
                f"{layer}.{part}": spec
                for layer, pair in enumerate(pairs)
                for part, spec in zip(("weight", "bias"), pair, strict=True)
            }
    return {}


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
