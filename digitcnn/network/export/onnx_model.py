"""Export a checkpoint as an ONNX model, for other programs.

    images         float32 [N, 28, 28], 0 (paper) to 255 (ink), any N; upright, in MNIST framing
    logits         float32 [N, 10]
    probabilities  float32 [N, 10]: softmax of the logits divided by the checkpoint's temperature

The model includes input scaling and temperature, so callers need to know neither. The graph is
written node by node: it has a dozen or two, for which PyTorch's exporter would need another package
and several seconds. Before the file is written, the predictions of ONNX Runtime and PyTorch for
``CHECKED_IMAGES`` images are compared.

Needs the extra ``onnx`` (the packages onnx and onnxruntime).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from digitcnn import __version__
from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.errors import ExportError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.export import folded_weights
from digitcnn.network.model import Conv, Linear, MaxPool, Network

# From 2022 and 2021, so that every current runtime reads them.
OPSET, IR_VERSION = 17, 8

CHECKED_IMAGES = 10_000
# Logits may differ by rounding in float32. Those of our recipe are about 10, so 1e-4 is far above
# it; for larger logits the tolerance is a share of the largest.
TOLERANCE, RELATIVE_TOLERANCE = 1e-4, 1e-5
# Channels last, PyTorch's own convolutions and poolings take half the time on a CPU.
_BATCH, _LAYOUT = 100, torch.channels_last


@dataclass(frozen=True)
class Agreement:
    """How far the predictions of ONNX Runtime and PyTorch agree.

    images: how many were compared. disagreements: how many of them got different digits.
    largest_difference: between two logits. largest_logit: the largest magnitude, for comparison.
    """

    images: int
    disagreements: int
    largest_difference: float
    largest_logit: float

    @property
    def holds(self) -> bool:
        """Whether every digit is the same and every logit within the tolerance."""
        tolerance = max(TOLERANCE, RELATIVE_TOLERANCE * self.largest_logit)
        # A NaN is within nothing.
        return self.disagreements == 0 and self.largest_difference <= tolerance


def to_onnx(checkpoint: Checkpoint) -> bytes:
    """Return the ONNX model as a file's bytes. Raises ExportError without the package onnx."""
    onnx, _ = _packages()
    helper = onnx.helper
    network = checkpoint.network
    constants = {
        "input.mean": torch.tensor(255 * network.input_mean),
        "input.std": torch.tensor(255 * network.input_std),
        "channel.axis": torch.tensor([1]),
        "temperature": torch.tensor(checkpoint.temperature),
    }
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", SIDE, SIDE])
    outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", CLASSES])
        for name in ("logits", "probabilities")
    ]
    graph = helper.make_graph(
        _nodes(helper, type(network)),
        "digitcnn",
        [images],
        outputs,
        [
            onnx.numpy_helper.from_array(tensor.numpy(), name)
            for name, tensor in {**constants, **folded_weights(network)}.items()
        ],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="digitcnn",
        producer_version=__version__,
        doc_string="images: float32 [N, 28, 28], 0 (paper) to 255 (ink), in MNIST framing.",
    )
    helper.set_model_props(
        model,
        {
            "name": checkpoint.name,
            "digest": checkpoint.digest,
            "training": checkpoint.details.claim(),
            "temperature": str(
                checkpoint.temperature if checkpoint.calibrated else "not calibrated"
            ),
        },
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def check(content: bytes, checkpoint: Checkpoint, images: Tensor) -> Agreement:
    """Compare ONNX Runtime with PyTorch on ``images`` [N, 28, 28], 0 to 255, on the CPU.

    Raises ExportError when they do not agree, or without the package onnxruntime.
    """
    _, onnxruntime = _packages()
    session = _session(onnxruntime, content)
    network = checkpoint.network
    batches = images.split(_BATCH)
    outputs = [session.run(["logits"], {"images": batch.float().numpy()}) for batch in batches]
    exported = torch.cat([torch.from_numpy(logits) for (logits,) in outputs])
    with torch.inference_mode():
        logits = torch.cat(
            [network(network.prepare(batch).to(memory_format=_LAYOUT)) for batch in batches]
        )
    disagreements = int((exported.argmax(dim=1) != logits.argmax(dim=1)).sum())
    difference = float((exported - logits).abs().max())
    agreement = Agreement(len(images), disagreements, difference, float(logits.abs().max()))
    if not agreement.holds:
        raise ExportError(
            f"The ONNX model predicts another digit for {disagreements} of {len(images)} images "
            f"than the network, with logits up to {difference:.1e} apart, so it was not written; "
            f"try another version of onnxruntime than {onnxruntime.__version__}."
        )
    return agreement


def _nodes(helper: Any, network: type[Network]) -> list[Any]:
    """The graph's nodes in the order of computation."""
    node = helper.make_node
    nodes = [
        node("Sub", ["images", "input.mean"], ["centred"]),
        node("Div", ["centred", "input.std"], ["scaled"]),
        node("Unsqueeze", ["scaled", "channel.axis"], ["input"]),
    ]
    source = "input"
    layers = network.layers()
    for number, layer in enumerate(layers, 1):
        target = "logits" if number == len(layers) else f"layer{number}"
        if isinstance(layer, Conv):
            inputs = [source, f"{layer.name}.weight", f"{layer.name}.bias"]
            kernel, pads = [layer.kernel] * 2, [layer.padding] * 4
            nodes.append(node("Conv", inputs, [target], kernel_shape=kernel, pads=pads))
        elif isinstance(layer, Linear):
            flat = f"{target}.flat"
            inputs = [flat, f"{layer.name}.weight", f"{layer.name}.bias"]
            nodes.append(node("Flatten", [source], [flat], axis=1))
            nodes.append(node("Gemm", inputs, [target], transB=1))
        elif isinstance(layer, MaxPool):
            nodes.append(node("MaxPool", [source], [target], kernel_shape=[2, 2], strides=[2, 2]))
        else:
            nodes.append(node("Relu", [source], [target]))
        source = target
    return [
        *nodes,
        node("Div", ["logits", "temperature"], ["tempered"]),
        node("Softmax", ["tempered"], ["probabilities"], axis=1),
    ]


def _packages() -> tuple[ModuleType, ModuleType]:
    """Import onnx and onnxruntime. Raises ExportError where one is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            f"An ONNX model needs the packages onnx and onnxruntime ({error}); "
            "install them with: pip install -e '.[onnx]'"
        ) from error
    return onnx, onnxruntime


def _session(onnxruntime: ModuleType, content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
