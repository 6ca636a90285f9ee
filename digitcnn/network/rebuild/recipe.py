"""How a rebuilt network computes: its input and its steps, as plain data that can be checked.

A recipe and named tensors make a ``RebuiltNetwork``. Checkpoints of ours store both for a network
that was kept; so a recipe may come from an untrusted file, and ``Recipe.check`` bounds what it asks
for before anything is computed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.network.reader import InvalidCheckpoint, shown

Shapes = Mapping[str, tuple[int, ...]]

# Name -> what a negative or small input becomes, as torch.nn.functional names it.
ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "tanh", "sigmoid", "gelu", "silu", "leaky_relu_0.1",
    "leaky_relu_0.2", "selu", "relu6", "softplus", "hardtanh", "hardswish", "mish", "softsign",
)  # fmt: skip
# They take twice as long as the others.
_SLOW = {"elu", "tanh", "selu", "softplus", "mish"}

# Of an input: digits are grey, and some networks take them as colour images.
CHANNELS = (1, 3)
# Stands for the three means and deviations that networks for ImageNet have, one for each channel.
IMAGENET_SCALING = (0.449, 0.226)
IMAGENET_MEANS, IMAGENET_STDS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDES = (14, 16, 20, 24, SIDE, 32)
MAX_STEPS = 120
# Numbers read per step: one more than any step has, so that a surplus is noticed.
MAX_NUMBERS = 5
# Per image: numbers in the largest map, and multiplications in all.
MAX_MAP = 1_000_000
MAX_WORK = 400_000_000
# Numbers in the maps of all steps: cheap layers on large maps cost without multiplying.
MAX_NUMBERS_IN_ALL = 12_000_000
# Writing and reading one number of a map takes as long as this many multiplications. One of a
# convolution of a single channel takes as long as NARROW of a wide one.
NUMBER, NARROW = 80, 5


@dataclass(frozen=True, order=True)
class InputForm:
    """What the network expects of an image of 28x28.

    mean, std: subtracted and divided by, on the scale 0 to 1, after inverting. In colour,
    IMAGENET_SCALING stands for three of each.
    inverted: dark ink on a bright ground. transposed: rows and columns exchanged, as in EMNIST's
    files. side: of the square image. resized: scaled to that side; else padded with ground, or
    cropped.
    sharp: scaled down without smoothing, by the nearest four pixels. channels: the same image so
    many times. framed: digits enlarged until two pixels are left around
    them, as EMNIST's are (Cohen et al. 2017).
    """

    mean: float = 0.0
    std: float = 1.0
    inverted: bool = False
    transposed: bool = False
    side: int = SIDE
    resized: bool = False
    channels: int = 1
    framed: bool = False
    sharp: bool = False


@dataclass(frozen=True, order=True)
class Step:
    """One operation.

    op: ``conv``, ``linear``, ``norm`` (batch norm), ``layer_norm``, ``prelu``, ``activation``,
    ``max_pool``, ``avg_pool``, ``adaptive_max``, ``adaptive_avg``, ``flatten`` or
    ``flatten_last`` (channels last).
    name: the layer whose tensors it uses (``name.weight``, ``name.bias``, and for norms
    ``name.running_mean`` and ``name.running_var``), or the activation.
    numbers: stride, padding, dilation and groups of a convolution; kernel, stride, padding and
    ceil mode of a pooling; the side of an adaptive one.
    """

    op: str
    name: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Work:
    """What one image costs.

    numbers: in all maps together. costs: of the steps, in multiplications of a wide convolution.
    """

    numbers: int
    costs: tuple[int, ...]

    @property
    def cost(self) -> int:
        """Of all steps together."""
        return sum(self.costs)


_NUMBERS = {
    "conv": 4, "linear": 0, "norm": 0, "layer_norm": 0, "prelu": 0, "activation": 0, "max_pool": 4,
    "avg_pool": 4, "adaptive_max": 1, "adaptive_avg": 1, "flatten": 0, "flatten_last": 0,
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Recipe:
    """The input of a rebuilt network and its steps."""

    input: InputForm
    steps: tuple[Step, ...]

    def check(self, shapes: Shapes) -> Work:
        """Follow the shapes through the steps. Raises ValueError where they do not fit."""
        form = self.input
        shape: tuple[int, ...] = (form.channels, form.side, form.side)
        numbers, in_all, costs = math.prod(shape), 0, []
        for step in self.steps:
            shape, work = _apply(step, shape, shapes)
            size = math.prod(shape)
            numbers += size
            in_all += work
            costs.append(work + NUMBER * size)
            if size > MAX_MAP or numbers > MAX_NUMBERS_IN_ALL or in_all > MAX_WORK:
                raise ValueError("too much work")
        if math.prod(shape) != CLASSES or shape[0] != CLASSES:
            raise ValueError("not ten outputs")
        return Work(numbers, tuple(costs))

    def to_plain(self) -> dict[str, Any]:
        """As JSON types, for a checkpoint."""
        return {
            "input": dataclasses.asdict(self.input),
            "steps": [[step.op, step.name, list(step.numbers)] for step in self.steps],
        }

    @classmethod
    def from_plain(cls, values: Any) -> Recipe:
        """Read what ``to_plain`` gives. Raises InvalidCheckpoint."""
        try:
            form = InputForm(**values["input"])
            _check_input(form)
            if not 0 < len(values["steps"]) <= MAX_STEPS:
                raise ValueError
            steps = tuple(
                Step(_text(op), _text(name), tuple(map(_whole, numbers[:MAX_NUMBERS])))
                for op, name, numbers in values["steps"]
            )
            for step in steps:
                if len(step.numbers) != _NUMBERS[step.op]:
                    raise ValueError
                if step.op == "activation" and step.name not in ACTIVATIONS:
                    raise ValueError
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidCheckpoint(
                "describes a network that this version of digitcnn does not support; use the "
                "version that wrote it"
            ) from error
        return cls(form, steps)


def _check_input(form: InputForm) -> None:
    for value in (form.inverted, form.transposed, form.resized, form.framed, form.sharp):
        if type(value) is not bool:
            raise ValueError
    if _whole(form.side) not in SIDES or _whole(form.channels) not in CHANNELS:
        raise ValueError
    for number in (form.mean, form.std):
        if type(number) is not float or not math.isfinite(number) or abs(number) > 1000:
            raise ValueError
    if form.std <= 1e-3:
        raise ValueError


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > 300:
        raise ValueError
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 10_000:
        raise ValueError
    return value


def _apply(step: Step, shape: tuple[int, ...], shapes: Shapes) -> tuple[tuple[int, ...], int]:
    """The shape after a step, and its work but for writing. Raises ValueError for a misfit."""
    if step.op == "conv":
        return _after_conv(step, shape, shapes)
    if step.op == "linear":
        out, into = _tensor(shapes, f"{step.name}.weight", 2)
        _optional(shapes, f"{step.name}.bias", (out,))
        if shape != (into,):
            raise ValueError
        return (out,), out * into
    if step.op in ("flatten", "flatten_last"):
        return (math.prod(shape),), 0
    if "_" in step.op and step.op.endswith(("pool", "adaptive_max", "adaptive_avg")):
        return _after_pool(step, shape), NUMBER * math.prod(shape)
    if step.op == "activation":
        if step.name not in ACTIVATIONS:
            raise ValueError
        return shape, NUMBER * math.prod(shape) * (step.name in _SLOW)
    else:
        _check_norm(step, shape, shapes)
    return shape, 0


def _after_pool(step: Step, shape: tuple[int, ...]) -> tuple[int, ...]:
    channels, side, other = _map(shape)
    if step.op.startswith("adaptive"):
        (after,) = step.numbers
        if after > side:
            raise ValueError
    else:
        kernel, stride, padding, ceil = step.numbers
        if not 1 <= kernel <= SIDE or not 1 <= stride <= SIDE or padding > kernel // 2:
            raise ValueError
        after = pooled_side(side, kernel, stride, padding, bool(ceil))
    if after < 1 or side != other:
        raise ValueError
    return channels, after, after


def _check_norm(step: Step, shape: tuple[int, ...], shapes: Shapes) -> None:
    wanted = (shape[0],)
    if step.op == "norm":
        for part in ("running_mean", "running_var"):
            if shapes.get(f"{step.name}.{part}") != wanted:
                raise ValueError
        for part in ("weight", "bias"):
            _optional(shapes, f"{step.name}.{part}", wanted)
    elif step.op == "layer_norm":
        if shapes.get(f"{step.name}.weight") != shape or len(shape) != 1:
            raise ValueError
        _optional(shapes, f"{step.name}.bias", shape)
    elif step.op != "prelu" or shapes.get(f"{step.name}.weight") not in ((1,), wanted):
        raise ValueError


def _after_conv(step: Step, shape: tuple[int, ...], shapes: Shapes) -> tuple[tuple[int, ...], int]:
    channels, side, other = _map(shape)
    out, into, high, wide = _tensor(shapes, f"{step.name}.weight", 4)
    _optional(shapes, f"{step.name}.bias", (out,))
    stride, padding, dilation, groups = step.numbers
    if side != other or high != wide or not 1 <= stride <= 8 or not 1 <= dilation <= 8:
        raise ValueError
    if padding > dilation * high or groups < 1 or into * groups != channels or out % groups:
        raise ValueError
    after = (side + 2 * padding - dilation * (high - 1) - 1) // stride + 1
    if after < 1:
        raise ValueError
    work = out * into * high * wide * after * after
    return (out, after, after), work * (NARROW if into == 1 else 1)


def pooled_side(side: int, kernel: int, stride: int, padding: int, ceil: bool) -> int:
    """The side of a map after pooling, as PyTorch computes it; below 1 where it is too small."""
    over = side + 2 * padding - kernel
    after = (-(-over // stride) if ceil else over // stride) + 1
    # The last window has to begin inside the image.
    return after - 1 if ceil and (after - 1) * stride >= side + padding else after


def _map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError
    return shape[0], shape[1], shape[2]


def _tensor(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"no tensor {shown(name)}")
    return shape


def _optional(shapes: Shapes, name: str, wanted: tuple[int, ...]) -> None:
    if shapes.get(name, wanted) != wanted:
        raise ValueError
