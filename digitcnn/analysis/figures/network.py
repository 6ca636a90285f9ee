"""Figures 5 and 6: the first layer's filters, and one digit after each layer."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from digitcnn.analysis.figures import style
from digitcnn.analysis.findings import Findings
from digitcnn.digits.digit_set import CLASSES
from digitcnn.intervals import confidence_text
from digitcnn.network.model import Conv, Network


def conv_filters(findings: Findings) -> Figure:
    """Draw all first-layer filters on one scale, symmetric about zero."""
    filters = findings.network.get_parameter("conv1.weight").detach().cpu().float().squeeze(1)
    side = filters.shape[-1]
    limit = float(filters.abs().max()) or 1.0
    figure = style.sheet(
        "First-layer filters",
        f"{findings.model}\nall {len(filters)} {side}x{side} filters; orange weights brighten, "
        "purple weights darken",
        5.2,
    )
    axes = figure.add_subplot()
    style.image_panel(axes)
    whole = np.ma.masked_invalid(style.mosaic(filters, 8, gap=1))
    image = axes.imshow(whole, cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for index in range(len(filters)):
        style.write(
            axes, (index % 8) * (side + 1) - 0.45, (index // 8) * (side + 1) - 0.6, str(index + 1),
            fontsize=style.SMALL - 1, color=style.MUTED, va="bottom",
        )  # fmt: skip
    style.colour_bar(figure, image, axes, "Weight")
    return figure


def feature_maps(findings: Findings) -> Figure:
    """Draw the example after each layer, down to the ten probabilities."""
    network, digit_set, index = findings.network, findings.digit_sets[0], findings.example
    image, label = digit_set.images[index], int(digit_set.labels[index])
    maps = layer_outputs(network, image)
    probabilities = torch.softmax(maps["logits"].double() / findings.temperature, dim=0)
    predicted = int(probabilities.argmax())
    confidence = confidence_text(float(probabilities[predicted]))
    figure = style.sheet(
        f"Feature maps of a {label}",
        f"{findings.model}\nimage {index} of {digit_set.title}, "
        f"labelled {label}, predicted {predicted} with {confidence} confidence; "
        "each panel has its own scale",
        5.8,
    )
    panels = figure.subplots(2, 4)
    style.image_panel(panels[0, 0], "1  Input, 28x28")
    panels[0, 0].imshow(image.numpy(), cmap=style.INK_ON_WHITE, vmin=0, vmax=255)
    convolutions = sum(isinstance(layer, Conv) for layer in network.layers())
    last = "ReLU, pooling" if convolutions == 2 else f"Convolution {convolutions}, ReLU"
    _signed(panels[0, 1], maps["conv1"], 6, f"2  Convolution 1: {_size(maps['conv1'])}")
    _positive(panels[0, 2], maps["block1"], 6, f"3  ReLU, pooling: {_size(maps['block1'])}")
    _signed(panels[0, 3], maps["conv2"], 8, f"4  Convolution 2: {_size(maps['conv2'])}")
    _positive(panels[1, 0], maps["block2"], 8, f"5  {last}: {_size(maps['block2'])}")
    count = len(maps["features"])
    height = max(rows for rows in range(1, math.isqrt(count) + 1) if count % rows == 0)
    hidden = maps["features"].view(1, height, -1)
    active = int((hidden > 0).sum())
    _positive(panels[1, 1], hidden, 1, f"6  Hidden layer: {active} of {count} active")
    _bars(panels[1, 2], probabilities, label)
    _key(panels[1, 3])
    for axes in panels.flat:
        axes.set_anchor("NW")
    return figure


def layer_outputs(network: Network, image: Tensor) -> dict[str, Tensor]:
    """Return each layer's output for an image, uint8 [28, 28]: float32 on the CPU, no batch axis.

    conv1 and conv2, the first convolution of each block, are after batch norm, block1 and block2
    the outputs of the blocks: [C, H, W] each; features [F], logits [10].
    """
    with torch.inference_mode():
        x = network.prepare(image[None].to(network.device))
        conv1, block1 = network.first_convolution(0, x), network.block(0, x)
        conv2, block2 = network.first_convolution(1, block1), network.block(1, block1)
        features = network.features_of(block2.flatten(1))
        outputs = {
            "conv1": conv1, "block1": block1, "conv2": conv2, "block2": block2,
            "features": features, "logits": network.output(features),
        }  # fmt: skip
        return {name: value[0].cpu() for name, value in outputs.items()}


def _size(maps: Tensor) -> str:
    count, height, width = maps.shape
    return f"{count} of {height}x{width}"


def _signed(axes: Axes, maps: Tensor, columns: int, title: str) -> None:
    style.image_panel(axes, title)
    limit = float(maps.abs().max()) or 1.0
    whole = np.ma.masked_invalid(style.mosaic(maps, columns))
    axes.imshow(whole, cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest")


def _positive(axes: Axes, maps: Tensor, columns: int, title: str) -> None:
    style.image_panel(axes, title)
    whole = np.ma.masked_invalid(style.mosaic(maps, columns, gap=1))
    axes.imshow(whole, cmap="Blues", vmin=0, vmax=float(maps.max()) or 1.0, interpolation="nearest")


def _bars(axes: Axes, probabilities: Tensor, label: int) -> None:
    style.dress(axes, x="Probability (%)", y="Digit", title="7  Prediction", grid="x")
    values = (100 * probabilities).tolist()
    predicted = int(probabilities.argmax())
    colours = [style.COLOURS[0] if digit == predicted else "#9aa1a9" for digit in range(CLASSES)]
    axes.barh(range(CLASSES), values, color=colours)
    axes.set_yticks(range(CLASSES), [f"{d} (true)" if d == label else str(d) for d in range(10)])
    axes.set_xlim(0, 100)
    axes.invert_yaxis()


def _key(axes: Axes) -> None:
    style.image_panel(axes)
    style.write(
        axes, 0, 0.5,
        "Panels 2 and 4, after\nbatch norm: orange\nabove zero, purple\nbelow.\n\n"
        "Panels 3, 5 and 6: the\nbluer, the larger;\nwhite is zero.",
        transform=axes.transAxes, va="center", fontsize=style.LABEL, color=style.MUTED,
        linespacing=1.5,
    )  # fmt: skip
