"""Check an ONNX model before anything runs it, and rewrite it with only what was checked.

Allowed are the operators that classifiers of images are made of, without loops, random numbers and
external files. ``worker`` bounds what their outputs and the whole model take.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from digitcnn.network.onnx_models.wire import check_fields
from digitcnn.network.reader import InvalidCheckpoint, shown
from digitcnn.network.reader.tensors import MAX_DIMENSIONS, MAX_NUMBERS, MAX_SIZE

MAX_NODES = 2000
MAX_SUBGRAPHS = 4  # levels
MAX_OUTPUTS = 20
IR_VERSION = 10  # any from 4 on: initialisers need not be inputs
# Larger tensors are left out of the outline: shapes do not depend on them.
_OUTLINED = 1000

_OPERATORS = """
    Abs Add And ArgMax AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant
    ConstantOfShape Conv ConvInteger DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear
    Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm GlobalAveragePool GlobalMaxPool
    Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity If
    InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish
    Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RNN Reciprocal ReduceL1
    ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round Selu
    Shape Sigmoid Sign Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
    Tanh ThresholdedRelu Tile Transpose Unsqueeze Upsample Where
"""
OPERATORS = frozenset(_OPERATORS.split())
# NumPy's names of the number types that are read. Texts, complex and packed numbers are not.
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64",
}  # fmt: skip
# What to do about operators that are not ONNX's own.
_OTHER_DOMAINS = {
    "ai.onnx.ml": "choose scikit-learn's model itself, saved with joblib.dump",
    "com.microsoft": "export the network again without ONNX Runtime's optimisations, quantised in "
    "the QDQ format if at all",
}
PACKAGES_MISSING = (
    "is an ONNX model, which needs the packages onnx and onnxruntime; install them with: "
    "pip install -e '.[onnx]'"
)
# Attributes that are graphs; no other operator may have one.
_BRANCHES = {"then_branch", "else_branch"}


@dataclass(frozen=True)
class Value:
    """An input or output as the file declares it.

    dtype: NumPy's name. shape: None for an unknown side; None altogether for an unknown rank.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """An ONNX model that may be run.

    content: the rewritten file. outline: the same without its weights, to infer shapes from.
    input: the images. outputs: those of floating-point numbers.
    parameters: numbers in its weights. operators: how often each occurs.
    """

    content: bytes
    outline: bytes
    input: Value
    outputs: list[Value]
    parameters: int
    operators: dict[str, int]


def checked(data: bytes) -> CheckedModel:
    """Check a file. Raises InvalidCheckpoint, saying what it has that is not allowed.

    Needs the package onnx.
    """
    try:
        check_fields(data)
        onnx = _package()
        model = onnx.ModelProto()
        model.ParseFromString(data)
        return _Check(onnx).model(model)
    except InvalidCheckpoint:
        raise
    except Exception as error:
        raise InvalidCheckpoint("is a damaged ONNX model; copy or download it again") from error


def _package() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise InvalidCheckpoint(PACKAGES_MISSING) from error
    module: ModuleType = onnx
    return module


def _dtype(number: int) -> np.dtype[Any] | None:
    return np.dtype(_DTYPES[number]) if number in _DTYPES else None


class _Check:
    """Walks a parsed model, and removes from it what nothing needs."""

    def __init__(self, onnx: ModuleType) -> None:
        self._onnx = onnx
        self._operators: dict[str, int] = {}
        self._numbers = self._bytes = self._nodes = 0

    def model(self, model: Any) -> CheckedModel:
        model.DiscardUnknownFields()
        version = self._version(model)
        graph = model.graph
        self._graph(graph, 0)
        clean = self._onnx.ModelProto()
        clean.ir_version = IR_VERSION
        clean.opset_import.add(domain="", version=version)
        weights = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in weights]
        if len(inputs) != 1:
            raise InvalidCheckpoint(
                f"is an ONNX model with {len(inputs)} inputs, but a digit classifier has one, the "
                "image; choose another file"
            )
        source = self._value(inputs[0], "takes")
        outputs = [self._value(value, "gives") for value in graph.output[:MAX_OUTPUTS]]
        floats = [value for value in outputs if value.dtype.startswith("float")]
        if not floats:
            kinds = ", ".join(dict.fromkeys(value.dtype for value in outputs)) or "nothing"
            raise InvalidCheckpoint(
                f"is an ONNX model that gives {kinds} instead of ten scores; export the network "
                "without the step that picks the class"
            )
        del graph.input[:]
        graph.input.add().CopyFrom(inputs[0])
        clean.graph.CopyFrom(graph)
        content = clean.SerializeToString()
        self._leave_weights_out(clean.graph)
        return CheckedModel(
            content, clean.SerializeToString(), source, floats, self._numbers, self._operators
        )

    def _version(self, model: Any) -> int:
        """The version of the standard operators that the model uses."""
        versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
        newest = self._onnx.defs.onnx_opset_version()
        if not versions or not 1 <= versions[0] <= newest:
            number = versions[0] if versions else "none"
            raise InvalidCheckpoint(
                f"is an ONNX model that uses operator set {number}, but the installed package onnx "
                f"reads 1 to {newest}; export it with one of these"
            )
        return int(versions[0])

    def _graph(self, graph: Any, level: int) -> None:
        if level > MAX_SUBGRAPHS:
            raise InvalidCheckpoint("is an ONNX model nested too deeply; choose another file")
        for part in ("doc_string", "value_info", "quantization_annotation", "metadata_props"):
            graph.ClearField(part)
        self._nodes += len(graph.node)
        if self._nodes > MAX_NODES:
            raise InvalidCheckpoint(
                f"is an ONNX model with more than {MAX_NODES} operations, so it is not a small "
                "digit classifier; choose another file"
            )
        for tensor in graph.initializer:
            self._tensor(tensor)
        for node in graph.node:
            self._node(node, level)

    def _node(self, node: Any, level: int) -> None:
        if node.domain not in ("", "ai.onnx"):
            what = _OTHER_DOMAINS.get(
                node.domain, "export the network with standard operators only"
            )
            raise InvalidCheckpoint(
                f"is an ONNX model with the operator {shown(node.op_type, 40)} of "
                f"{shown(node.domain, 40)}, which digitcnn does not run; {what}"
            )
        if node.op_type not in OPERATORS:
            raise InvalidCheckpoint(
                f"is an ONNX model with the operator {shown(node.op_type, 40)}, which digit "
                "classifiers do not need and digitcnn does not run; export a plain network"
            )
        self._operators[node.op_type] = self._operators.get(node.op_type, 0) + 1
        for part in ("doc_string", "metadata_props", "overload", "domain"):
            node.ClearField(part)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            if attribute.ref_attr_name or attribute.HasField("tp") or attribute.type_protos:
                raise InvalidCheckpoint(
                    "is an ONNX model with attributes of an unusual kind; export a plain network"
                )
            for tensor in (attribute.t, *attribute.tensors):
                if tensor.data_type or tensor.ByteSize():
                    self._tensor(tensor)
            graphs = [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
            if graphs and not (node.op_type == "If" and attribute.name in _BRANCHES):
                raise InvalidCheckpoint(
                    f"is an ONNX model with a graph inside {shown(node.op_type, 40)}; export a "
                    "plain network"
                )
            for graph in graphs:
                self._graph(graph, level + 1)

    def _tensor(self, tensor: Any) -> None:
        """Check that a tensor's numbers are in the file, as many as its shape says."""
        name = shown(tensor.name) or "of a constant"
        if tensor.data_location or tensor.external_data:
            raise InvalidCheckpoint(
                f"is an ONNX model that keeps its tensor {name} in another file; export it with "
                "external_data=False, or load both with onnx.load and save them with onnx.save"
            )
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
        dtype = _dtype(tensor.data_type)
        numbers = math.prod(tensor.dims)
        fits = len(tensor.dims) <= MAX_DIMENSIONS and all(side >= 0 for side in tensor.dims)
        if dtype is None or tensor.HasField("segment") or not fits:
            raise InvalidCheckpoint(
                f"is an ONNX model with an unusual tensor {name}; save its weights as float32"
            )
        typed = (
            tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data,
            tensor.uint64_data, tensor.string_data,
        )  # fmt: skip
        stored = max(map(len, typed))
        if tensor.HasField("raw_data"):
            stored = 0 if stored else len(tensor.raw_data) // dtype.itemsize
            if len(tensor.raw_data) % dtype.itemsize:
                stored = -1
        if stored != numbers:
            raise InvalidCheckpoint(
                f"declares {shown('x'.join(map(str, tensor.dims)), 60) or 1} numbers for its "
                f"tensor {name}, but stores {max(stored, 0)}; copy or download it again"
            )
        self._bytes += numbers * dtype.itemsize
        self._numbers += numbers * (dtype.kind == "f" or dtype.itemsize == 1)
        if self._numbers > MAX_NUMBERS or self._bytes > MAX_SIZE:
            raise InvalidCheckpoint(
                f"has more than {MAX_NUMBERS / 1e6:.0f} million weights, but digit classifiers "
                "have about one million; choose another file"
            )

    def _value(self, value: Any, verb: str) -> Value:
        if not isinstance(value.name, str):  # bytes that are no text
            raise ValueError
        kind = value.type.WhichOneof("value")
        dtype = _dtype(value.type.tensor_type.elem_type) if kind == "tensor_type" else None
        if dtype is None and (verb == "takes" or kind == "tensor_type"):
            what = (kind or "nothing").removesuffix("_type").replace("tensor", "texts")
            raise InvalidCheckpoint(
                f"is an ONNX model that {verb} {what} where a digit classifier {verb} numbers; "
                "choose another file"
            )
        if dtype is None:
            return Value(value.name, (kind or "nothing").removesuffix("_type"), None)
        tensor = value.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(
                side.dim_value if side.WhichOneof("value") == "dim_value" else None
                for side in tensor.shape.dim
            )
        return Value(value.name, str(dtype), shape)

    def _leave_weights_out(self, graph: Any) -> None:
        """Turn large weights into inputs of the same shape: shapes can be inferred without them."""
        kept = []
        for tensor in graph.initializer:
            if math.prod(tensor.dims) <= _OUTLINED:
                kept.append(tensor)
            else:
                graph.input.add().CopyFrom(
                    self._onnx.helper.make_tensor_value_info(
                        tensor.name, tensor.data_type, list(tensor.dims)
                    )
                )
        small = [self._onnx.TensorProto.FromString(each.SerializeToString()) for each in kept]
        del graph.initializer[:]
        graph.initializer.extend(small)
