"""Weight files made by hand against the reader and the rebuilding: each ends in one sentence.

The large corpus is in ``test_reader``; these spell their pickles instruction by instruction.
"""

from __future__ import annotations

import io
import struct
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from digitcnn.errors import CheckpointError
from digitcnn.network import checkpoint
from digitcnn.network.model import DigitCNN
from digitcnn.network.own_format import FORMAT
from digitcnn.network.reader import StateDict, TensorSpec
from digitcnn.network.reader.tensors import Storage, contiguous_stride
from digitcnn.network.rebuild.guesses import Choices, Facts
from digitcnn.network.rebuild.layers import stack_of
from digitcnn.network.rebuild.plans import geometries
from digitcnn.network.rebuild.recipe import InputForm, Recipe, Step
from digitcnn.network.rebuild.scoring import Scorer

START = b"\x80\x02"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def memoised(value: bytes, place: int) -> bytes:
    """A value that the pickle remembers, and nothing on the stack."""
    return value + bytes([ord("q"), place]) + b"0"


def again(place: int) -> bytes:
    return bytes([ord("h"), place])


def tuple_of(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def dict_of(values: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in values.items()) + b"u"


def storage(items: int) -> bytes:
    kind = b"ctorch\nFloatStorage\n"
    return tuple_of(text("storage"), kind, text("0"), text("cpu"), number(items)) + b"Q"


def tensor(of: bytes, shape: tuple[int, ...]) -> bytes:
    stride = contiguous_stride(shape)
    arguments = (of, number(0), tuple_of(*map(number, shape)), tuple_of(*map(number, stride)))
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_of(*arguments, b"\x89", b"N") + b"R"


def zipped(pickle: bytes, numbers: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/data.pkl", START + pickle + b".")
        if numbers:
            file.writestr("a/data/0", numbers)
    return buffer.getvalue()


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def module_state(**entries: bytes) -> bytes:
    return dict_of({"_modules": again(3), "_parameters": b"}", **entries})


def child(name: int) -> bytes:
    """A key, and a module with the remembered state."""
    return number(name) + again(1) + b")\x81" + again(2) + b"b"


def modules_that_share_a_state() -> bytes:
    """Each of 10,000 modules has all of them as its children: 10^8 pairs in 200 kB."""
    common = memoised(b"}", 3) + memoised(module_state(), 2) + memoised(b"ca\nM\n", 1)
    children = again(3) + b"(" + b"".join(map(child, range(10_000))) + b"u0"
    return zipped(common + children + child(0)[5:])


def modules_that_share_attributes() -> bytes:
    attributes = {f"{n:x}": b"N" for n in range(9_000)}
    common = memoised(b"}", 3) + memoised(module_state(**attributes), 2)
    children = again(3) + b"(" + b"".join(map(child, range(900))) + b"u0"
    return zipped(common + memoised(b"ca\nM\n", 1) + children + child(0)[5:])


def tensors_that_share_a_storage(recipe: bool) -> bytes:
    """Hundreds of tensors of a few numbers in a storage of 60 MB."""
    items = 15_000_000
    shapes: dict[str, tuple[int, ...]]
    if recipe:
        shapes = {f"a{n}": (1,) for n in range(900)} | {"z.weight": (10, 784)}
    else:
        shapes = {"first": (2, 784)} | {f"l{n}": (2, 2) for n in range(25)} | {"z": (10, 2)}
        for n in range(26):
            shapes |= {f"n{n}.{part}": (2,) for part in ("running_mean", "running_var")}
            shapes |= {f"n{n}.{part}": (2,) for part in ("weight", "bias")}
    weights = dict_of({name: tensor(again(9), shape) for name, shape in shapes.items()})
    common = memoised(storage(items), 9)
    if not recipe:
        return zipped(common + weights, b"\x00\x00\xc0\x7f" + bytes(4 * items - 4))  # NaN
    zero, one = (b"G" + struct.pack(">d", value) for value in (0.0, 1.0))
    steps = tuple_of(text("flatten"), text(""), b")") + tuple_of(text("linear"), text("z"), b")")
    architecture = {
        "name": text("rebuilt"),
        "description": text("x"),
        "input": dict_of({"mean": zero, "std": one}),
        "steps": b"](" + steps + b"e",
    }
    content = {
        "format": text(FORMAT),
        "format_version": number(1),
        "architecture": dict_of(architecture),
        "details": b"}",
        "weights": weights,
    }
    return zipped(common + dict_of(content), b"\x00\x00\xc0\x7f" + bytes(4 * items - 4))


def a_bomb_as_format() -> bytes:
    """A list that spells 10^30 items."""
    nested = b"]" + b"".join(b"q%c(" % n + b"h%c" % n * 10 + b"l" for n in range(10, 40))
    return zipped(dict_of({"format": nested}))


def whole(**attributes: Any) -> bytes:
    """A whole pickled network whose convolution says something impossible of itself."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(676, 10))
    for name, value in attributes.items():
        place, _, attribute = name.partition("_")
        network[0 if place == "conv" else 1].__dict__[attribute] = value
    return saved(network)


def own_weights(dtype: torch.dtype) -> bytes:
    weights = DigitCNN().state_dict()
    return saved({k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()})


NORM = {"b.running_mean": torch.tensor(0.0), "b.running_var": torch.tensor(1.0)}
HOSTILE: dict[str, Callable[[], bytes]] = {
    "modules that share a state": modules_that_share_a_state,
    "modules that share attributes": modules_that_share_attributes,
    "tensors that share a storage": lambda: tensors_that_share_a_storage(False),
    "tensors that share a storage, with a recipe": lambda: tensors_that_share_a_storage(True),
    "a list bomb as format": a_bomb_as_format,
    "a deep list as format": lambda: zipped(
        dict_of({"format": b"]" * 30_000 + b"a" * 29_999})
    ),
    "a norm of one number": lambda: saved({"a.weight": torch.zeros(10, 784), **NORM}),
    "a name of a superscript": lambda: saved({"²": torch.zeros(10, 3), "x": torch.zeros(3, 784)}),
    "a place of a superscript": lambda: saved(
        {"1.weight": torch.zeros(4, 1, 3, 3), "a.b.²": torch.zeros(10, 4 * 169)}
    ),
    "a stride of zero": lambda: whole(conv_stride=(0, 0)),
    "an endless padding": lambda: whole(conv_padding=2**2000),
    "a pool of nothing": lambda: whole(pool_kernel_size=0, pool_stride=0),
    "an endless version": lambda: saved({"format": "digitcnn", "format_version": 10**600}),
    "complex weights of our network": lambda: own_weights(torch.complex64),
    "whole numbers as weights of our network": lambda: own_weights(torch.int8),
    "shapes beyond counting": lambda: zipped(
        dict_of({f"l{n}": tensor(storage(0), (2**30, 2**30)) for n in range(30)})
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_made_by_hand_is_refused_quickly_in_one_sentence(name: str) -> None:
    data = HOSTILE[name]()
    started = time.process_time()
    with pytest.raises(CheckpointError) as refusal:
        checkpoint.load(data, "x.pt")
    assert time.process_time() - started < 2
    sentence = str(refusal.value)
    assert sentence.isprintable()
    assert len(sentence) < 400


def test_a_type_that_weights_cannot_have_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"numbers of type complex64 in its tensor l\.weight"):
        checkpoint.load(saved({"l.weight": torch.zeros(10, 784, dtype=torch.complex64)}), "x.pt")


def test_strided_and_shared_tensors_are_read_as_pytorch_reads_them() -> None:
    base = torch.randn(30, 40)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        whole_storage = base.to(dtype)
        tensors = {
            "a": whole_storage.t(),
            "b": whole_storage[3:9, 5::7],
            "c": whole_storage[2:3].t(),
        }
        read = checkpoint.read_tensors(checkpoint.reader.read_content(saved(tensors)))
        for name, value in tensors.items():
            assert torch.equal(read[name], value)
            assert read[name].is_contiguous()


def spec(*shape: int) -> TensorSpec:
    numbers = int(torch.tensor(shape).prod())
    return TensorSpec(
        "float32", shape, contiguous_stride(shape), 0, Storage("float32", numbers, bytes)
    )


@pytest.mark.parametrize(("kernel", "side"), [(2, 29), (5, 31)])
def test_a_deep_network_that_fits_no_image_is_recognised_quickly(kernel: int, side: int) -> None:
    tensors = {f"c{n}": spec(4, 4 if n else 1, kernel, kernel) for n in range(29)}
    state = StateDict("", {**tensors, "l": spec(10, 4 * side * side)})
    started = time.process_time()
    geometries(stack_of(state), state, 24)
    assert time.process_time() - started < 2


def test_cheap_layers_on_huge_maps_are_too_much_work() -> None:
    shapes = {"c.weight": (1200, 1, 1, 1), "l.weight": (10, 1200)}
    ends = (Step("adaptive_avg", "", (1,)), Step("flatten"), Step("linear", "l"))
    convolution = Step("conv", "c", (1, 0, 1, 1))

    def check(activations: int) -> None:
        steps = (convolution, *[Step("activation", "gelu")] * activations, *ends)
        Recipe(InputForm(), steps).check(shapes)

    check(2)
    with pytest.raises(ValueError, match="too much work"):
        check(60)


def test_a_search_that_takes_too_long_ends() -> None:
    state = StateDict("", {"l.weight": spec(10, 784)})
    stack = stack_of(state)
    guess = Choices(stack, Facts(), geometries(stack, state, 1)).start(
        geometries(stack, state, 1)[0]
    )
    images, labels = torch.zeros(8, 28, 28), torch.zeros(8, dtype=torch.long)
    tensors = {"l.weight": torch.zeros(10, 784)}
    assert Scorer(stack, tensors, images, labels).scores([guess], 8)
    with pytest.raises(CheckpointError, match="too long"):
        Scorer(stack, tensors, images, labels, work=1e6).best([guess], 8, 1)
