"""The section of the Sketchpad tab that fine-tunes a model on feedback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gradio as gr
from cachetools import TTLCache, cached
from markupsafe import Markup

from digitcnn.errors import FeedbackError
from digitcnn.training.finetune import MAX_LOSS, ComparisonRow, FineTuningEnd
from digitcnn.training.finetune_job import FineTuningView
from digitcnn.training.finetune_training import FEWEST_SKETCHES, Sketches
from digitcnn.training.run_record import RUNNING
from digitcnn.ui.clock import REFRESH_JS, Version
from digitcnn.ui.context import Context
from digitcnn.ui.job_status import elapsed_text, job_status, progress_facts
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.tables import Cell, Value, accuracy_cell, table, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import counted, duration
from digitcnn.web.templates import render

# Every page asks once a second; the store is asked less often.
SECONDS_BETWEEN_COUNTS = 2.0


HEADERS = ("Images", "Count", "Difference (points)", "Before", "After")


def build_learn_section(context: Context) -> None:
    """Build the section, at the end of an open ``gr.Tab``; a copy of the chosen model is tuned."""
    workspace, models, access = context.workspace, context.models, context.access
    job, model_select = workspace.fine_tuning, context.model_select
    count = cached(TTLCache(1, SECONDS_BETWEEN_COUNTS), condition=threading.Condition())(
        workspace.feedback.count_labelled
    )
    with gr.Row(elem_classes="adapt"):
        gr.HTML(render("train/fine_tuning.html", max_loss=MAX_LOSS))
        status = gr.HTML(render("train/no_status.html"), elem_id="learn-status")
        start = gr.Button("Fine-tune on feedback", elem_id="learn-start", elem_classes="owner-only")
        stop = gr.Button(
            "Stop",
            variant="stop",
            interactive=False,
            elem_id="learn-stop",
            elem_classes="owner-only",
        )
        with gr.Row(visible=False) as choice:
            use_new = gr.Button("Use new model", elem_id="learn-use-new")
            use_old = gr.Button("Use old model", elem_id="learn-use-old")
        in_use = gr.HTML(elem_id="learn-in-use")
    rows = table_view("learn-table", "tight_table.css")

    @toasting
    def start_fine_tuning(request: gr.Request, token: str, model: str | None) -> Markup:
        access.require_owner(request, token, to="fine-tune a model")
        job.start(models.get(model), Sketches(*workspace.feedback.labelled()))
        return _status(job.view(), count())

    @toasting
    def stop_fine_tuning(request: gr.Request, token: str) -> None:
        access.require_owner(request, token, to="stop fine-tuning")
        job.stop()

    def choose(new: bool) -> Callable[[gr.Request], gr.Dropdown]:
        @toasting
        def choose_model(request: gr.Request) -> gr.Dropdown:
            ended = job.view().ended
            if ended is None or ended.checkpoint is None:
                raise FeedbackError("There is no fine-tuned model to use; fine-tune one first.")
            name = models.get(ended.checkpoint.stem if new else ended.base).name
            return gr.Dropdown(models.choices(request.session_hash), value=name)

        return choose_model

    context.with_token(start.click, start_fine_tuning, [model_select], status).then(
        None, js=REFRESH_JS
    )
    context.with_token(stop.click, stop_fine_tuning).then(None, js=REFRESH_JS)
    gr.on(
        [model_select.change, status.change],
        lambda model: in_use_badge(job.view().ended, model),
        model_select,
        in_use,
        queue=False,
        **PRIVATE,
    )
    use_new.click(choose(True), None, model_select, **PRIVATE)
    use_old.click(choose(False), None, model_select, **PRIVATE)

    def status_version() -> Version:
        view = job.view()
        running = view.state == RUNNING
        at = view.stopping if running else (view.version, count())
        return Version((view.state, at), in_progress=running)

    def result_version() -> Version:
        view = job.view()
        return Version(None if view.state == RUNNING else view.version)

    watch = context.clock.watch
    watch(
        lambda _: status_updates(job.view(), count()),
        [],
        [status, start, stop],
        version=status_version,
        status=status,
    )
    watch(lambda _: result_updates(job.view()), [], [rows, choice], version=result_version)


def in_use_badge(ended: FineTuningEnd | None, model: str | None) -> Markup:
    """Return a badge that says whether the chosen model is the fine-tuned one or the old one."""
    if (
        ended is None
        or ended.checkpoint is None
        or model not in (ended.base, ended.checkpoint.stem)
    ):
        return Markup()
    return render("train/model_in_use.html", new=model != ended.base)


def status_updates(view: FineTuningView, sketches: int) -> list[Any]:
    """Return the updates for the status, Start and Stop. sketches: how many are labelled."""
    running = view.state == RUNNING
    return [
        _status(view, sketches),
        gr.Button(interactive=not running and sketches >= FEWEST_SKETCHES),
        gr.Button(interactive=running and not view.stopping),
    ]


def result_updates(view: FineTuningView) -> list[Any]:
    """Return the updates for the table and the choice between the old and the new model."""
    return [comparison_table(view.ended), gr.Row(visible=bool(view.ended and view.ended.saved))]


def _status(view: FineTuningView, sketches: int) -> Markup:
    if view.state == RUNNING:
        phase = "stopping" if view.stopping else view.phase
        text, spoken = elapsed_text(view, phase), f"Fine-tuning {view.base}: {phase}"
        return job_status(view, text, subject=view.base, bar=_bar(view), spoken=spoken)
    available, bar = counted(sketches, "labelled sketch", "labelled sketches"), None
    if sketches < FEWEST_SKETCHES:
        available = f"{sketches} of {FEWEST_SKETCHES} labelled sketches needed to fine-tune"
        facts = "Sketches that are not a digit do not count."
        bar = {"label": available, "share": sketches / FEWEST_SKETCHES, "facts": facts}
    if not view.message:
        return job_status(view, f"{available}.", bar=bar)
    text, spoken = f"{view.message} ({available}.)", f"Fine-tuning {view.base}: {view.message}"
    return job_status(view, text, subject=view.base, bar=bar, spoken=spoken)


def _bar(view: FineTuningView) -> dict[str, Any]:
    progress = view.progress
    if progress is None:
        return {"label": "Fine-tuning progress", "share": 0.0, "facts": ""}
    return {
        "label": "Fine-tuning progress",
        "share": progress.step / progress.steps,
        "facts": f"{progress_facts(progress)} · {duration(progress.seconds_left)} left",
    }


def comparison_table(ended: FineTuningEnd | None) -> Markup:
    """Return both models side by side as a table; empty where they were not compared."""
    if ended is None or not ended.rows:
        return Markup()
    label = f"{ended.base} before and after fine-tuning"
    return render(
        "train/fine_tuning_comparison.html",
        table=table(HEADERS, [_row(row) for row in ended.rows], label=label, caption=True),
        saved=ended.saved,
    )


def _row(row: ComparisonRow) -> list[Value]:
    return [
        row.title if row.decides else f"{row.title} (for information)",
        row.n,
        Cell(f"{row.difference:+.2f} ({row.low:+.2f} to {row.high:+.2f})", row.difference),
        accuracy_cell(row.before, row.n),
        accuracy_cell(row.after, row.n),
    ]
