"""Find the sets of weights in a file's content, wherever they are.

A set is a dictionary with tensors, as ``state_dict()`` gives it, a list of its items or of unnamed
weights and biases in order, a list of weights beside one of biases, several layers side by side
that each have their own, or a whole pickled module, which is a tree of ``_modules`` and
``_parameters``. NumPy's arrays count as tensors. What an optimizer remembers is not a set of
weights.
"""

from __future__ import annotations

from typing import Any

from digitcnn.network.reader.pickle_reader import OTHER_TENSORS, Hidden, Placeholder
from digitcnn.network.reader.scikit_learn import read_perceptron, refuse_other_estimators
from digitcnn.network.reader.tensors import (
    MAX_TENSORS,
    InvalidCheckpoint,
    Module,
    StateDict,
    TensorSpec,
    check_count,
    shown,
)
from digitcnn.network.reader.unnamed import MAX_PATH, Budget, layered, named, paired, spec_of


def find_state_dicts(content: Any) -> list[StateDict]:
    """Return every set of weights in a file's content, the largest first.

    Raises InvalidCheckpoint, saying what the file has instead, where there is none.
    """
    found: list[StateDict] = []
    has_optimizer = False
    seen: set[int] = set()
    budget = Budget()
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
            if "param_groups" in value and "state" in value:
                has_optimizer = True
                continue
            found += _sets(path, value, list(value.values()), value, seen, budget)
            pending += [
                (_join(path, key), item) for key, item in reversed(value.items()) if _nests(item)
            ]
        elif isinstance(value, (list, tuple)):
            found += _sets(path, named(value), value, dict(enumerate(value)), seen, budget)
            pending += [(path, item) for item in reversed(value) if _nests(item)]
        elif isinstance(value, Placeholder):
            refuse_other_estimators(value.name)
            perceptron = read_perceptron(path, value, seen, budget)
            if perceptron is not None:
                found.append(perceptron)
                continue
            parts = [value.state, value.entries, value.items, value.args]
            pending += [(path, part) for part in reversed(parts) if _nests(part)]
    if not found:
        raise InvalidCheckpoint(_why_none(content, has_optimizer))
    return sorted(found, key=lambda state: -state.numbers)


def _sets(
    path: str,
    tensors: dict[Any, Any],
    lists: list[Any] | tuple[Any, ...],
    layers: dict[Any, Any],
    seen: set[int],
    budget: Budget,
) -> list[StateDict]:
    """Return the sets of weights found: named tensors, paired lists, layers side by side."""
    sets = (_tensors_of(tensors), paired(lists, seen, budget), layered(layers, seen, budget))
    return [StateDict(path, _unprefixed(each)) for each in sets if each]


def _nests(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, Placeholder))


def _join(path: str, key: Any) -> str:
    name = key if isinstance(key, str) else str(key) if isinstance(key, int) else "…"
    return f"{path}.{name}"[:MAX_PATH] if path else name[:MAX_PATH]


def _tensors_of(values: dict[Any, Any]) -> dict[str, TensorSpec]:
    tensors: dict[str, TensorSpec] = {}
    for name, value in values.items():
        spec = spec_of(value)
        if spec is not None and not isinstance(name, Hidden):
            # Keras and Flax join names with slashes, and TensorFlow numbers its tensors.
            plain = str(name)[:MAX_PATH].removesuffix(":0").replace("/", ".")
            tensors[plain] = spec
        elif isinstance(value, Placeholder) and value.name in OTHER_TENSORS:
            raise InvalidCheckpoint(
                f"has {OTHER_TENSORS[value.name]} ({shown(str(name), 40)}); save plain float32 "
                "weights"
            )
    check_count(tensors)
    return tensors


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


def _why_none(content: Any, has_optimizer: bool) -> str:
    save = "save the network's state_dict"
    if has_optimizer:
        return f"has only an optimizer's state, which has no weights; {save}"
    content = spec_of(content) or content
    if isinstance(content, TensorSpec):
        shape = "x".join(map(str, content.shape)) or "one number"
        return f"is a single tensor ({shown(shape)}), not a network; {save}"
    if isinstance(content, Placeholder):
        return f"is a pickled {shown(content.name)} without weights; {save}"
    return f"contains no named weights; {save}"


# --- whole modules ------------------------------------------------------------------------------


def _is_module(value: Any) -> bool:
    return (
        isinstance(value, Placeholder)
        and isinstance(value.state, dict)
        and isinstance(value.state.get("_modules"), dict)
        and isinstance(value.state.get("_parameters"), dict)
    )


def _read_module(path: str, root: Placeholder, seen: set[int], budget: Budget) -> StateDict:
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
    check_count(tensors)
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
