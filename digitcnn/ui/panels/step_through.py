"""Step through: every number between the sketch and its ten scores.

``analysis.step_through`` computes them; this module encodes them for the page's script.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from digitcnn.analysis.step_through import ConvBlock, step_through
from digitcnn.ui.calls import Payload
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketches import SketchReader


def step_through_panel(reader: SketchReader) -> Panel:
    """Return the panel."""
    return Panel(
        name="step-through",
        title="Step through",
        explanation="Follow one place of your drawing: window times kernel, batch norm, ReLU, "
        "pooling, the second layer, and the ten scores. All numbers are this network's own.",
        functions={"step_through": partial(stepped_sketch, reader)},
    )


def stepped_sketch(reader: SketchReader, payload: Payload) -> Payload:
    """Return all steps of a sketch.

    payload: that of ``SketchReader.read`` with ``"known"``: the digest of the model whose weights
    the page has.
    Returns ``{"digest", "input", "outputs": [first, second], "features", "logits",
    "temperature"}`` and, unless
    the page has them, ``"weights"``: ``{"blocks": [{"kernels", "bias", "factor", "summand",
    "padding", "count", "inputs", "size", "side"}, ...], "weights", "bias"}``. Arrays are float32,
    little-endian, in base64, in the order of ``analysis.step_through``. ``{"blank": True}`` for an
    empty sketch. Raises SketchError, CheckpointError or CapabilityError.
    """
    reading = reader.read(payload)
    if reading is None:
        return {"blank": True}
    # Not the inference copy, whose batch norm is part of its kernels.
    steps = step_through(reading.checkpoint.network, reading.image)
    digest = reading.checkpoint.digest
    reply: Payload = {
        "digest": digest,
        "input": _base64(steps.input),
        "outputs": [_base64(block.output) for block in steps.blocks],
        "features": _base64(steps.features),
        "logits": steps.logits.tolist(),
        "temperature": reading.checkpoint.temperature,
    }
    if payload.get("known") != digest:
        reply["weights"] = {
            "blocks": [_block(block) for block in steps.blocks],
            "weights": _base64(steps.weights),
            "bias": steps.bias.tolist(),
        }
    return reply


def _block(block: ConvBlock) -> dict[str, Any]:
    count, inputs, size, _ = block.kernels.shape
    return {
        "kernels": _base64(block.kernels),
        "bias": block.bias.tolist(),
        "factor": block.factor.tolist(),
        "summand": block.summand.tolist(),
        "padding": block.padding,
        "count": count,
        "inputs": inputs,
        "size": size,
        "side": block.output.shape[-1],
    }


def _base64(values: Tensor) -> str:
    numbers = values.detach().cpu().float().contiguous().numpy().astype("<f4")
    return base64_of(numbers.tobytes())
