"""The section of the Evaluate tab that shows the nine figures and offers them as a zip file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.analysis.events import Event, FigureDrawn, FigureUnavailable
from digitcnn.analysis.figures import NAMES
from digitcnn.errors import DigitSetError
from digitcnn.options import MOST_PASSES, usual_passes
from digitcnn.services.evaluation import FEATURE_MAPS, FigureCache
from digitcnn.ui.error_browser import ANY, ANY_DIGIT_CHOICES
from digitcnn.ui.evaluation_steps import EvaluationRequest, figure_view
from digitcnn.ui.evaluation_view import EvaluationView
from digitcnn.ui.figure_view import figure_place, zip_of
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.tables import data_link
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace


@dataclass(frozen=True)
class FigureGallery:
    """The components of the section.

    digit, place: the image that figure 6 shows: a digit or ANY, and its number among those, from 0.
    passes: for figure 9. figures: by their names. zip_link: empty until it is requested.
    """

    digit: gr.Dropdown
    place: gr.Number
    passes: gr.Slider
    figures: Mapping[str, gr.HTML]
    zip_link: gr.HTML


def build_figure_gallery(
    workspace: Workspace, models: Models, cache: FigureCache, shown: gr.State
) -> FigureGallery:
    """Build the section. shown: of type EvaluationView."""
    gr.Markdown("### Figures")
    with gr.Row(equal_height=True, elem_classes="model-row"):
        digit = gr.Dropdown(
            ANY_DIGIT_CHOICES,
            value=ANY,
            label="Example digit (figure 6)",
            info="From the first test set",
            elem_id="evaluate-example-digit",
        )
        place = gr.Number(
            0,
            precision=0,
            minimum=0,
            label="Image number",
            info="Counting from 0",
            elem_id="evaluate-example",
        )
        passes = gr.Slider(
            1,
            MOST_PASSES,
            value=usual_passes(None),
            step=1,
            label="Dropout passes (figure 9)",
            info="Used by the next evaluation; default: the model's epochs",
            elem_id="evaluate-passes",
        )
        zip_button = gr.Button("Download all (zip)", min_width=140, elem_id="evaluate-zip")
    zip_link = gr.HTML(elem_id="evaluate-zip-link")
    with gr.Row(elem_id="evaluate-gallery", equal_height=False):
        figures = {name: figure_place(f"evaluate-figure-{name[:2]}") for name in NAMES}

    def check(view: EvaluationView, digit: Any, place: Any, count: Any) -> EvaluationRequest:
        return EvaluationRequest.check(
            workspace, models, view.model, list(view.sets), count, digit, place
        )

    @toasting
    def draw_feature_maps(view: EvaluationView, digit: Any, place: Any, count: Any) -> str:
        if not view.sets:
            return ""
        request = check(view, digit, place, count)
        events: list[Event] = []
        findings = request.evaluate(workspace)
        request.draw(workspace, findings, cache, [FEATURE_MAPS], events.append)
        assert isinstance(events[-1], FigureDrawn | FigureUnavailable)
        return figure_view(events[-1])

    @toasting
    def pack(view: EvaluationView, digit: Any, place: Any, count: Any) -> str:
        if not view.sets:
            raise DigitSetError("There are no figures yet; press Evaluate first.")
        request = check(view, digit, place, count)
        images = request.draw(workspace, request.evaluate(workspace), cache)
        name = f"{view.model}-figures.zip"
        return data_link(zip_of(images), "application/zip", name, name)

    inputs = [shown, digit, place, passes]
    for control in (digit, place):
        control.input(draw_feature_maps, inputs, figures[FEATURE_MAPS], **PRIVATE)
    zip_button.click(pack, inputs, zip_link, **PRIVATE).success(
        None, js="() => document.querySelector('#evaluate-zip-link a')?.click()", **PRIVATE
    )
    return FigureGallery(digit, place, passes, figures, zip_link)
