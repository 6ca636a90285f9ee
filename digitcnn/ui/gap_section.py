"""Where the gap comes from: the section of the Evaluate tab with the waterfall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.analysis import figures
from digitcnn.analysis.gap import Waterfall, waterfall
from digitcnn.analysis.metrics import accuracy_text
from digitcnn.analysis.shared_cache import Progress
from digitcnn.errors import DigitCNNError, DigitSetError
from digitcnn.ui import figure_sheets
from digitcnn.ui.background import telling
from digitcnn.ui.models import Models
from digitcnn.ui.parts import status_line
from digitcnn.ui.shown import Shown, opened, training_images
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace


@dataclass(frozen=True)
class GapSection:
    """The places of the section that a new evaluation empties."""

    status: gr.HTML
    figure: gr.HTML


def build_gap_section(
    workspace: Workspace, models: Models, shown: gr.State, digits: gr.Dropdown
) -> GapSection:
    """shown: of type Shown. digits: its value is the name of the other set."""
    gr.Markdown(
        "### Where the gap comes from\nThe digit set chosen under Errors, or the last one while "
        "that is the first, as it is, then in MNIST framing, then without images that nearly "
        "repeat a training image."
    )
    run = gr.Button("Take the gap apart", elem_id="evaluate-gap-run")
    status = gr.HTML(elem_id="evaluate-gap-status")
    figure = gr.HTML(
        css_template=figure_sheets.STYLE, apply_default_css=False, elem_id="evaluate-gap"
    )

    @toasting
    def take_apart(now: Shown, name: Any) -> Iterator[list[Any]]:
        try:
            yield from gap_looks(workspace, models, now, name)
        except DigitCNNError as error:
            yield [status_line(str(error)), ""]

    run.click(
        take_apart,
        [shown, digits],
        [status, figure],
        api_visibility="private",
        show_progress="hidden",
    )
    return GapSection(status, figure)


def gap_looks(workspace: Workspace, models: Models, now: Shown, name: Any) -> Iterator[list[Any]]:
    """Status and figure, step by step: where the gap of that set to the first one comes from; of
    the last set if that is the first.

    Raises DigitSetError without the training images, or without a second set.
    """
    if now.sets and name == now.sets[0]:
        # The errors open on the first set, which no gap is measured to.
        name = now.sets[-1]
    checkpoint, other = opened(workspace, models, now, name)
    if other.name == now.sets[0]:
        raise DigitSetError(
            f"{other.name} is the set that gaps are measured from; evaluate another one as well."
        )
    reference = workspace.catalog.open(now.sets[0], "test")
    training = training_images(workspace, checkpoint)

    def work(progress: Progress) -> Waterfall:
        return waterfall(
            lambda digit_set: workspace.predict(checkpoint, digit_set),
            reference,
            other,
            training,
            temperature=checkpoint.temperature,
            progress=progress,
        )

    yield [status_line(f"Putting {other.name} into MNIST framing.", 0.0), ""]
    what = f"Looking for near repeats in {other.name}"
    found = yield from telling(work, what, lambda line: [line, gr.skip()])
    png = figures.png(figures.gap_waterfall(found, model=checkpoint.name))
    remains = accuracy_text(found.without_repeats.accuracy, found.without_repeats.n)
    alt = f"{found.without_repeats.title}: {remains}"
    yield [status_line(f"Done: {alt}."), figure_sheets.plain_figure(alt, png)]
