"""A checkpoint as one HTML page: pad, network and answers in the browser, for when no app runs.

``page/`` holds the parts: markup (``page.html``), looks (``page.css``) and three scripts, in the
order of a drawing's way: ``pad.js`` (strokes and what is shown), ``framing.js`` (strokes to the
28x28, a port of ``digits.sketch.from_strokes``) and ``network.js`` (28x28 to probabilities). The
page asks for nothing from anywhere: its content security policy lets it run its own scripts only.

The weights are float16 in base64, 3.8 MB. On MNIST's 10,000 test images the model that ships then
gives no other digit, and no probability moves by more than 0.002; int8, scaled row by row, would
make half the file, but changed one digit, and probabilities by up to 0.033.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import torch
from torch import Tensor

from digitcnn import __version__
from digitcnn.digits import sketch
from digitcnn.digits.digit_set import SIDE
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.export.folded import folded_weights
from digitcnn.network.ood import OODDetector

PAGE = Path(__file__).with_name("page")
SCRIPTS = ("framing.js", "network.js", "pad.js")

# What framing.js takes from digits.sketch, so that each number stands in one place.
FRAMING = {
    "side": SIDE,
    "middle": sketch.MIDDLE,
    "span": sketch.MNIST_SPAN,
    "thinnestPen": sketch.THINNEST_PEN,
    "thickestPen": sketch.THICKEST_PEN,
    "largestSpeck": sketch.LARGEST_SPECK,
    "discSpacing": sketch.DISC_SPACING,
    "maxDiscs": sketch.MAX_DISCS,
}


def to_page(checkpoint: Checkpoint) -> str:
    """The whole page. What the checkpoint says of itself is text in it, whatever it holds."""
    tensors = folded_weights(checkpoint.network)
    ood = checkpoint.ood
    if ood is not None:
        head = {name: tensor for name, tensor in ood.tensors.items() if tensor.dim()}
        tensors |= {f"ood.{name}": tensor for name, tensor in head.items()}
    table, weights = pack(tensors)
    model = {
        "inputMean": 255 * checkpoint.network.input_mean,
        "inputStd": 255 * checkpoint.network.input_std,
        "temperature": checkpoint.details.temperature,
        "threshold": None if ood is None else ood.threshold,
        "tensors": table,
        "framing": FRAMING,
    }
    style = _read("page.css")
    scripts = [_read(name) for name in SCRIPTS]
    return Template(_read("page.html")).substitute(
        policy=_policy(style, scripts),
        style=style,
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        # Inside a script's element only "<" could end it.
        model=json.dumps(model).replace("<", r"\u003c"),
        weights=base64.b64encode(weights).decode("ascii"),
        version=escape(__version__),
        name=escape(checkpoint.name),
        training=escape(checkpoint.details.claim()),
        temperature=_temperature(checkpoint.details.temperature),
        ood=_ood(ood),
        digest=escape(checkpoint.digest),
    )


def pack(tensors: dict[str, Tensor]) -> tuple[list[dict[str, Any]], bytes]:
    """Tensors as float16, little-endian, one after the other, and a table of what is where.

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


def _read(name: str) -> str:
    return (PAGE / name).read_text("utf-8")


def _policy(style: str, scripts: list[str]) -> str:
    """A content security policy under which only these run, and nothing is fetched or sent."""

    def hashes(sources: list[str]) -> str:
        digests = (hashlib.sha256(source.encode()).digest() for source in sources)
        return " ".join(f"'sha256-{base64.b64encode(found).decode()}'" for found in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes([style])}; "
        "base-uri 'none'; form-action 'none'"
    )


def _ood(ood: OODDetector | None) -> str:
    if ood is None:
        return "not told: the file has no statistics of it, and everything is taken for a digit"
    return "told, as in the app, by the statistics in the file"


def _temperature(temperature: float | None) -> str:
    if temperature is None:
        return "not calibrated: the file has no temperature"
    return f"calibrated with temperature {temperature:.3g}"
