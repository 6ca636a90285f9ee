"""The Evaluate tab: how good a network is on several test sets, where it errs, and why.

One forward pass per set, kept for the next time; every number, figure and image is made of its
answers. Nothing but the nine figures of a run is written, and only for the owner. The sections
are built by ``set_chooser``, ``error_browser``, ``figure_gallery``, ``gap_section`` and
``robustness_section``; what a press of the button shows comes from ``evaluating``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from digitcnn.errors import CheckpointError
from digitcnn.options import usual_passes
from digitcnn.ui.access import WITH_TOKEN_JS, Access
from digitcnn.ui.error_browser import ANY, ANY_WRONG, build_error_browser
from digitcnn.ui.evaluating import Evaluating, Looks
from digitcnn.ui.evaluation_view import LINKS_STYLE
from digitcnn.ui.figure_gallery import build_figure_gallery
from digitcnn.ui.figure_sheets import FigureSheets
from digitcnn.ui.gap_section import build_gap_section
from digitcnn.ui.models import Models
from digitcnn.ui.parts import results_view, status_line
from digitcnn.ui.robustness_section import build_robustness_section
from digitcnn.ui.set_chooser import build_set_chooser
from digitcnn.ui.shown import Shown
from digitcnn.ui.tables import table_view
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

NOTHING_YET = (
    "Nothing is evaluated yet. Press Evaluate: the numbers come first, then the images that are "
    "answered wrongly, nine figures, where the gap comes from, and robustness."
)


def build_evaluate_tab(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    page: gr.Blocks,
) -> None:
    """Build the tab inside an open ``gr.Tab`` of ``page``.

    model_select: its value is the name of the checkpoint that is evaluated.
    """
    sheets = FigureSheets()
    shown = gr.State(Shown())
    gr.Markdown(
        "Score the model on test sets it has never seen: accuracy with its 95 % interval, "
        "calibration, nine figures, and the very images it gets wrong."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            digits = build_set_chooser(workspace, access, owner_token, page)
        with gr.Column(scale=2, min_width=280):
            run = gr.Button("Evaluate", variant="primary", elem_id="evaluate-run")
    status = gr.HTML(status_line(NOTHING_YET), elem_id="evaluate-status")
    with results_view("evaluate-results"):
        table = table_view(elem_id="evaluate-table")
        words = gr.HTML(css_template=LINKS_STYLE, elem_id="evaluate-words")
        with gr.Accordion("Per digit", open=False):
            per_digit = table_view(elem_id="evaluate-per-digit")
        browser = build_error_browser(workspace, models, shown)
        gallery = build_figure_gallery(workspace, models, sheets, shown)
        gap = build_gap_section(workspace, models, shown, browser.digits)
        robustness = build_robustness_section(workspace, models, shown, browser.digits)

    parts: dict[str, Any] = {
        "status": status,
        "run": run,
        "table": table,
        "words": words,
        "per_digit": per_digit,
        **gallery.figures,
        "zip": gallery.zip_link,
        "matrices": browser.matrices,
        "error_set": browser.digits,
        "true": browser.true,
        "predicted": browser.predicted,
        "errors": browser.images,
        "gap_status": gap.status,
        "gap": gap.figure,
        "robustness_status": robustness.status,
        "robustness": robustness.figure,
        "robustness_table": robustness.table,
        "shown": shown,
    }

    def updates(looks: Looks) -> list[Any]:
        if "shown" in looks:
            names = list(looks["shown"].sets)
            looks = looks | {"true": ANY, "predicted": ANY_WRONG}
            looks["error_set"] = gr.Dropdown(names, value=names[0])
        return [looks.get(part, gr.skip()) for part in parts]

    def passes_of(name: str | None) -> int:
        try:
            return usual_passes(models.get(name).details.epochs)
        except CheckpointError:
            # The selector follows within a second; what is pressed meanwhile says so.
            return usual_passes(None)

    def wait() -> list[Any]:
        return [status_line("Waiting for its turn."), gr.Button(interactive=False)]

    @toasting
    def score(
        request: gr.Request,
        token: str,
        name: str | None,
        chosen: Any,
        digit: Any,
        place: Any,
        n: Any,
    ) -> Iterator[list[Any]]:
        try:
            evaluated = Evaluating(workspace, models, sheets, name, chosen, n)
            keep = access.is_owner(request, token)
            for looks in evaluated.steps(digit, place, keep=keep):
                yield updates(looks)
        except Exception:
            # Gradio runs no further step after one that fails, so the button comes back here.
            yield updates(
                {
                    "status": status_line("Nothing more was evaluated."),
                    "run": gr.Button(interactive=True),
                }
            )
            raise
        yield updates({"run": gr.Button(interactive=True)})

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # Without triggers: when the page loads and whenever the selection changes.
    gr.on(None, passes_of, model_select, gallery.passes, queue=False, **private)
    run.click(wait, None, [status, run], queue=False, **private).then(
        score,
        [owner_token, model_select, digits, gallery.digit, gallery.place, gallery.passes],
        list(parts.values()),
        js=WITH_TOKEN_JS,
        **private,
    )
