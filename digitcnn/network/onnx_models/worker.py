"""Runs one ONNX model in a process of its own, with limits on memory and processor time.

Started by ``processes`` as a script, with the number of a pipe and the limits as arguments. It
imports nothing of digitcnn, whose packages would take a second. Each request and each answer is a
message of JSON and one of plain bytes:

    load  the model's bytes behind those of its outline -> {"cost": of one image}
    run   images -> float32 numbers, the same count for each image
    anything that fails -> {"error": a word, "detail": a text}

Without a request for a while, or when the other side is gone, the process ends.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import resource
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

IDLE_SECONDS = 120.0

# Per image: numbers in one value, in all of them together, and multiplications. Like a recipe's.
MAX_VALUE = 1_000_000
MAX_VALUES = 12_000_000
MAX_WORK = 400_000_000
# Operators whose outputs may be of any size, whatever their inputs have: it has to be known.
_GROWING = {
    "ConstantOfShape", "Expand", "Pad", "Resize", "Tile", "Upsample", "Gather", "Concat", "Where",
}  # fmt: skip


class Refused(Exception):
    """A model that takes too much. error: a word for the other side; the text has details."""

    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(detail)
        self.error = error


def main() -> None:
    """Answer requests until the connection ends."""
    number, memory, seconds = map(int, sys.argv[1:4])
    # Not even by a bug in a library may a model write files or leave a core dump.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    connection = Connection(number)
    try:
        model = Model()
    except ImportError:
        sys.exit(MISSING)
    limit_memory(memory)
    while connection.poll(IDLE_SECONDS):
        request = json.loads(connection.recv_bytes())
        body = connection.recv_bytes()
        limit_time(seconds)
        try:
            answer, content = getattr(model, request["do"])(request, body)
        except Refused as error:
            answer, content = {"error": error.error, "detail": str(error)}, b""
        except MemoryError:
            answer, content = {"error": "memory"}, b""
        except Exception as error:
            text = str(error)
            word = "memory" if "bad_alloc" in text or "allocate memory" in text else "failed"
            answer, content = {"error": word, "detail": text[:300]}, b""
        connection.send_bytes(json.dumps(answer).encode())
        connection.send_bytes(content)


def limit_memory(allowance: int) -> None:
    """Let this process take so many more bytes. Ends it where the system does not enforce that."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - no further import before the limit
            base = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        base = 0
    resource.setrlimit(resource.RLIMIT_AS, (base + allowance, resource.RLIM_INFINITY))
    try:
        mmap.mmap(-1, base + allowance).close()
    except (OSError, MemoryError):
        return
    sys.exit(UNLIMITED)


# The exit status of a worker without its packages, and of one whose memory cannot be limited.
MISSING, UNLIMITED = 4, 3


def limit_time(seconds: int) -> None:
    """Let this process take so many more seconds of a processor."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


class Model:
    """The model, once it is loaded."""

    def __init__(self) -> None:
        # Imported before memory is limited: what they take is not the model's.
        import numpy as np
        import onnx
        import onnx.shape_inference
        import onnxruntime

        self._numpy, self._onnx, self._runtime = np, onnx, onnxruntime
        self._session: Any = None

    def load(self, request: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """Bound what the model takes, then give it to the runtime.

        request: ``outline``, the bytes of the outline; ``input``, the input's name, and ``shape``,
        with ``images`` of which the shape is one input.
        """
        split = request["outline"]
        cost = self._bound(body[:split], request)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = 4
        self._session = self._runtime.InferenceSession(
            body[split:], options, providers=["CPUExecutionProvider"]
        )
        return {"cost": cost}, b""

    def run(self, request: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """Run the model on each batch of images.

        request: ``input``, ``dtype``, ``shape`` of all images, ``output``, a name, and ``batch``,
        images at once; 0 for each without a batch axis.
        """
        np, batch = self._numpy, request["batch"]
        images = np.frombuffer(body, "<f4").reshape(request["shape"]).astype(request["dtype"])
        results = []
        for start in range(0, len(images), batch or 1):
            part = images[start : start + (batch or 1)]
            n = len(part)
            if n < batch:
                part = np.concatenate(
                    [part, np.zeros_like(part, shape=(batch - n, *part.shape[1:]))]
                )
            (result,) = self._session.run(
                [request["output"]], {request["input"]: part if batch else part[0]}
            )
            result = np.asarray(result)
            shape = "x".join(map(str, result.shape))
            if result.dtype.kind != "f":
                raise Refused("outputs", f"{result.dtype} numbers")
            if result.size != 10 * max(1, batch) or (batch > 1 and result.shape[0] != batch):
                raise Refused("outputs", f"{shape} numbers" if shape else "a single number")
            results.append(result.reshape(-1, 10)[:n].astype("<f4"))
        return {}, np.concatenate(results).tobytes()

    def _bound(self, outline: bytes, request: dict[str, Any]) -> int:
        """Return what one image costs, about in multiplications. Raises Refused for too much."""
        model = self._onnx.ModelProto.FromString(outline)
        for value in model.graph.input:
            if value.name == request["input"]:
                shape = value.type.tensor_type.shape
                shape.ClearField("dim")
                for side in request["shape"]:
                    shape.dim.add(dim_value=side)
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        inferred = self._onnx.shape_inference.infer_shapes(model, data_prop=True)
        largest, in_all, work = 1, 0, 0
        for node, numbers, multiplications in _sizes(inferred.graph):
            if numbers is None:
                if node.op_type in _GROWING:
                    raise Refused("unknown", node.op_type)
                continue
            largest = max(largest, numbers // request["images"])
            in_all += numbers // request["images"]
            work += multiplications // request["images"]
            if largest > MAX_VALUE or in_all > MAX_VALUES or work > MAX_WORK:
                raise Refused("large", node.op_type)
        return work + 30 * in_all


def _sizes(graph: Any) -> Iterator[tuple[Any, int | None, int]]:
    """Yield each node of a graph and its branches, with its outputs' numbers and its work.

    The numbers are None where a shape is not known. The work is in multiplications.
    """
    shapes: dict[str, list[int] | None] = {
        tensor.name: list(tensor.dims) for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = _shape(value)
    for node in graph.node:
        outputs = [shapes.get(name) for name in node.output if name]
        known = [shape for shape in outputs if shape is not None]
        numbers = sum(map(math.prod, known)) if len(known) == len(outputs) else None
        inputs = [shapes.get(name) for name in node.input]
        yield node, numbers, _work(node, numbers or 0, inputs)
        for attribute in node.attribute:
            for branch in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _sizes(branch)


def _shape(value: Any) -> list[int] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    sides = [side.dim_value for side in tensor.shape.dim if side.HasField("dim_value")]
    return sides if len(sides) == len(tensor.shape.dim) else None


def _work(node: Any, numbers: int, inputs: list[list[int] | None]) -> int:
    """Multiplications for so many output numbers, as far as the inputs' shapes are known."""
    operator = node.op_type
    if "Conv" in operator and len(inputs) > 1:
        weight = inputs[3] if operator == "QLinearConv" and len(inputs) > 3 else inputs[1]
        return numbers * math.prod(weight[1:]) if weight else numbers
    if ("MatMul" in operator or operator == "Gemm") and inputs and inputs[0]:
        return numbers * max(inputs[0][-2:])
    if operator in ("LSTM", "GRU", "RNN") and len(inputs) > 2 and inputs[1] and inputs[2]:
        return (math.prod(inputs[1]) + math.prod(inputs[2])) * (inputs[0] or [1])[0]
    for attribute in node.attribute:
        if attribute.name == "kernel_shape":  # of a pooling
            return numbers * int(math.prod(attribute.ints))
        if operator == "LRN" and attribute.name == "size":
            return numbers * max(1, int(attribute.i))
    return numbers


if __name__ == "__main__":
    # Its folder has modules of digitcnn, none of which is meant by any import here.
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as for the limit
    sys.path = [path for path in sys.path if path != here]
    with contextlib.suppress(EOFError, ConnectionError):
        main()
