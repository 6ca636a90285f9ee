"""The Stability tab: how the accuracy moves, and which answers flip, when dropout stays on.

The numbers are ``analysis.stability``'s; the command line's are the same, with the same seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from digitcnn.analysis import stability
from digitcnn.analysis.stability import PassResult, Stability
from digitcnn.errors import CheckpointError, DigitCNNError, DigitSetError
from digitcnn.network.model import DROPOUT, FEATURES
from digitcnn.options import MASKS, MOST_PASSES, Masks, check_passes, usual_passes
from digitcnn.ui.background import SECONDS_BETWEEN_LOOKS, telling
from digitcnn.ui.models import Models
from digitcnn.ui.parts import results_view, status_line
from digitcnn.ui.set_chooser import choices
from digitcnn.ui.stability_charts import (
    BOX_WIDTH,
    CHARTS_STYLE,
    LINE_WIDTH,
    box_chart,
    chart,
    line_chart,
)
from digitcnn.ui.stability_view import (
    GALLERY_STYLE,
    flips_table,
    gallery_of,
    summary_line,
    summary_table,
    words_of,
)
from digitcnn.ui.tables import table_view
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

# At most so many runs of passes at a time, whoever presses; the others wait for their turn.
AT_A_TIME = 2

INTRODUCTION = (
    f"**Dropout** switches a random {100 * DROPOUT:.0f}\u00a0% of the {FEATURES} neurons before "
    "the output off, in training only, so that no answer hangs on single neurons. Here it stays "
    "on, and the whole set is answered again and again, each time a **pass** with other neurons "
    "off. Which ones is the **mask**: with **independent masks** every image has its own; with "
    "**one mask per pass** it is the same for all images, so each pass is a **thinned network**, "
    "the same one without those neurons. The **standard deviation** says how far the passes' "
    "accuracies typically lie from their mean: the smaller, the steadier."
)

NOTHING_YET = (
    "Nothing is measured yet. Press Measure: the accuracy of every pass is drawn as it comes, then "
    "follow a verdict and the images whose answers change."
)


def build_stability_tab(workspace: Workspace, models: Models, model_select: gr.Dropdown) -> None:
    """Build the tab inside an open ``gr.Tab``.

    model_select: its value is the name of the checkpoint that is looked at.
    """
    gr.Markdown(INTRODUCTION)
    with gr.Row(equal_height=True, elem_classes="model-row"):
        digits = gr.Dropdown(
            choices(workspace),
            value=_default_set(workspace),
            label="Digit set",
            info="what is answered",
            scale=2,
            elem_id="stability-digits",
        )
        passes = gr.Slider(
            1,
            MOST_PASSES,
            value=usual_passes(None),
            step=1,
            label="Passes of each kind",
            info="at first as many as the model has epochs of training",
            scale=3,
            elem_id="stability-passes",
        )
        run = gr.Button(
            "Measure", variant="primary", scale=1, min_width=120, elem_id="stability-run"
        )
    status = gr.HTML(status_line(NOTHING_YET), elem_id="stability-status")
    with results_view("stability-results"):
        with gr.Row(equal_height=False):
            # As wide as the charts' own widths, so that their letters are of one size.
            with gr.Column(scale=LINE_WIDTH // 20, min_width=300):
                line = _charts("stability-line")
            with gr.Column(scale=BOX_WIDTH // 20, min_width=240):
                box = _charts("stability-box")
        summary = table_view(elem_id="stability-table")
        words = gr.HTML("", elem_id="stability-words")
        flips = table_view(elem_id="stability-flips")
        gallery = gr.HTML(
            "", css_template=GALLERY_STYLE, apply_default_css=False, elem_id="stability-gallery"
        )
    outputs = [status, run, line, box, summary, words, flips, gallery]

    @toasting
    def sets_here() -> gr.Dropdown:
        """What is on this machine now, not when the app was started; the choice stays."""
        return gr.Dropdown(choices(workspace))

    def passes_of(name: str | None) -> int:
        try:
            return usual_passes(models.get(name).details.epochs)
        except CheckpointError:
            # The selector follows within a second; what is pressed meanwhile says so.
            return usual_passes(None)

    def wait() -> list[Any]:
        return [status_line("Waiting for its turn."), gr.Button(interactive=False)]

    @toasting
    def measure(name: str | None, digits: Any, passes: Any) -> Iterator[list[Any]]:
        try:
            for looks in measured(workspace, models, name, digits, passes):
                yield [looks.get(part, gr.skip()) for part in PARTS]
        except DigitCNNError:
            yield [status_line("Nothing was measured."), gr.Button(interactive=True)] + (
                [gr.skip()] * (len(PARTS) - 2)
            )
            raise

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # Without triggers: when the page loads and whenever an input changes.
    gr.on(None, sets_here, [], digits, queue=False, **quiet)
    gr.on(None, passes_of, model_select, passes, queue=False, **quiet)
    run.click(wait, None, [status, run], queue=False, **quiet).then(
        measure, [model_select, digits, passes], outputs, concurrency_limit=AT_A_TIME, **quiet
    )


# The order of the outputs.
PARTS = ("status", "run", "line", "box", "table", "words", "flips", "gallery")

# Before the first pass.
_NONE: dict[Masks, tuple[float, ...]] = dict.fromkeys(MASKS, ())

# Some of the outputs, by their names in PARTS; the others stay as they are.
Looks = dict[str, Any]


def measured(
    workspace: Workspace, models: Models, name: str | None, digits: Any, passes: Any
) -> Iterator[Looks]:
    """What the page shows from the press of the button to the end.

    Raises DigitCNNError before anything is shown where nothing can be measured.
    """
    if not isinstance(digits, str):
        raise DigitSetError("No digit set is chosen; choose one beside the button.")
    count = int(passes) if isinstance(passes, float) and passes.is_integer() else passes
    checkpoint = models.get(name)
    digit_set = workspace.catalog.open(digits, "test")
    title = f"{digit_set.name} {digit_set.split}"
    network, scale = checkpoint.network, checkpoint.temperature
    # A wrong number of passes is refused before anything is computed.
    check_passes(count)
    yield {
        "status": status_line(f"Computing the features of {title}.", 0.0),
        "line": chart(line_chart(title, {}, count, None), wide=True),
        "box": chart(box_chart(title, _NONE, None)),
        **dict.fromkeys(("table", "words", "flips", "gallery"), ""),
    }
    predictions = yield from telling(
        lambda progress: workspace.predict(checkpoint, digit_set, progress=progress, features=True),
        f"Computing the features of {title}",
        lambda line: {"status": line},
    )
    without = float(predictions.right.double().mean())
    accuracies: dict[Masks, list[float]] = {masks: [] for masks in MASKS}
    found: list[Stability] = []
    both = zip(
        *(
            stability.passes(network, predictions, count, masks=masks, temperature=scale)
            for masks in MASKS
        ),
        strict=True,
    )
    looked = 0.0
    for results in both:
        for masks, result in zip(MASKS, results, strict=True):
            if isinstance(result, PassResult):
                accuracies[masks].append(result.accuracy)
            else:
                found.append(result)
        if found or time.monotonic() - looked >= SECONDS_BETWEEN_LOOKS:
            looked = time.monotonic()
            done = len(accuracies["independent"])
            yield {
                "status": status_line(f"Pass {done} of {count} on {title}.", done / count),
                "line": chart(line_chart(title, accuracies, count, without), wide=True),
            }
    yield {
        "status": status_line(summary_line(checkpoint, found[0])),
        "run": gr.Button(interactive=True),
        "box": chart(box_chart(title, accuracies, without)),
        "table": summary_table(found),
        "words": words_of(found),
        "flips": flips_table(found),
        "gallery": gallery_of(found, digit_set),
    }


def _charts(elem_id: str) -> gr.HTML:
    return gr.HTML("", css_template=CHARTS_STYLE, apply_default_css=False, elem_id=elem_id)


def _default_set(workspace: Workspace) -> str:
    """Return MNIST if it is available, or damaged: opening it reports that; else synthetic."""
    mnist = workspace.catalog.entry("mnist", "test")
    return "mnist" if mnist.present or mnist.problem else "synthetic"
