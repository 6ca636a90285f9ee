"""Export a checkpoint as one HTML page with pad and network, which works without the app.

Its parts are in ``digitcnn.web``: the template ``offline/page.html``, the pad of the app's page,
``framing.js`` (strokes to the 28x28, a port of ``digits.sketch.from_strokes``) and ``network.js``
(28x28 to probabilities). The page sends no requests: its content security policy allows only its
own script.

The weights are float16 in base64, 3.8 MB. On MNIST's 10,000 test images the shipped model then
predicts the same digits, and no probability changes by more than 0.002. With int8, scaled row by
row, the file would be half as large, but one digit changed, and probabilities by up to 0.033.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from digitcnn import __version__
from digitcnn.digits import framing, sketch
from digitcnn.digits.digit_set import SIDE
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.export import folded_weights
from digitcnn.network.model import Conv, Layer, Linear, MaxPool
from digitcnn.network.ood import LAYERS
from digitcnn.web import bundle
from digitcnn.web.templates import render

# The constants of digits.sketch that framing.js needs, so that each is defined once.
FRAMING = {
    "side": SIDE,
    "middle": framing.MIDDLE,
    "span": framing.MNIST_SPAN,
    "thinnestPen": sketch.THINNEST_PEN,
    "thickestPen": sketch.THICKEST_PEN,
    "largestSpeck": sketch.LARGEST_SPECK,
    "discSpacing": sketch.DISC_SPACING,
    "maxDiscs": sketch.MAX_DISCS,
}


def to_page(checkpoint: Checkpoint) -> str:
    """Return the whole page. The checkpoint's own words are escaped."""
    tensors = folded_weights(checkpoint.network)
    ood = checkpoint.ood
    if ood is not None:
        tensors |= {f"ood.{name}": t for name, t in ood.tensors.items() if name != "threshold"}
    table, weights = pack(tensors)
    model = {
        "inputMean": 255 * checkpoint.network.input_mean,
        "inputStd": 255 * checkpoint.network.input_std,
        "temperature": checkpoint.details.temperature,
        "threshold": None if ood is None else ood.threshold,
        "layers": page_layers(checkpoint.network.layers()),
        "ood": page_layers(LAYERS, "ood."),
        "tensors": table,
        "framing": FRAMING,
    }
    temperature = "not calibrated: the file has no temperature"
    if checkpoint.calibrated:
        temperature = f"calibrated with temperature {checkpoint.temperature:.3g}"
    non_digits = "not rejected: the file has no OOD detector"
    if ood is not None:
        non_digits = "rejected by the OOD detector in the file, as in the app"
    style = bundle.style("tokens.css", "controls.css", "pad.css", "offline.css")
    script = bundle.script("offline.js")
    return render(
        "offline/page.html",
        policy=Markup(_policy(style, script)),
        style=Markup(style),
        script=Markup(script),
        # Inside a script's element only "<" could end it.
        model=Markup(json.dumps(model).replace("<", r"\u003c")),
        weights=Markup(base64.b64encode(weights).decode("ascii")),
        version=__version__,
        name=checkpoint.name,
        training=checkpoint.details.claim(),
        temperature=temperature,
        non_digits=non_digits,
        digest=checkpoint.digest,
    )


def page_layers(network: Sequence[Layer], prefix: str = "") -> list[dict[str, Any]]:
    """Return layers as network.js reads them. prefix: of the names of their tensors."""
    layers: list[dict[str, Any]] = []
    for layer in network:
        if isinstance(layer, Conv):
            sizes = {"kernel": layer.kernel, "padding": layer.padding}
            layers.append({"kind": "conv", "name": prefix + layer.name, **sizes})
        elif isinstance(layer, Linear):
            layers.append({"kind": "linear", "name": prefix + layer.name})
        else:
            layers.append({"kind": "pool" if isinstance(layer, MaxPool) else "relu"})
    return layers


def pack(tensors: dict[str, Tensor]) -> tuple[list[dict[str, Any]], bytes]:
    """Return a table of the tensors, and the tensors as float16, little-endian, in its order.

    Each is divided by a power of two that puts its largest magnitude at 2^14 to 2^15, so that
    neither large nor small weights leave float16's range. A row of the table is ``{"name",
    "count", "scale"}``; a weight is its float16 times the scale.
    """
    table, parts = [], []
    for name, tensor in tensors.items():
        largest = float(tensor.abs().max())
        scale = 2.0 ** (math.frexp(largest)[1] - 15) if largest > 0 else 1.0
        table.append({"name": name, "count": tensor.numel(), "scale": scale})
        halves = (tensor.double() / scale).to(torch.float16)
        parts.append(halves.numpy().astype("<f2").tobytes())
    return table, b"".join(parts)


def _policy(style: str, script: str) -> str:
    """Return a content security policy: only these run, and nothing is fetched or sent."""

    def digest(source: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
