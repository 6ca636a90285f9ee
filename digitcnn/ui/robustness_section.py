"""The section of the Evaluate tab with the robustness curves, and MNIST-C where it is downloaded.

The Compare tab draws several models' curves in one figure with the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import gradio as gr
from markupsafe import Markup

from digitcnn.analysis.adversarial import AttackCurve
from digitcnn.analysis.events import ImagesProcessed, Notify
from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.mnist_c import CorruptionSummary, plain_errors, summary_of
from digitcnn.analysis.robustness import MOST_IMAGES, Robustness
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import CORRUPTIONS, MNIST_C_SETS, written
from digitcnn.intervals import percent
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.evaluation import classify
from digitcnn.ui.background import status_update, updates_of
from digitcnn.ui.models import Models
from digitcnn.ui.parts import ViewUpdate, figure_place, opening_figure, status_line
from digitcnn.ui.results import Results, RunButtons
from digitcnn.ui.subject import Subject
from digitcnn.ui.tables import Cell, Value, accuracy_cell, share_cell, table, table_view
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace


def build_robustness_section(
    workspace: Workspace, models: Models, results: Results, digits: gr.Dropdown
) -> gr.State:
    """Build the section, which measures the models of a tab's results. digits: names the set.

    Returns what it shows, ``{"figure", "table", "stamp"}``, empty at first. Where several models
    are compared the figure has a curve per model.
    """
    elem_id = f"{results.tab}-robustness"
    gr.Markdown(
        "### Robustness\nHow well does the accuracy hold up on distorted images? *Measure "
        f"robustness* takes {MOST_IMAGES:,} images of the test set chosen above (all of a smaller "
        "set) and rotates, shifts, scales, thickens, thins and blurs them, adds noise, fog or "
        "stripes, lowers the contrast, or covers a square, one distortion at a time. It also "
        "attacks them with slight changes in the direction that misleads the model most. If "
        "MNIST-C is downloaded, its fifteen corruptions are measured as well."
    )
    buttons = RunButtons("Measure robustness", elem_id)
    shown = gr.State({})
    components = {
        "status": gr.HTML(elem_id=f"{elem_id}-status"),
        "figure": figure_place(elem_id),
        "table": table_view(elem_id=f"{elem_id}-table"),
        "shown": shown,
    }

    def measure(view: Subject, name: Any) -> Iterator[ViewUpdate]:
        yield {"shown": {}}
        checkpoints, digit_set = view.open(workspace, models, name)
        for update in robustness_steps(workspace, checkpoints, view.names, digit_set):
            yield {**update, "shown": {**update, "stamp": view.stamp}}

    results.connect_part(buttons, components, digits, measure)
    return shown


def robustness_steps(
    workspace: Workspace,
    checkpoints: Sequence[Checkpoint],
    names: Sequence[str],
    digit_set: DigitSet,
) -> Iterator[ViewUpdate]:
    """Yield status, figure and table, step by step. names: of the models, for people."""
    corrupted = all(workspace.catalog.has(name, "test") for name in MNIST_C_SETS)

    def work(notify: Notify) -> tuple[list[Robustness], list[CorruptionSummary]]:
        results: list[Robustness] = []
        summaries: list[CorruptionSummary] = []
        for checkpoint, name in zip(checkpoints, names, strict=True):
            task = f"{name} on distorted and attacked {written(digit_set.name)} images"

            def progress(done: int, total: int, task: str = task) -> None:
                notify(ImagesProcessed(task, done, total))

            results.append(workspace.robustness(checkpoint, digit_set, progress=progress))
            if corrupted:
                summaries.append(_corruptions(workspace, checkpoint, name, notify))
        return results, summaries

    results, summaries = yield from updates_of(work, status_update)
    from digitcnn.analysis import figures  # here, because it imports matplotlib

    alt = f"Accuracy of {', '.join(names)} on {digit_set.title} by strength of distortion or attack"
    yield {
        "status": status_line(f"Done: {digit_set.title}."),
        "figure": opening_figure(
            "robustness", alt, figures.rendered(figures.robustness_curves(results, names))
        ),
        "table": robustness_table(results, names)
        + attack_table(results, names)
        + corruption_table(summaries, names),
    }


def _corruptions(
    workspace: Workspace, checkpoint: Checkpoint, name: str, notify: Notify
) -> CorruptionSummary:
    """Evaluate a model on all of MNIST-C. name: of the model, for people."""
    evaluations = [
        evaluate(
            classify(
                workspace.predict,
                checkpoint,
                workspace.catalog.open(one, "test"),
                name=name,
                notify=notify,
            )
        )
        for one in MNIST_C_SETS
    ]
    summary = summary_of(evaluations)
    assert summary is not None
    return summary


def corruption_table(summaries: Sequence[CorruptionSummary], names: Sequence[str]) -> Markup:
    """Render the errors on MNIST-C: a row per corruption, a column per model; empty for none."""
    if not summaries:
        return Markup()
    columns = [*(one.errors for one in summaries), plain_errors()]
    means = [*(one.mean_error for one in summaries), fmean(plain_errors().values())]
    ratios = [*(one.ratio for one in summaries), 1.0]
    return table(
        ["Corruption", *names, "Plain CNN"],
        [
            [name.replace("_", " "), *(share_cell(one[name]) for one in columns)]
            for name in CORRUPTIONS
        ],
        footer=[
            ["Mean", *(share_cell(mean) for mean in means)],
            ["Ratio to the plain CNN", *(Cell(f"{ratio:.2f}", ratio) for ratio in ratios)],
        ],
        label="Error on MNIST-C",
        caption=True,
    )


def robustness_table(results: Sequence[Robustness], names: Sequence[str]) -> Markup:
    """Render accuracies with their intervals: a row per distortion, a column per model."""
    first = results[0]
    undistorted = [accuracy_cell(one.unchanged / one.n, one.n) for one in results]
    rows: list[list[Value]] = [["Undistorted", *undistorted]]
    for place, curve in enumerate(first.curves):
        rows += [
            [
                f"{curve.axis.name} {curve.axis.text(value)}",
                *(accuracy_cell(one.curves[place].at(value) / one.n, one.n) for one in results),
            ]
            for value in curve.axis.marked
        ]
    return table(
        ["Distortion", *names],
        rows,
        label=f"Accuracy on {first.n:,} images of the {first.title} set, 95% interval",
        caption=True,
    )


def attack_table(results: Sequence[Robustness], names: Sequence[str]) -> Markup:
    """Render accuracies under attack and under noise of the same size, and a sentence per model."""
    curves = [(name, one.attack) for name, one in zip(names, results, strict=True)]
    attacked = [(name, curve) for name, curve in curves if curve is not None]
    words = render("paragraphs.html", sentences=[_attack_sentence(*one) for one in curves])
    if not attacked:
        return words
    first = attacked[0][1]
    rows: list[list[Value]] = [
        [
            _size_text(size, first.ink),
            *(
                accuracy_cell(right[place] / curve.n, curve.n)
                for _, curve in attacked
                for right in (curve.attacked, curve.noise)
            ),
        ]
        for place, size in enumerate(first.sizes)
        if size > 0
    ]
    cells = table(
        [
            "Size of the change",
            *(f"{name}: {kind}" for name, _ in attacked for kind in ("attack", "random noise")),
        ],
        rows,
        label=f"Accuracy under attack on {first.n:,} images of the {results[0].title} set, "
        "95% interval",
        caption=True,
    )
    return cells + words


def _attack_sentence(name: str, curve: AttackCurve | None) -> str:
    """Return the smallest size at which a model loses half of its accuracy, in words."""
    if curve is None:
        return f"{name} does not provide gradients, so it cannot be attacked."
    for size, right, noise in zip(curve.sizes, curve.attacked, curve.noise, strict=True):
        if size > 0 and right <= curve.attacked[0] / 2:
            return (
                f"Attacks of size {_size_text(size, curve.ink)} cost {name} at least half of its "
                f"accuracy; with random noise of that size the accuracy is still "
                f"{percent(noise / curve.n)}."
            )
    return f"No attack up to size {curve.sizes[-1]:g} costs {name} half of its accuracy."


def _size_text(size: float, ink: float) -> str:
    """Return a size of change, and the share of an average digit's ink that it is."""
    return f"{size:g}" + (f" ({size / ink:.0%} of the ink)" if ink else "")
