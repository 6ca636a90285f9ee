"""Hostile ONNX models are refused in one sentence, before or by the limits of their process."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper
from sample_onnx import (
    FLOAT,
    like_the_model_zoo,
    model,
    reshaping,
    saved,
    training_digits,
)

from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import load
from digitcnn.network.onnx_models.checks import checked
from digitcnn.network.onnx_models.layouts import Layout
from digitcnn.network.onnx_models.processes import Limits, Program, Workers
from digitcnn.network.onnx_models.wire import MAX_FIELDS, is_onnx
from digitcnn.network.reader import InvalidCheckpoint

make = helper.make_node
INT64 = TensorProto.INT64


# --- files that are never started ---------------------------------------------------------------


def changed(change: Callable[[Any], None]) -> bytes:
    """The model zoo's form, changed."""
    value = like_the_model_zoo()
    change(value)
    return saved(value)


def external(value: Any) -> None:
    tensor = value.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def external_in_a_constant(value: Any) -> None:
    node = make("Constant", [], ["k"], value=helper.make_tensor("t", FLOAT, [1], [0.0]))
    node.attribute[0].t.external_data.add(key="location", value="/etc/passwd")
    value.graph.node.append(node)


def branch(*nodes: Any) -> Any:
    return helper.make_graph(
        list(nodes), "branch", [], [helper.make_tensor_value_info("b", FLOAT, None)]
    )


def nested(levels: int) -> Any:
    """An If in an If in an If."""
    graph = branch(make("Identity", ["images"], ["b"]))
    for _ in range(levels):
        graph = branch(make("If", ["yes"], ["b"], then_branch=graph, else_branch=graph))
    return make("If", ["yes"], ["b"], then_branch=graph, else_branch=graph)


def add(node: Any) -> Callable[[Any], None]:
    return lambda value: value.graph.node.append(node)


def with_function(value: Any) -> None:
    value.functions.append(
        helper.make_function("local", "F", ["x"], ["y"], [make("Relu", ["x"], ["y"])], [])
    )


def lying_initialiser(value: Any) -> None:
    value.graph.initializer[0].dims[:] = [100_000, 100_000]


def texts(value: Any) -> None:
    value.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING


def whole_numbers(value: Any) -> None:
    value.graph.output[0].type.tensor_type.elem_type = INT64


def two_inputs(value: Any) -> None:
    value.graph.input.append(helper.make_tensor_value_info("more", FLOAT, [1]))


def colour(value: Any) -> None:
    value.graph.input[0].CopyFrom(helper.make_tensor_value_info("Input3", FLOAT, [1, 3, 224, 224]))


def bomb(count: int) -> bytes:
    """Two bytes for each node: objects of hundreds of bytes in a parser."""
    nodes = b"\x0a\x00" * count
    size = len(nodes)
    length = bytearray()
    while size >= 128:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return b"\x08\x08\x3a" + bytes(length) + nodes


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "external weights": (lambda: changed(external), "in another file"),
    "external constant": (lambda: changed(external_in_a_constant), "in another file"),
    "custom domain": (
        lambda: changed(add(make("Evil", [], ["k"], domain="com.example"))),
        "operator Evil of com.example",
    ),
    "runtime's own domain": (
        lambda: changed(add(make("FusedConv", [], ["k"], domain="com.microsoft"))),
        "operator FusedConv of com.microsoft",
    ),
    "loop": (
        lambda: changed(add(make("Loop", ["", ""], ["k"], body=branch()))),
        "the operator Loop",
    ),
    "loop in a branch": (
        lambda: changed(
            add(
                make(
                    "If", ["yes"], ["b"], else_branch=branch(),
                    then_branch=branch(make("Scan", ["x"], ["b"], body=branch())),
                )
            )
        ),
        "the operator Scan",
    ),
    "graph where none belongs": (
        lambda: changed(add(make("Relu", ["r"], ["k"], body=branch()))),
        "a graph inside Relu",
    ),
    "random numbers": (
        lambda: changed(add(make("RandomNormal", [], ["k"], shape=[1]))),
        "the operator RandomNormal",
    ),
    "unknown size": (
        lambda: changed(add(make("NonZero", ["r"], ["k"]))),
        "the operator NonZero",
    ),
    "deep branches": (lambda: changed(add(nested(5))), "nested too deeply"),
    "deeper branches": (lambda: changed(add(nested(9))), "nested too deeply"),
    "functions": (lambda: changed(with_function), "functions of its own"),
    "lying initialiser": (lambda: changed(lying_initialiser), "100000x100000 numbers"),
    "texts": (lambda: changed(texts), "gives texts"),
    "whole numbers": (lambda: changed(whole_numbers), "gives int64 instead of ten scores"),
    "two inputs": (lambda: changed(two_inputs), "with 2 inputs"),
    "photographs": (lambda: changed(colour), "takes 1x3x224x224 numbers"),
    "future operators": (
        lambda: changed(lambda value: value.opset_import[0].__setattr__("version", 999)),
        "operator set 999",
    ),
    "truncated": (lambda: changed(lambda _: None)[:-100], "truncated or damaged"),
    "wrong contents": (lambda: b"\x08\x08\x3a\x04\x0a\x02\x0a\xff", "damaged"),
    "many empty nodes": (lambda: bomb(MAX_FIELDS + 1), "far more parts"),
    "millions of empty nodes": (lambda: bomb(30_000_000), "far more parts"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_operators_that_no_classifier_needs_are_refused_before_a_process_starts(name: str) -> None:
    build, reason = REFUSED[name]
    data = build()
    begun = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        load(data, "x.onnx", digits=training_digits)
    said = str(caught.value)
    assert reason in said
    assert said.startswith("x.onnx ")
    assert said.endswith(".")
    assert "\n" not in said
    assert time.process_time() - begun < 2


def test_damage_anywhere_never_ends_in_another_error() -> None:
    data = changed(lambda _: None)
    for place in [*range(0, 200), *range(200, len(data), 97)]:
        for byte in (0, 255, data[place] ^ 1):
            damaged = data[:place] + bytes([byte]) + data[place + 1 :]
            if is_onnx(damaged):
                with contextlib.suppress(InvalidCheckpoint):
                    checked(damaged)


# --- models that are started in a process with limits -------------------------------------------


def growing(*nodes: Any, **weights: np.ndarray) -> bytes:
    """A model that computes a ``k`` besides its logits, which a wrong size of k ends up in."""
    value = reshaping(("N", 784))
    value.graph.node.extend([*nodes, make("ReduceMax", ["k"], ["top"], keepdims=0)])
    value.graph.node.append(make("Add", ["logits", "top"], ["sum"]))
    value.graph.initializer.extend(
        helper.make_tensor(name, INT64, array.shape, array) for name, array in weights.items()
    )
    value.graph.output[0].name = "sum"
    return saved(value)


def doubling() -> bytes:
    nodes = [make("Concat", ["flat", "flat"], ["d0"], axis=1)]
    nodes += [make("Concat", [f"d{n}", f"d{n}"], [f"d{n + 1}"], axis=1) for n in range(30)]
    return growing(*nodes, make("Identity", ["d30"], ["k"]))


def big(*sides: int) -> np.ndarray:
    return np.array(sides)


STARTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "expand": (
        lambda: growing(make("Expand", ["fc.b", "s"], ["k"]), s=big(100_000, 100_000, 10)),
        "in its operator Expand",
    ),
    "tile": (
        lambda: growing(make("Tile", ["fc.b", "s"], ["k"]), s=big(10**9)),
        "in its operator Tile",
    ),
    "constant of shape": (
        lambda: growing(make("ConstantOfShape", ["s"], ["k"]), s=big(10**5, 10**5)),
        "in its operator ConstantOfShape",
    ),
    "pad": (
        lambda: growing(make("Pad", ["fc.b", "s"], ["k"]), s=big(10**9, 10**9)),
        "in its operator Pad",
    ),
    "doubling": (doubling, "in its operator Concat"),
    "computed size": (
        lambda: growing(
            make("Cast", ["fc.b"], ["s"], to=INT64), make("ConstantOfShape", ["s"], ["k"])
        ),
        "computes the output size of its operator ConstantOfShape",
    ),
    "NaN": (
        lambda: growing(make("Sub", ["fc.b", "fc.b"], ["z"]), make("Div", ["z", "z"], ["k"])),
        "gives NaN or infinite numbers",
    ),
    "too few numbers": (
        lambda: saved(model([make("ReduceMax", ["images"], ["m"])], {}, output=("m", FLOAT, None))),
        "where ten scores are expected",
    ),
    "no operands": (
        lambda: growing(make("Identity", ["nothing"], ["k"])),
        "cannot be run by ONNX Runtime",
    ),
    "guesses": (
        lambda: saved(
            model(
                [make("MatMul", ["images", "w"], ["logits"])],
                {"w": np.random.default_rng(0).normal(size=(784, 10)).astype("float32")},
                ("N", 784),
            )
        ),
        "so it is not a digit classifier",
    ),
}


@pytest.mark.parametrize("name", STARTED)
def test_a_model_that_takes_too_much_or_gives_nonsense_is_refused(name: str) -> None:
    build, reason = STARTED[name]
    with pytest.raises(CheckpointError) as caught:
        load(build(), "x.onnx", digits=training_digits)
    said = str(caught.value)
    assert reason in said
    assert said.endswith(".")
    assert "\n" not in said


def program(data: bytes) -> Program:
    return Program(checked(data), Layout(0, (784,), 28))


IMAGES = np.zeros((2, 784), "float32")


def test_a_model_that_needs_more_memory_than_allowed_is_ended() -> None:
    """Within what the shapes allow: the limit of the process is another guard."""
    hog = growing(make("Expand", ["fc.b", "s"], ["k"]), s=big(90_000, 10))
    plain = program(saved(reshaping(("N", 784))))
    workers = Workers(limits=Limits(memory=30_000_000))
    assert workers.run(plain, IMAGES, 1, "logits").shape == (2, 10)
    with pytest.raises(InvalidCheckpoint, match=r"needed more memory|ended the process"):
        Workers(limits=Limits(memory=4_000_000)).run(program(hog), IMAGES, 1, "sum")


@pytest.mark.long
def test_a_model_that_computes_for_too_long_is_ended() -> None:
    steps = [make("Softmax", [f"s{n}"], [f"s{n + 1}"]) for n in range(8)]
    slow = growing(
        make("Expand", ["fc.b", "s"], ["wide"]),
        make("Add", ["wide", "logits"], ["s0"]),
        *steps,
        make("Identity", ["s8"], ["k"]),
        s=big(90_000, 10),
    )
    workers = Workers(limits=Limits(processor=1))
    with pytest.raises(InvalidCheckpoint, match="needed more than 1 s of CPU time"):
        workers.run(program(slow), np.zeros((400, 784), "float32"), 1, "sum")
    assert workers.count() == 0


def fake(folder: Path, source: str, **limits: Any) -> Workers:
    """Workers whose process runs ``source``, with its pipe as ``s``, instead of a model."""
    script = folder / "worker.py"
    script.write_text(
        "import os, sys, time\n"
        "from multiprocessing.connection import Connection\n"
        f"s = Connection(int(sys.argv[1]))\n{source}"
    )
    return Workers(limits=Limits(**limits), command=(sys.executable, str(script)))


LOADED = """s.send_bytes(b'{"cost": 1}')\ns.send_bytes(b'')\n"""
SLEEP = "time.sleep(600)"
FAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "never loads": (SLEEP, {"start": 0.5}, "gave no answer within 0 s"),
    "never answers": (LOADED + SLEEP, {"wall": 0.5}, "gave no answer within 0 s"),
    "half an answer": (
        LOADED + "os.write(s.fileno(), b'\\0\\0\\0\\x99{')\n" + SLEEP, {"wall": 0.5},
        "gave no answer within 0 s",
    ),
    "a long answer": (
        "s.send_bytes(b'{}' * 90_000)\n" + SLEEP, {"start": 30.0}, "unreadable",
    ),
    "a terabyte": (
        "os.write(s.fileno(), (-1).to_bytes(4, 'big', signed=True) + (10**12).to_bytes(8, 'big'))\n"
        + SLEEP, {"start": 30.0}, "unreadable",
    ),
    "no object": ("s.send_bytes(b'7')\ns.send_bytes(b'')\n" + SLEEP, {}, "unreadable"),
    "unlimited memory": ("sys.exit(3)", {}, "does not let digitcnn limit the memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAKES)
def test_a_process_that_sleeps_or_babbles_is_ended(name: str, tmp_path: Path) -> None:
    source, limits, reason = FAKES[name]
    workers = fake(tmp_path, source, **limits)
    with pytest.raises(InvalidCheckpoint, match=reason):
        workers.run(program(saved(reshaping(("N", 784)))), IMAGES, 1, "logits")
    assert workers.count() == 0


def test_nan_for_some_images_is_an_error_when_they_are_classified() -> None:
    """The model divides 0 by 0 for blank images only."""
    value = reshaping(("N", 784))
    value.graph.node.extend(
        [
            make("Add", ["images", "one"], ["ink"]),
            make("ReduceMax", ["ink"], ["most"], axes=[1], keepdims=1),
            make("Div", ["most", "most"], ["k"]),
            make("Add", ["logits", "k"], ["sum"]),
        ]
    )
    value.graph.initializer.append(helper.make_tensor("one", FLOAT, [1], [1.0]))
    value.graph.output[0].name = "sum"
    classifier = load(saved(value), "x.onnx", digits=training_digits).classifier
    images = training_digits().images[:3].clone()
    assert bool(classifier.logits(images).isfinite().all())
    images[1] = 0
    with pytest.raises(CheckpointError, match="NaN or infinite numbers for some images"):
        classifier.logits(images)


def test_at_most_two_processes_live_at_once_and_models_take_turns() -> None:
    workers = Workers(limits=Limits())
    data = saved(reshaping(("N", 784)))
    programs = [program(data) for _ in range(3)]
    for each in (*programs, programs[0]):
        assert workers.run(each, IMAGES, 1, "logits").shape == (2, 10)
        assert workers.count() <= 2
    assert workers.count() == 2
    del programs, each
    assert workers.count() == 0


def test_threads_that_ask_several_models_at_once_start_no_more_than_two_processes() -> None:
    workers = Workers()
    data = saved(reshaping(("N", 784)))
    programs = [program(data) for _ in range(3)]
    expected = workers.run(programs[0], IMAGES, 1, "logits")

    def ask(number: int) -> int:
        answer = workers.run(programs[number], IMAGES, 1, "logits")
        assert np.array_equal(answer, expected)
        return workers.count()

    with ThreadPoolExecutor(6) as threads:
        assert max(threads.map(ask, [0, 1, 2, 2, 1, 0, 0, 1, 2])) <= 2
    assert workers.count() == 2


def test_a_process_knows_no_secrets_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITCNN_OWNER_TOKEN", "a secret")
    script, seen = tmp_path / "worker.py", tmp_path / "seen"
    script.write_text(f"import os\nopen({str(seen)!r}, 'w').write(repr(dict(os.environ)))")
    with pytest.raises(InvalidCheckpoint):
        Workers(command=(sys.executable, str(script))).cost(program(saved(reshaping(("N", 784)))))
    assert "PATH" in seen.read_text()
    assert "secret" not in seen.read_text()
