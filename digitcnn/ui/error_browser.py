"""The section of the Evaluate tab that shows misclassified images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from digitcnn.analysis.neighbours import label_suspects
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.digits.framing import frame_mnist
from digitcnn.digits.names import written
from digitcnn.errors import DigitCNNError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.original_images import original_images
from digitcnn.ui.gradio_private import event_data
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, html_view, status_line, tiles
from digitcnn.ui.results import Results
from digitcnn.ui.subject import Subject
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import counted
from digitcnn.web import bundle
from digitcnn.workspace import Workspace

# In all, and before more are requested.
TILES, FIRST_TILES = 60, 12
# More would keep the machine busy for a minute, and would be too long a list to look through.
MOST_ERRORS_FOR_SUSPECTS = 3000

ANY, ANY_ERROR = "any", "any wrong"
DIGITS = [str(digit) for digit in range(CLASSES)]
ANY_DIGIT_CHOICES = [("Any", ANY), *((digit, digit) for digit in DIGITS)]


def build_error_browser(workspace: Workspace, models: Models, results: Results) -> None:
    """Build the section: confusion matrices, and beside them the images of a chosen cell."""
    with gr.Row(equal_height=False):
        # As wide as a matrix.
        with gr.Column(scale=5, min_width=540):
            gr.Markdown("Click a cell to see its images: rows are true digits, columns predicted.")
            matrices = html_view(
                "evaluate-matrices",
                "scroll_shadow.css",
                "matrices.css",
                js_on_load=bundle.on_load("reportCell"),
            )
        with gr.Column(scale=6, min_width=300, elem_classes="beside-matrices"):
            with gr.Row(equal_height=True):
                digits = gr.Dropdown(
                    [], label="Digit set", min_width=110, elem_id="evaluate-errors-digits"
                )
                true = gr.Dropdown(
                    ANY_DIGIT_CHOICES,
                    value=ANY,
                    label="True digit",
                    min_width=90,
                    elem_id="evaluate-true",
                )
                predicted = gr.Dropdown(
                    [("Any error", ANY_ERROR), *ANY_DIGIT_CHOICES[1:]],
                    value=ANY_ERROR,
                    label="Predicted digit",
                    min_width=90,
                    elem_id="evaluate-predicted",
                )
            images = html_view("evaluate-errors", "tiles.css")
            suspects = gr.Button("Find label errors", size="sm", elem_id="evaluate-suspects")

    def browse(subject: Subject, name: Any, true: Any, predicted: Any) -> str:
        (checkpoint,), digit_set = subject.open(workspace, models, name)
        predictions = workspace.predict(checkpoint, digit_set)
        return results.stamped(
            subject, error_tiles(digit_set, predictions, checkpoint, true, predicted)
        )

    @toasting
    def pick(view: Subject, event: gr.EventData) -> list[Any]:
        cell = event_data(event)
        name, true, predicted = (cell.get(key) for key in ("digits", "true", "predicted"))
        images = browse(view, name, str(true), str(predicted))
        return [name, str(true), str(predicted), images]

    @toasting
    def suspect(subject: Subject, name: Any) -> Iterator[str]:
        yield status_line("Comparing with the training images.")
        try:
            (checkpoint,), digit_set = subject.open(workspace, models, name)
            yield results.stamped(subject, suspect_tiles(workspace, checkpoint, digit_set))
        except DigitCNNError as error:
            yield status_line(str(error))

    for choice in (digits, true, predicted):
        choice.input(toasting(browse), [results.view, digits, true, predicted], images, **PRIVATE)
    matrices.click(pick, [results.view], [digits, true, predicted, images], **PRIVATE).success(
        None, js=bundle.handler("reveal", "#evaluate-errors"), **PRIVATE
    )
    suspects.click(suspect, [results.view, digits], images, **PRIVATE)
    # Suspects are of all digits, whatever cell was chosen before.
    suspects.click(lambda: [ANY, ANY_ERROR], None, [true, predicted], queue=False, **PRIVATE)
    results.parts |= {"matrices": matrices, "errors": images}
    results.parts |= {"error_set": digits, "true": true, "predicted": predicted}


def error_tiles(
    digit_set: DigitSet,
    predictions: Predictions,
    checkpoint: Checkpoint,
    true: Any = ANY,
    predicted: Any = ANY_ERROR,
    most: int = TILES,
) -> str:
    """Render the images with that label and prediction, the most confident first.

    true: a digit or ANY. predicted: a digit or ANY_ERROR. most: how many to render.
    Raises DigitSetError for anything else.
    """
    if true not in (ANY, *DIGITS) or predicted not in (ANY_ERROR, *DIGITS):
        raise DigitSetError("Unknown pair of digits; choose a true and a predicted digit.")
    errors = predicted == ANY_ERROR
    selected = ~predictions.right if errors else predictions.predicted == int(predicted)
    if true != ANY:
        selected &= predictions.labels == int(true)
    indices = selected.nonzero().squeeze(1)
    probabilities = predictions.probabilities(checkpoint.temperature)[indices]
    order = probabilities.max(dim=1).values.argsort(descending=True, stable=True)[:most]
    if true == ANY and errors:
        heading = f"The most confident errors on {digit_set.title}"
    else:
        digit = "Any digit" if true == ANY else f"Digit {true}"
        as_what = "misclassified" if errors else f"predicted as {predicted}"
        heading = f"{digit} {as_what} on {digit_set.title}"
    count = counted(len(indices), "image")
    if len(order) < len(indices):
        count = f"{len(order)} of {count}"
    return tiles(
        heading,
        digit_set,
        indices[order].tolist(),
        probabilities[order],
        f"{count}, the most confident first.",
        first=FIRST_TILES,
    )


def suspect_tiles(workspace: Workspace, checkpoint: Checkpoint, digit_set: DigitSet) -> str:
    """Render images whose label both the model and the nearest training digits contradict.

    Raises DigitSetError without the training images, or where too many predictions are wrong.
    """
    predictions = workspace.predict(checkpoint, digit_set)
    errors = int((~predictions.right).sum())
    if errors > MOST_ERRORS_FOR_SUSPECTS:
        raise DigitSetError(
            f"The model gets {errors:,} images of {written(digit_set.name)} wrong, too many to "
            "judge labels; choose a more accurate one."
        )
    training = original_images(checkpoint, workspace.catalog).training
    suspects = label_suspects(
        predictions,
        _framed_like(training, digit_set, predictions),
        training,
        temperature=checkpoint.temperature,
    )
    indices = suspects[:TILES]
    return tiles(
        f"Suspected label errors on {digit_set.title}: {len(suspects):,}",
        digit_set,
        indices,
        predictions.probabilities(checkpoint.temperature)[indices],
        f"The model and the nearest training digits of {written(training.name)} (in MNIST framing "
        "where the sets differ) disagree with the label. Both can be wrong.",
        first=FIRST_TILES,
    )


def _framed_like(training: DigitSet, digit_set: DigitSet, predictions: Predictions) -> DigitSet:
    """Return the set with its errors in MNIST framing, unless it is framed as the training images.

    The nearest digits of smaller or shifted ones are narrow, whichever digit they show.
    """
    if digit_set.name == training.name:
        return digit_set
    images, errors = digit_set.images.clone(), ~predictions.right
    images[errors] = frame_mnist(images[errors])
    return replace(digit_set, images=images)
