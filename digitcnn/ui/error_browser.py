"""The images behind the errors: the section of the Evaluate tab where they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import torch

from digitcnn.analysis.neighbours import label_suspects
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.digits.framing import frame_mnist
from digitcnn.errors import DigitCNNError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.answered_images import TILES_STYLE, tiles
from digitcnn.ui.confusion_cells import MATRICES_JS, MATRICES_STYLE
from digitcnn.ui.gradio_private import event_data
from digitcnn.ui.models import Models
from digitcnn.ui.parts import status_line
from digitcnn.ui.shown import Shown, opened, training_images
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

TILES = 60
# More would keep the machine busy for a minute, and would not be a list to look through.
MOST_ERRORS_FOR_SUSPECTS = 3000

# Once the images of a chosen cell are in their place, below the matrices, the page goes to them as
# little as it must; a frame later, for they take their room only then.
SHOW_IMAGES_JS = """() => requestAnimationFrame(() => requestAnimationFrame(() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.querySelector("#evaluate-errors")?.scrollIntoView(
    { behavior: still ? "instant" : "smooth", block: "nearest" });
}))"""

ANY, ANY_WRONG = "any", "any wrong"
DIGITS = [str(digit) for digit in range(CLASSES)]


@dataclass(frozen=True)
class ErrorBrowser:
    """The places of the section that a new evaluation fills.

    digits, true, predicted: dropdowns of the set, its label (or ANY) and the answer (or ANY_WRONG).
    """

    matrices: gr.HTML
    digits: gr.Dropdown
    true: gr.Dropdown
    predicted: gr.Dropdown
    images: gr.HTML


def build_error_browser(workspace: Workspace, models: Models, shown: gr.State) -> ErrorBrowser:
    """shown: of type Shown."""
    gr.Markdown("### Errors\nChoose a cell of a confusion matrix, or the digits below it.")
    matrices = gr.HTML(
        css_template=MATRICES_STYLE,
        js_on_load=MATRICES_JS,
        apply_default_css=False,
        elem_id="evaluate-matrices",
    )
    with gr.Row(equal_height=True, elem_classes="model-row"):
        digits = gr.Dropdown([], label="Digit set", elem_id="evaluate-errors-digits")
        true = gr.Dropdown([ANY, *DIGITS], value=ANY, label="True digit", elem_id="evaluate-true")
        predicted = gr.Dropdown(
            [ANY_WRONG, *DIGITS], value=ANY_WRONG, label="Answer", elem_id="evaluate-predicted"
        )
        suspects = gr.Button("Suspected label errors", elem_id="evaluate-suspects")
    images = gr.HTML(css_template=TILES_STYLE, apply_default_css=False, elem_id="evaluate-errors")

    @toasting
    def browse(now: Shown, name: Any, true: Any, answer: Any) -> str:
        return error_tiles(workspace, models, now, name, true, answer)

    @toasting
    def pick(now: Shown, event: gr.EventData) -> list[Any]:
        cell = event_data(event)
        name, true, answer = (cell.get(key) for key in ("digits", "true", "predicted"))
        made = error_tiles(workspace, models, now, name, str(true), str(answer))
        return [name, str(true), str(answer), made]

    @toasting
    def suspect(now: Shown, name: Any) -> Iterator[str]:
        yield status_line("Comparing with the training images.")
        try:
            yield suspect_tiles(workspace, models, now, name)
        except DigitCNNError as error:
            yield status_line(str(error))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    for choice in (digits, true, predicted):
        choice.input(browse, [shown, digits, true, predicted], images, **private)
    matrices.click(pick, [shown], [digits, true, predicted, images], **private).success(
        None, js=SHOW_IMAGES_JS, **private
    )
    suspects.click(suspect, [shown, digits], images, **private)
    # They are of all digits, whatever cell was chosen before.
    suspects.click(lambda: [ANY, ANY_WRONG], None, [true, predicted], queue=False, **private)
    return ErrorBrowser(matrices, digits, true, predicted, images)


def error_tiles(
    workspace: Workspace, models: Models, now: Shown, name: Any, true: Any, answer: Any
) -> str:
    """The images of a set with that label and answer, the most confident first.

    true: a digit or ``any``. answer: a digit or ``any wrong``. Raises DigitCNNError.
    """
    checkpoint, digit_set = opened(workspace, models, now, name)
    if true not in (ANY, *DIGITS) or answer not in (ANY_WRONG, *DIGITS):
        raise DigitSetError("That is no pair of digits; choose a true digit and an answer.")
    return tiles_of(digit_set, workspace.predict(checkpoint, digit_set), checkpoint, true, answer)


def tiles_of(
    digit_set: DigitSet,
    predictions: Predictions,
    checkpoint: Checkpoint,
    true: str = ANY,
    answer: str = ANY_WRONG,
) -> str:
    """As ``error_tiles``, of predictions that are at hand."""
    wanted = torch.ones(len(digit_set), dtype=torch.bool)
    if true != ANY:
        wanted &= predictions.labels == int(true)
    wanted &= ~predictions.right if answer == ANY_WRONG else predictions.answers == int(answer)
    places = wanted.nonzero().squeeze(1)
    probabilities = predictions.probabilities(checkpoint.temperature)[places]
    confidence = probabilities.max(dim=1).values
    order = confidence.argsort(descending=True, stable=True)[:TILES]
    title = f"{digit_set.name} {digit_set.split}"
    if true == ANY and answer == ANY_WRONG:
        heading = f"The most confident errors on {title}"
    else:
        truth = "Any digit" if true == ANY else f"A {true}"
        answered = "wrongly" if answer == ANY_WRONG else f"as {answer}"
        heading = f"{truth} answered {answered} on {title}"
    return tiles(
        heading,
        digit_set.images[places[order]],
        digit_set.labels[places[order]].tolist(),
        probabilities[order],
        places[order].tolist(),
        f"{_count(len(order), len(places))}, the most confident first.",
    )


def _count(shown: int, found: int) -> str:
    if shown < found:
        return f"{shown} of {found:,} images"
    return "1 image" if found == 1 else f"{found:,} images"


def suspect_tiles(workspace: Workspace, models: Models, now: Shown, name: Any) -> str:
    """Images whose label both the network and the nearest training digits contradict.

    Raises DigitSetError without the training images, or where too many answers are wrong.
    """
    checkpoint, digit_set = opened(workspace, models, now, name)
    predictions = workspace.predict(checkpoint, digit_set)
    errors = int((~predictions.right).sum())
    if errors > MOST_ERRORS_FOR_SUSPECTS:
        raise DigitSetError(
            f"{errors:,} answers on {digit_set.name} are wrong, so the network is no judge of "
            "labels; choose one that is mostly right."
        )
    training = training_images(workspace, checkpoint)
    scale = checkpoint.temperature
    found = label_suspects(
        predictions, _framed_like(training, digit_set, predictions), training, temperature=scale
    )
    title = f"{digit_set.name} {digit_set.split}"
    places = [suspect.index for suspect in found[:TILES]]
    return tiles(
        f"Suspected label errors on {title}: {len(found):,}",
        digit_set.images[places],
        digit_set.labels[places].tolist(),
        predictions.probabilities(scale)[places],
        places,
        f"The network and the nearest training digits of {training.name}, found in MNIST framing "
        "where the sets differ, agree against the label; both may be wrong.",
    )


def _framed_like(training: DigitSet, digit_set: DigitSet, predictions: Predictions) -> DigitSet:
    """The set with its errors in MNIST framing, unless it is framed as the training images are.

    Smaller or shifted digits have narrow ones as their nearest, whatever they show.
    """
    if digit_set.name == training.name:
        return digit_set
    images, errors = digit_set.images.clone(), ~predictions.right
    images[errors] = frame_mnist(images[errors])
    return replace(digit_set, images=images)
