"""The section of the Evaluate tab with the waterfall of the cross-dataset gap."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from digitcnn.analysis.events import ImagesProcessed, Notify
from digitcnn.analysis.gap import Waterfall, waterfall
from digitcnn.digits.names import written
from digitcnn.errors import DigitSetError
from digitcnn.network.original_images import original_images
from digitcnn.ui.background import status_update, updates_of
from digitcnn.ui.models import Models
from digitcnn.ui.parts import ViewUpdate, figure_place, opening_figure, status_line
from digitcnn.ui.results import Results, RunButtons
from digitcnn.ui.subject import Subject
from digitcnn.web.terms import explain
from digitcnn.workspace import Workspace


def build_gap_section(
    workspace: Workspace, models: Models, results: Results, digits: gr.Dropdown
) -> None:
    """Build the section. digits: its value is the name of the other set."""
    gr.Markdown("### What causes the gap")
    gr.HTML(
        explain(
            "Measures the gap between the first test set and the one chosen above three times: on "
            "the images as they are, in MNIST framing, and without near duplicates of training "
            "images."
        )
    )
    buttons = RunButtons("Break down gap", "evaluate-gap")
    status = gr.HTML(elem_id="evaluate-gap-status")
    figure = figure_place("evaluate-gap")
    results.connect_part(
        buttons, {"status": status, "figure": figure}, digits, partial(gap_steps, workspace, models)
    )


def gap_steps(
    workspace: Workspace, models: Models, view: Subject, name: Any
) -> Iterator[ViewUpdate]:
    """Yield status and figure, step by step, for the gap of a set to the first one.

    name: of the set; for the first one, the last is used. Raises DigitSetError without the training
    images, or without a second set.
    """
    if view.sets and name == view.sets[0]:
        # No gap is measured to the first set.
        name = view.sets[-1]
    (checkpoint,), other = view.open(workspace, models, name)
    if other.name == view.sets[0]:
        raise DigitSetError(
            f"{written(other.name)} is the reference set; evaluate a second set to measure a gap."
        )
    reference = workspace.catalog.open(view.sets[0], "test")
    training = original_images(checkpoint, workspace.catalog).training

    def work(notify: Notify) -> Waterfall:
        task = f"Finding near duplicates in {written(other.name)}"
        return waterfall(
            lambda digit_set: workspace.predict(checkpoint, digit_set),
            reference,
            other,
            training,
            temperature=checkpoint.temperature,
            progress=lambda done, total: notify(ImagesProcessed(task, done, total)),
        )

    yield {"status": status_line(f"Converting {written(other.name)} to MNIST framing.", 0.0)}
    result = yield from updates_of(work, status_update)
    from digitcnn.analysis import figures  # here, because it imports matplotlib

    png = figures.rendered(figures.gap_waterfall(result, model=checkpoint.name))
    alt = f"{result.without_duplicates.title}: {result.without_duplicates.accuracy_text}"
    yield {"status": status_line(f"Done: {alt}."), "figure": opening_figure("gap", alt, png)}
