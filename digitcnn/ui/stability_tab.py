"""The Stability tab: how accuracy varies, and which predictions change, with dropout on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from digitcnn.analysis.events import Event, Notify
from digitcnn.analysis.stability import PassResult, Stability
from digitcnn.errors import DigitSetError
from digitcnn.network.model import DROPOUT, FEATURES
from digitcnn.options import MASKS, Masks
from digitcnn.services.evaluation import check_measurable, measure_stability
from digitcnn.ui.background import status_update, updates_of
from digitcnn.ui.context import Context
from digitcnn.ui.models import Models
from digitcnn.ui.parts import (
    PRIVATE,
    ViewUpdate,
    announced,
    html_view,
    status_line,
    whole,
)
from digitcnn.ui.passes import checked_passes, passes_slider
from digitcnn.ui.results import Computation, Results, RunButtons, results_view
from digitcnn.ui.set_chooser import set_choices, usual_set
from digitcnn.ui.stability_view import (
    BOX_WIDTH,
    LINE_WIDTH,
    badge,
    box_chart,
    entropy_tables,
    flips_table,
    line_chart,
    shakiest,
    summary_line,
    summary_table,
    words,
)
from digitcnn.ui.subject import Subject
from digitcnn.ui.tables import table_view
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import counted
from digitcnn.workspace import Workspace

# Measurements at a time, for all pages together; the others wait in the queue.
AT_A_TIME = 2

# In full, for those who unfold it.
KINDS = (
    f"**Dropout** turns off a random {100 * DROPOUT:.0f}% of the {FEATURES} neurons before the "
    "output layer during training, so that no prediction depends on single neurons. Here it stays "
    "on while the whole set is classified repeatedly; each **pass** turns off different neurons. "
    "The **mask** says which: **independent masks** differ per image; **one mask per pass** is "
    "shared by all images, so each pass tests a **thinned network**. The **standard deviation** "
    "shows how much accuracy varies between passes: smaller is steadier."
)

ENTROPY = (
    "**Entropy**: uncertainty of the mean probabilities, from 0 (certain) to 2.303 nats (all "
    "digits equally likely). **Mutual information**: the part of it that is due to disagreement "
    "between the passes."
)

NO_RESULTS = (
    "No results yet. Press Measure to see the accuracy of each pass, a verdict, and the images "
    "whose predictions change."
)


def build_stability_tab(context: Context, tab: gr.Tab) -> None:
    """Build the tab inside the open ``tab``."""
    workspace, models = context.workspace, context.models
    gr.Markdown(
        "How much does the accuracy vary when a random part of the neurons is switched off?",
        elem_classes="lead-in",
    )
    with gr.Row(equal_height=True):
        digits = gr.Dropdown(
            set_choices(workspace, "test"),
            value=usual_set(workspace, "test"),
            label="Digit set",
            info="Images to classify",
            scale=2,
            min_width=240,
            elem_id="stability-digits",
        )
        announced(digits)
        passes = passes_slider(
            context,
            label="Passes per mask type",
            info="Default: the model's number of training epochs",
            scale=3,
            min_width=240,
            elem_id="stability-passes",
        )
        announced(passes)
    buttons = RunButtons("Measure", "stability", "primary")
    status = gr.HTML(status_line(NO_RESULTS), elem_id="stability-status")
    results = Results("stability", "Measurement", "Measure")
    parts = results.parts
    parts["status"] = status
    with results_view("stability-results"):
        parts["badge"] = html_view("stability-badge", "stability.css")
        with gr.Row(equal_height=False, elem_classes="stability-charts"):
            # As wide as the charts, so that their letters have one size.
            with gr.Column(scale=LINE_WIDTH // 20, min_width=300):
                parts["line"] = html_view("stability-line")
            with gr.Column(scale=BOX_WIDTH // 20, min_width=240):
                parts["box"] = html_view("stability-box")
        parts["table"] = table_view(elem_id="stability-table")
        parts["gallery"] = html_view("stability-gallery", "stability.css")
        with gr.Accordion("The two kinds of mask, per digit, entropy", open=False):
            gr.Markdown(KINDS)
            parts["words"] = gr.HTML(elem_id="stability-words")
            parts["flips"] = table_view(elem_id="stability-flips")
            gr.Markdown(ENTROPY)
            parts["entropy"] = table_view(elem_id="stability-entropy")

    @toasting
    def available_sets() -> gr.Dropdown:
        """Offer the sets available now, not at the app's start; the choice stays."""
        return gr.Dropdown(set_choices(workspace, "test"))

    # Without triggers: when the page loads and whenever an input changes.
    gr.on(None, available_sets, [], digits, queue=False, **PRIVATE)
    results.connect(
        buttons,
        Computation(
            [context.model_select, digits, passes],
            partial(stability_subject, workspace, models),
            lambda _, subject, passes: stability_steps(workspace, models, subject, passes),
            further=[passes],
            at_a_time=AT_A_TIME,
        ),
        opens=tab,
    )


def stability_subject(
    workspace: Workspace, models: Models, name: Any, digits: Any, passes: Any
) -> Subject:
    """Check a page's choice, of any type. Raises DigitCNNError for what cannot be measured."""
    if not isinstance(digits, str):
        raise DigitSetError("No digit set is chosen; choose one.", field="digits")
    setting = counted(checked_passes(passes), "pass", "passes")
    return replace(Subject.of(workspace, models, [name], [digits]), setting=setting)


def stability_steps(
    workspace: Workspace, models: Models, subject: Subject, passes: Any
) -> Iterator[ViewUpdate]:
    """Yield what the page shows from the press of the button to the end.

    passes: what a page sent, from anybody. Raises DigitCNNError before anything is shown where
    nothing can be measured.
    """
    passes = whole(passes)
    (checkpoint,), digit_set = subject.open(workspace, models, subject.sets[0])
    title = digit_set.title
    accuracies: dict[Masks, list[float]] = {masks: [] for masks in MASKS}

    def work(notify: Notify) -> list[Stability]:
        def collect(event: Event) -> None:
            if isinstance(event, PassResult):
                accuracies[event.masks].append(event.accuracy)
            notify(event)

        return measure_stability(
            checkpoint, digit_set, passes, predict=workspace.predict, notify=collect
        )

    def charts(without: float | None) -> ViewUpdate:
        # Independent of the thread that adds to them.
        so_far = {masks: tuple(values) for masks, values in accuracies.items()}
        return {
            "line": line_chart(title, so_far, passes, without),
            "box": box_chart(title, so_far, without),
        }

    def show(event: Event) -> ViewUpdate | None:
        update = status_update(event)
        if update is not None and isinstance(event, PassResult):
            update["line"] = charts(None)["line"]
        return update

    check_measurable(checkpoint, passes)
    yield {
        "status": status_line(f"Computing the features of {title}.", 0.0),
        **charts(None),
        **dict.fromkeys(("badge", "table", "words", "flips", "gallery", "entropy"), ""),
    }
    results = yield from updates_of(work, show)
    yield {
        "status": status_line(summary_line(checkpoint, results[0])),
        "badge": badge(checkpoint, results),
        **charts(results[0].accuracy),
        "table": summary_table(results),
        "words": words(results),
        "flips": flips_table(results),
        "gallery": shakiest(results, digit_set),
        "entropy": entropy_tables(results),
    }
