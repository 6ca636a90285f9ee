"""Figures 2 and 3: sample digits of the sets, and predictions for images of one."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from digitcnn.analysis.figures import style
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.names import joined
from digitcnn.intervals import confidence_text

# Of sample digits, and of predictions.
ROWS, PREDICTION_ROWS = 4, 2
COLUMNS = 10
GAP = 3
# Pixels below an image for one line of text, and for two.
ONE_LINE, TWO_LINES = 8, 13


def sample_data(findings: Findings) -> Figure:
    """Draw four images of each digit from each set, a column per digit."""
    digit_sets = findings.digit_sets
    names = [digits.title for digits in digit_sets]
    figure = style.sheet(
        "Sample digits",
        f"The first {ROWS} images of each digit in {joined(names)}, as the network gets them",
        0.8 + 3.5 * len(digit_sets),
    )
    for index, digits in enumerate(digit_sets):
        axes = figure.add_subplot(len(digit_sets), 1, index + 1)
        style.image_panel(axes, f"{names[index]}: {len(digits):,} images")
        tiles = torch.full((ROWS * COLUMNS, SIDE, SIDE), math.nan)
        for digit in range(CLASSES):
            places = (digits.labels == digit).nonzero().squeeze(1)[:ROWS]
            for row, place in enumerate(places.tolist()):
                tiles[row * COLUMNS + digit] = digits.images[place].float()
            if not len(places):
                style.write(
                    axes, digit * (SIDE + GAP) + SIDE / 2, 2 * (SIDE + GAP), "none",
                    ha="center", color=style.MUTED, fontsize=style.SMALL,
                )  # fmt: skip
            style.write(
                axes, digit * (SIDE + GAP) + SIDE / 2, -3, str(digit),
                ha="center", color=style.INK, fontsize=style.LABEL,
            )  # fmt: skip
        axes.set_title(axes.get_title(loc="left"), pad=18, loc="left", fontsize=style.LABEL + 0.5,
                       fontweight="bold", color=style.INK)  # fmt: skip
        axes.imshow(style.mosaic(tiles, COLUMNS, GAP), cmap=style.INK_ON_WHITE, vmin=0, vmax=255)
    return figure


def predictions_sample(findings: Findings) -> Figure:
    """Draw the first set's first images and its most confident errors, with their predictions."""
    digit_set, predictions = findings.digit_sets[0], findings.predictions[0]
    evaluation = findings.evaluations[0]
    count = PREDICTION_ROWS * COLUMNS
    first = torch.arange(min(count, len(digit_set)))
    errors = (~predictions.right).nonzero().squeeze(1)
    below = ONE_LINE if bool(predictions.right[first].all()) else TWO_LINES
    heights = [PREDICTION_ROWS * (SIDE + GAP + room) for room in (below, TWO_LINES)]
    figure = style.sheet(
        f"Predictions on {evaluation.title}",
        f"{findings.model}\naccuracy on {evaluation.title}: {evaluation.accuracy_text}; "
        "below each image the prediction and its confidence",
        1.75 + 0.032 * sum(heights),
    )
    top, bottom = figure.subplots(2, 1, height_ratios=heights)
    confidence = predictions.probabilities(evaluation.temperature).max(dim=1).values
    _tiles(top, digit_set, predictions, confidence, first, below)
    style.image_panel(top, "First images; errors are framed and show the true digit")
    worst = errors[confidence[errors].argsort(descending=True, stable=True)][:count]
    if len(worst):
        _tiles(bottom, digit_set, predictions, confidence, worst, TWO_LINES)
        shown = f"The {len(worst)} most confident of {len(errors):,} errors"
        style.image_panel(bottom, shown if len(worst) < len(errors) else "All errors")
    else:
        style.image_panel(bottom, "Errors")
        style.note(bottom, f"No errors on {evaluation.title}.")
    return figure


def _tiles(
    axes: Axes,
    digit_set: DigitSet,
    predictions: Predictions,
    confidence: Tensor,
    places: Tensor,
    below: int,
) -> None:
    tiles = torch.full((PREDICTION_ROWS * COLUMNS, SIDE, SIDE), math.nan)
    tiles[: len(places)] = digit_set.images[places].float()
    whole = style.mosaic(tiles, COLUMNS, GAP, below)
    axes.imshow(whole, cmap=style.INK_ON_WHITE, vmin=0, vmax=255)
    predicted = predictions.predicted
    for position, place in enumerate(places.tolist()):
        left = (position % COLUMNS) * (SIDE + GAP)
        top = (position // COLUMNS) * (SIDE + GAP + below)
        digit, label = int(predicted[place]), int(digit_set.labels[place])
        wrong = digit != label
        text = f"{digit}  {confidence_text(float(confidence[place]))}"
        style.write(
            axes, left + SIDE / 2, top + SIDE + 1.5,
            f"{text}\ntrue {label}" if wrong else text,
            ha="center", va="top", fontsize=style.SMALL - 0.5, linespacing=1.1,
            color=style.WRONG if wrong else style.INK,
            fontweight="bold" if wrong else "normal",
        )  # fmt: skip
        if wrong:
            axes.plot(
                [left - 1, left + SIDE, left + SIDE, left - 1, left - 1],
                [top - 1, top - 1, top + SIDE, top + SIDE, top - 1],
                color=style.WRONG, linewidth=1.8,
            )  # fmt: skip
    axes.set_xlim(-2, whole.shape[1] + 1)
    axes.set_ylim(whole.shape[0] + 1, -2)
