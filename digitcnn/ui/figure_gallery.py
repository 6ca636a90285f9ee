"""The nine figures: the section of the Evaluate tab that shows them and gives them as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.analysis.figures import NAMES
from digitcnn.errors import DigitSetError
from digitcnn.options import MOST_PASSES, usual_passes
from digitcnn.ui.error_browser import ANY, DIGITS
from digitcnn.ui.evaluating import Evaluating
from digitcnn.ui.figure_sheets import OPEN_JS, STYLE, FigureSheets, zip_of
from digitcnn.ui.models import Models
from digitcnn.ui.shown import Shown
from digitcnn.ui.tables import data_link
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace


@dataclass(frozen=True)
class FigureGallery:
    """The places of the section.

    digit, place: which image figure 6 follows: a digit or ANY, and its number among those, from 0.
    passes: how many figure 9 is made of. figures: by their names. zip_link: empty until somebody
    asks for it.
    """

    digit: gr.Dropdown
    place: gr.Number
    passes: gr.Slider
    figures: Mapping[str, gr.HTML]
    zip_link: gr.HTML


def build_figure_gallery(
    workspace: Workspace, models: Models, sheets: FigureSheets, shown: gr.State
) -> FigureGallery:
    """shown: of type Shown."""
    gr.Markdown("### Figures")
    with gr.Row(equal_height=True, elem_classes="model-row"):
        digit = gr.Dropdown(
            [ANY, *DIGITS],
            value=ANY,
            label="Digit to follow (figure 06)",
            info="of the first set",
            elem_id="evaluate-example-digit",
        )
        place = gr.Number(
            0,
            precision=0,
            minimum=0,
            label="Which of them",
            info="counted from 0",
            elem_id="evaluate-example",
        )
        passes = gr.Slider(
            1,
            MOST_PASSES,
            value=usual_passes(None),
            step=1,
            label="Passes (figure 09)",
            info="as of the next Evaluate; at first the model's epochs",
            elem_id="evaluate-passes",
        )
        zip_button = gr.Button("Zip of the nine", min_width=140, elem_id="evaluate-zip")
    zip_link = gr.HTML(elem_id="evaluate-zip-link")
    with gr.Row(elem_id="evaluate-gallery", equal_height=False):
        figures = {
            name: gr.HTML(
                css_template=STYLE,
                js_on_load=OPEN_JS,
                apply_default_css=False,
                elem_id=f"evaluate-figure-{name[:2]}",
            )
            for name in NAMES
        }

    @toasting
    def follow(now: Shown, digit: Any, place: Any, count: Any) -> str:
        if not now.sets:
            return ""
        evaluated = Evaluating(workspace, models, sheets, now.model, list(now.sets), count)
        return evaluated.feature_maps(digit, place)

    @toasting
    def pack(now: Shown, digit: Any, place: Any, count: Any) -> str:
        if not now.sets:
            raise DigitSetError("There are no figures yet; press Evaluate first.")
        evaluated = Evaluating(workspace, models, sheets, now.model, list(now.sets), count)
        name = f"{now.model}-figures.zip"
        return data_link(zip_of(evaluated.all_figures(digit, place)), "application/zip", name, name)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    inputs = [shown, digit, place, passes]
    for control in (digit, place):
        control.input(follow, inputs, figures["06_feature_maps"], **private)
    zip_button.click(pack, inputs, zip_link, **private).success(
        None, js="() => document.querySelector('#evaluate-zip-link a')?.click()", **private
    )
    return FigureGallery(digit, place, passes, figures, zip_link)
