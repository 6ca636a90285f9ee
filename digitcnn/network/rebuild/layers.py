"""From names and shapes to layers in the order of computation, or what the network is instead."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network.reader import InvalidCheckpoint, StateDict, TensorSpec, listed, shown
from digitcnn.network.reader.tensors import FLOATS, wrong_type
from digitcnn.network.reader.unnamed import PARTS

MAX_LAYERS = 30

_ONLY = "digitcnn rebuilds sequential networks of convolutions and linear layers"


@dataclass(frozen=True)
class Layer:
    """A layer that has weights.

    kind: ``conv``, ``linear``, ``norm`` (batch norm), ``layer_norm`` or ``prelu``.
    name: in the file. parts: its tensors' names in the file, by ``weight``, ``bias``,
    ``running_mean`` and ``running_var``. shape: of its weight; of a norm, its channels.
    """

    kind: str
    name: str
    parts: Mapping[str, str]
    shape: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """Channels or features that it gives."""
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """Channels (of one group) or features that it takes."""
        return self.shape[1]


@dataclass(frozen=True)
class Stack:
    """The layers of a sequential network.

    convs, linears: in the order of computation. norms: batch norms by the name of the layer whose
    outputs they normalise; ``""`` is the input. others: layer norms and PReLUs likewise.
    parameters: numbers in these layers, without running statistics.
    """

    convs: list[Layer]
    linears: list[Layer]
    norms: Mapping[str, Layer]
    others: Mapping[str, Layer]
    parameters: int

    @property
    def layers(self) -> list[Layer]:
        """All of them."""
        return [*self.convs, *self.linears, *self.norms.values(), *self.others.values()]


def stack_of(state: StateDict) -> Stack:
    """Return the layers of a set of weights in order.

    Raises InvalidCheckpoint, saying what it is instead, where they are not those of a sequential
    network with ten outputs.
    """
    tensors = state.tensors
    for name, spec in tensors.items():
        if spec.dtype in FLOATS:
            spec.check(name)
    layers, ignored = _layers(tensors)
    _refuse_ensemble(state)
    convs = _chain([layer for layer in layers if layer.kind == "conv"], state)
    linears = _chain([layer for layer in layers if layer.kind == "linear"], state)
    main = [*convs, *linears]
    if not main:
        for name in ignored:
            if tensors[name].dtype not in FLOATS and len(tensors[name].shape) in (2, 4):
                raise wrong_type(name, tensors[name])
        raise InvalidCheckpoint(f"has no convolution or linear layer ({_summary(state)}); {_ONLY}")
    if main[-1].outputs != CLASSES:
        raise InvalidCheckpoint(_other_outputs(main, state))
    norms = _assign([layer for layer in layers if layer.kind == "norm"], main, layers, state)
    others = _assign(
        [layer for layer in layers if layer.kind in ("layer_norm", "prelu")], main, layers, state
    )
    used = [*main, *norms.values(), *others.values()]
    parameters = sum(
        tensors[name].numbers
        for layer in used
        for part, name in layer.parts.items()
        if part in ("weight", "bias")
    )
    _refuse_strays(main, others, ignored, state)
    return Stack(convs, linears, norms, others, parameters)


# --- layers -------------------------------------------------------------------------------------

# fc1_weight, W1, b1, weight1, bn1_running_mean
_JOINED_NAME = re.compile(rf"(.*?)({'|'.join(PARTS)})[_.]?(\d*)", re.IGNORECASE)


def parts_of(tensors: Mapping[str, TensorSpec]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the tensors' names by layer and part, and the names that belong to no layer."""
    grouped: dict[str, dict[str, str]] = {}
    ignored = []
    for name, spec in tensors.items():
        layer, _, last = name.rpartition(".")
        part = PARTS.get(last.lower().lstrip("_"))
        if part is None:
            split = _JOINED_NAME.fullmatch(last)
            if split is not None and (split[3] or split[1]):
                part = PARTS[split[2].lower()]
                layer = ".".join(filter(None, (layer, split[1].rstrip("_") + split[3])))
            elif len(spec.shape) in (2, 4):  # a parameter by itself, such as gabor_filters
                part, layer = "weight", name
        if part is None or spec.dtype not in FLOATS or part in grouped.get(layer, {}):
            ignored.append(name)
        else:
            grouped.setdefault(layer, {})[part] = name
    return grouped, ignored


def _layers(tensors: Mapping[str, TensorSpec]) -> tuple[list[Layer], list[str]]:
    """The layers in the file's order, and the names of tensors that belong to none."""
    grouped, ignored = parts_of(tensors)
    layers = []
    for name, parts in grouped.items():
        layer_kind = _kind(parts, tensors)
        if layer_kind is None:
            ignored += parts.values()
        else:
            kind, shape = layer_kind
            layers.append(Layer(kind, name, parts, shape))
    # A matrix by itself beside linear layers is something else, such as a metric's counts.
    matrices = [x for x in layers if x.kind == "linear" and x.parts["weight"] == x.name]
    if any(layer.kind == "linear" and layer not in matrices for layer in layers):
        layers = [layer for layer in layers if layer not in matrices]
        ignored += [matrix.name for matrix in matrices]
    return layers, ignored


def _kind(
    parts: Mapping[str, str], tensors: Mapping[str, TensorSpec]
) -> tuple[str, tuple[int, ...]] | None:
    if "running_mean" in parts and "running_var" in parts:
        shape = tensors[parts["running_mean"]].shape
        return ("norm", shape) if len(shape) == 1 else None
    if "weight" not in parts:
        return None
    shape = tensors[parts["weight"]].shape
    bias = tensors[parts["bias"]].shape if "bias" in parts else None
    if len(shape) == 4 and bias in (None, shape[:1]) and 0 not in shape:
        return "conv", shape
    if len(shape) == 2 and bias in (None, shape[:1]) and 0 not in shape:
        return "linear", shape
    if len(shape) == 1 and bias == shape:
        return "layer_norm", shape
    if len(shape) == 1 and bias is None and parts["weight"].endswith("weight"):
        return "prelu", shape
    return None


# --- order --------------------------------------------------------------------------------------


def _chain(layers: list[Layer], state: StateDict) -> list[Layer]:
    """Layers in an order in which each takes what the one before gives.

    Tried in the file's order first; a safetensors file is sorted by name, so then by the numbers in
    the names. Raises InvalidCheckpoint where there is no such order.
    """
    if len(layers) > MAX_LAYERS:
        raise InvalidCheckpoint(
            f"is a network of {len(layers)} layers ({_summary(state)}); {_ONLY}, up to {MAX_LAYERS}"
        )
    for order in (layers, sorted(layers, key=lambda layer: natural(layer.name))):
        if all(_fits(a, b) for a, b in itertools.pairwise(order)):
            return order
        found = _search(order)
        if found is not None:
            return found
    names = [layer.name for layer in layers]
    raise InvalidCheckpoint(
        f"is a branching network, whose layers do not follow one another ({listed(names, 4)}); "
        f"{_ONLY}"
    )


def _fits(before: Layer, after: Layer) -> bool:
    if before.kind == "conv" and after.kind == "conv":
        # Fewer inputs: a convolution in groups, such as a depthwise one.
        return before.outputs == after.inputs or (
            after.inputs < before.outputs
            and before.outputs % after.inputs == 0
            and after.outputs % (before.outputs // after.inputs) == 0
        )
    return before.outputs == after.inputs


def _search(layers: Sequence[Layer]) -> list[Layer] | None:
    """The first order that fits, by depth-first search in bounded steps."""
    steps = 0

    def extend(order: list[Layer], rest: list[Layer]) -> list[Layer] | None:
        nonlocal steps
        steps += 1
        if not rest or steps > 20_000:
            return order if not rest else None
        for place, layer in enumerate(rest):
            exact = not order or order[-1].outputs == layer.inputs
            if exact:
                found = extend([*order, layer], rest[:place] + rest[place + 1 :])
                if found is not None:
                    return found
        return None

    # What no other layer feeds comes first: the input's channels or pixels.
    for first, layer in enumerate(layers):
        if layer.kind == "conv" and layer.inputs not in (1, 3):
            continue
        rest = [*layers[:first], *layers[first + 1 :]]
        found = extend([layer], rest)
        if found is not None:
            return found
    return None


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts ``conv10`` after ``conv2``."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def _assign(
    norms: list[Layer], main: list[Layer], layers: list[Layer], state: StateDict
) -> dict[str, Layer]:
    """Each norm to the layer whose outputs it normalises.

    First by the file's order (a norm follows its layer), then by the numbers in the names, then the
    next layer with as many outputs. Raises InvalidCheckpoint where a norm fits no layer.
    """
    assigned: dict[str, Layer] = {}
    order = sorted(layers, key=lambda layer: natural(layer.name)) if _is_sorted(state) else layers
    for norm in norms:
        free = [layer for layer in main if layer.name not in assigned]
        if norm.kind == "prelu" and norm.outputs == 1:
            fitting = free
        else:
            fitting = [layer for layer in free if layer.outputs == norm.outputs]
        if not fitting and norm.kind == "norm" and "" not in assigned:
            # Of the input, or of the flattened maps.
            channels = main[0].inputs if main[0].kind == "conv" else 1
            if norm.outputs in {channels, *(x.inputs for x in main if x.kind == "linear")}:
                flat = norm.outputs != channels
                assigned["flatten" if flat else ""] = norm
                continue
        if not fitting:
            raise InvalidCheckpoint(
                f"has a layer that fits no other ({shown(norm.name, 40)}, {norm.outputs} numbers); "
                f"{_ONLY}"
            )
        before = [layer for layer in order[: order.index(norm)] if layer in fitting]
        same = [layer for layer in fitting if _number(layer.name) == _number(norm.name)]
        adjacent = before[-1:] if before and _directly_before(before[-1], norm, order) else []
        choice = (adjacent or same or fitting)[0]
        assigned[choice.name] = norm
    return assigned


def _is_sorted(state: StateDict) -> bool:
    # A safetensors file is sorted by name among the tensors of each number type.
    names = [name for name, spec in state.tensors.items() if spec.dtype in FLOATS]
    return names == sorted(names)


def _directly_before(layer: Layer, norm: Layer, order: list[Layer]) -> bool:
    between = order[order.index(layer) + 1 : order.index(norm)]
    return all(other.kind not in ("conv", "linear") for other in between)


def norms_come_first(stack: Stack) -> bool:
    """Whether the numbers in a Sequential's names put each norm right behind its layer."""
    for name, norm in stack.norms.items():
        parent, _, number = name.rpartition(".")
        other, _, place = norm.name.rpartition(".")
        if parent != other or not (number.isdecimal() and place.isdecimal()):
            return False
        if int(place) != int(number) + 1:
            return False
    return bool(stack.norms)


def may_skip_layers(stack: Stack) -> bool:
    """Whether a convolution's inputs could be added to its outputs."""
    return any(layer.inputs == layer.outputs for layer in stack.convs)


def _number(name: str) -> str:
    digits = re.findall(r"\d+", name)
    return digits[-1] if digits else ""


# --- what it is instead -------------------------------------------------------------------------


def _summary(state: StateDict) -> str:
    parameters = sum(spec.numbers for spec in state.tensors.values())
    many = len(state.tensors)
    return f"{many} tensor{'s' * (many != 1)}, {parameters:,} numbers"


# Networks that names give away, and the patterns, all of which occur among the names.
_OTHER_KINDS = {
    "a transformer": [r"in_proj_|self_attn|attention|\battn\b|\.qkv|pos_embed|cls_token"],
    "a recurrent network": [r"(weight|bias)_(ih|hh)(_l\d+)?$"],
    "a quantised network": [r"zero_point|_packed_params|\.scale$|quant_"],
    "a network with low-rank adapters (LoRA)": [r"lora_"],
    "a spiking network": [
        r"\b(p?lif|snn|spik|neuron)\w*\.|graded_spikes|reset_mechanism|(v_|\.|^)threshold$"
    ],
    "an autoencoder": [r"encoder", r"decoder"],
    "a generative adversarial network": [r"(^|\.)(generator|gen)\.|discriminator"],
    "a branching (residual) network": [
        r"shortcut|downsample|residual|\bskip|res_?block|\.branch|^layer\d+\.\d+\.conv\d"
    ],
}


def refuse_kinds(state: StateDict) -> None:
    """Raise InvalidCheckpoint for networks that names or shapes give away."""
    text = "\n".join(state.tensors).lower()
    kinds = "\n".join(module.kind for module in state.modules).lower()

    def refuse(what: str) -> None:
        raise InvalidCheckpoint(f"is {what} ({_summary(state)}); {_ONLY}")

    if re.search(r"weight_(orig|g|v|mask)$|parametrizations", text, re.MULTILINE):
        raise InvalidCheckpoint(
            "has reparametrised weights; remove the parametrisation (torch.nn.utils) and save the "
            "state_dict again"
        )
    if re.search(r"(^|[._])flat_param", text, re.MULTILINE):
        raise InvalidCheckpoint(
            "has the flattened weights of FSDP, without their shapes; save a full state_dict "
            "(StateDictType.FULL_STATE_DICT)"
        )
    for what, patterns in _OTHER_KINDS.items():
        if all(re.search(pattern, text, re.MULTILINE) for pattern in patterns):
            refuse(what)
    if re.search(
        r"^(\w*lif(node|cell|recurrent\w*)?|ifnode|r?leaky|r?synaptic|lapicque)$", kinds, re.M
    ):
        refuse("a spiking network")
    if "convtranspose" in kinds:
        refuse("a network with transposed convolutions, such as an autoencoder")
    biases = {name: spec.shape for name, spec in state.tensors.items() if name.endswith("bias")}
    for name, spec in state.tensors.items():
        if name.endswith("weight") and len(spec.shape) in (2, 3):
            if biases.get(f"{name.removesuffix('weight')}bias") == spec.shape:
                refuse("a network with layer normalisation of whole maps")
            if len(spec.shape) == 3:
                refuse("a network with one-dimensional convolutions")
    if any(len(s.shape) == 5 for s in state.tensors.values()):
        refuse("a network with three-dimensional convolutions")


def _refuse_ensemble(state: StateDict) -> None:
    """Raise InvalidCheckpoint for several classifiers of the same shapes, such as ``models.0``."""
    members: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}
    for name, spec in state.tensors.items():
        numbered = re.fullmatch(r"(\D*)(\d+)\.(.+\..+)", name, re.ASCII)
        if numbered is not None:
            members.setdefault((numbered[1], numbered[2]), {})[numbered[3]] = spec.shape
    for (parent, number), shapes in members.items():
        alike = sum(p == parent and other == shapes for (p, _), other in members.items())
        weights = [shape for shape in shapes.values() if len(shape) in (2, 4)]
        takes_images = any(shape[1:2] in ((1,), (3,), (784,)) for shape in weights)
        if alike > 1 and takes_images and any(shape[0] == CLASSES for shape in weights):
            raise InvalidCheckpoint(
                f"is an ensemble of {alike} networks ({shown(parent + number, 40)}, …); save the "
                "state_dict of one of them"
            )


def _refuse_strays(
    main: list[Layer], others: Mapping[str, Layer], ignored: list[str], state: StateDict
) -> None:
    """Raise InvalidCheckpoint for weights that no layer uses, so that none is left out."""
    for layer in main:
        other = others.get(layer.name)
        if layer.kind == "conv" and other is not None and other.kind == "layer_norm":
            raise InvalidCheckpoint(
                "is a network with group or instance normalisation between its convolutions "
                f"({shown(other.name, 40)}); {_ONLY}"
            )
    bare = {(layer.outputs,) for layer in main if "bias" not in layer.parts}
    strays = [
        name
        for name in ignored
        if state.tensors[name].dtype in FLOATS
        and (name.endswith(".weight") or state.tensors[name].shape in bare)
    ]
    if strays:
        raise InvalidCheckpoint(
            f"has weights that belong to no layer that digitcnn knows ({listed(strays)}); {_ONLY}"
        )


def _other_outputs(main: list[Layer], state: StateDict) -> str:
    outputs = main[-1].outputs
    first = math.prod(main[0].shape[1:])
    if outputs in (784, 1024) or outputs == first:
        return f"gives images of {outputs} pixels, like an autoencoder ({_summary(state)}); {_ONLY}"
    if outputs in (26, 27, 47, 52, 62):
        return (
            f"classifies {outputs} classes, such as letters, not the ten digits; choose a digit "
            "classifier"
        )
    return (
        f"has {outputs} output{'s' * (outputs != 1)} where a digit classifier has ten, so it "
        "classifies something else; choose a digit classifier"
    )
