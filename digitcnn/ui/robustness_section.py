"""How much change an answer bears: the section of the Evaluate tab with the robustness curves.

Compare shows several networks' curves in one figure by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.analysis import figures
from digitcnn.analysis.metrics import accuracy_text
from digitcnn.analysis.robustness import MOST_IMAGES, Robustness
from digitcnn.errors import DigitCNNError
from digitcnn.ui import figure_sheets
from digitcnn.ui.background import telling
from digitcnn.ui.models import Models
from digitcnn.ui.parts import status_line
from digitcnn.ui.shown import Shown, opened
from digitcnn.ui.tables import Cell, Value, table, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

WHAT_IT_IS = (
    f"{MOST_IMAGES:,} images, spread evenly over the set, or all of a smaller one, are turned, "
    "moved, scaled, drawn thicker or thinner and blurred, one change at a time: how long does the "
    "accuracy hold?"
)


@dataclass(frozen=True)
class RobustnessSection:
    """The places of the section that a new evaluation empties."""

    status: gr.HTML
    figure: gr.HTML
    table: gr.HTML


def build_robustness_section(
    workspace: Workspace, models: Models, shown: gr.State, digits: gr.Dropdown
) -> RobustnessSection:
    """shown: of type Shown. digits: its value is the name of the set."""
    gr.Markdown(f"### Robustness\nOf the digit set chosen under Errors, {WHAT_IT_IS}")
    run = gr.Button("Measure robustness", elem_id="evaluate-robustness-run")
    section = RobustnessSection(
        status=gr.HTML(elem_id="evaluate-robustness-status"),
        figure=figure_view("evaluate-robustness"),
        table=table_view(elem_id="evaluate-robustness-table"),
    )

    @toasting
    def measure(now: Shown, name: Any) -> Iterator[list[Any]]:
        try:
            yield from robustness_looks(workspace, models, now, name)
        except DigitCNNError as error:
            yield [status_line(str(error)), "", ""]

    run.click(
        measure,
        [shown, digits],
        [section.status, section.figure, section.table],
        api_visibility="private",
        show_progress="hidden",
    )
    return section


def figure_view(elem_id: str) -> gr.HTML:
    """A place on the page for the figure, which opens in full when it is clicked."""
    return gr.HTML(
        css_template=figure_sheets.STYLE,
        js_on_load=figure_sheets.OPEN_JS,
        apply_default_css=False,
        elem_id=elem_id,
    )


def robustness_looks(
    workspace: Workspace, models: Models, now: Shown, name: Any
) -> Iterator[list[Any]]:
    """Status, figure and table, step by step. Raises DigitCNNError for what is not there."""
    checkpoint, digit_set = opened(workspace, models, now, name)
    found: Robustness = yield from telling(
        lambda progress: workspace.robustness(checkpoint, digit_set, progress=progress),
        f"{checkpoint.name} on changed images of {digit_set.name}",
        lambda line: [line, gr.skip(), gr.skip()],
    )
    yield [status_line(f"Done: {found.title}."), *robustness_views([found], [checkpoint.name])]


def robustness_views(found: Sequence[Robustness], names: Sequence[str]) -> list[str]:
    """Figure and table of one or several networks on the same images."""
    png = figures.png(figures.robustness_curves(found, names))
    alt = f"Accuracy of {', '.join(names)} on {found[0].title} as the images are changed"
    return [figure_sheets.opening_figure("robustness", alt, png), robustness_table(found, names)]


def robustness_table(found: Sequence[Robustness], names: Sequence[str]) -> str:
    """Accuracies with their intervals: a row per change at some strengths, a column per network."""
    first = found[0]
    rows: list[list[Value]] = [["unchanged", *(_cell(one.unchanged, one.n) for one in found)]]
    for place, curve in enumerate(first.curves):
        rows += [
            [
                f"{curve.axis.name} {curve.axis.text(value)}",
                *(_cell(one.curves[place].at(value), one.n) for one in found),
            ]
            for value in curve.axis.marked
        ]
    return table(
        ["change", *names],
        rows,
        label=f"Accuracy on {first.n:,} images of {first.title}, 95 % interval",
        caption=True,
    )


def _cell(right: int, n: int) -> Cell:
    return Cell(accuracy_text(right / n, n), right / n)
