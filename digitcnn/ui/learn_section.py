"""It learns your hand: the section of the Sketchpad tab where a model is tuned on feedback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from typing import Any

import gradio as gr
import torch
from markupsafe import Markup

from digitcnn.analysis.metrics import accuracy_text
from digitcnn.errors import DigitCNNError, FeedbackError
from digitcnn.feedback.store import FeedbackStore
from digitcnn.training.finetune import FineTuningEnd
from digitcnn.training.finetune_job import FineTuningView
from digitcnn.training.finetune_verdict import MAX_LOSS, ComparisonRow
from digitcnn.training.run_record import RUNNING
from digitcnn.training.sketches import FEWEST_SKETCHES, Sketches
from digitcnn.ui.access import Access
from digitcnn.ui.clock import Clock, News
from digitcnn.ui.models import Models
from digitcnn.ui.tables import Cell, Value, table, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import duration
from digitcnn.workspace import Workspace

# Every page asks once a second; the store need not be.
SECONDS_BETWEEN_COUNTS = 2.0

# Five columns side by side on a page of 1,200 pixels.
_TIGHT = "th, td, thead button { padding: 6px 7px; }"

HEADERS = ("images", "count", "difference, points", "before", "after")


@dataclass(frozen=True)
class Watching:
    """What the page shows already: the job's version, and how many sketches there were."""

    version: int = -1
    sketches: int = -1


class SketchCount:
    """How many sketches have their digit, asked of the store now and then. Thread-safe.

    clock: seconds that only grow.
    """

    def __init__(
        self, count: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._clock = count, clock
        self._lock = threading.Lock()
        self._found, self._asked = 0, -SECONDS_BETWEEN_COUNTS

    def now(self) -> int:
        """Raises FeedbackError where the store cannot be read."""
        with self._lock:
            if self._clock() - self._asked >= SECONDS_BETWEEN_COUNTS:
                self._found = self._count()
                self._asked = self._clock()
            return self._found


def build_learn_section(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    clock: Clock,
) -> None:
    """The section, at the end of an open ``gr.Tab``.

    model_select: its value is the name of the model that a copy is tuned of.
    owner_token: the hidden field that carries the owner's token to the handlers that need it.
    """
    job = workspace.fine_tuning
    count = SketchCount(workspace.feedback.count_labelled)
    gr.HTML(
        "<h3>It learns your hand</h3><p>A copy of the model learns from every other sketch of each "
        "visitor, mixed with the images that the model was trained on. It is kept only if it is "
        "not worse on the other half of the sketches and has not lost "
        f"{MAX_LOSS} points on the held-out images. The old model stays.</p>",
        elem_classes="learn-words",
    )
    with gr.Row(elem_classes="learn-buttons"):
        start = gr.Button("Learn from feedback", variant="primary", elem_id="learn-start")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="learn-stop")
    status = gr.HTML('<div class="status"></div>', elem_id="learn-status")
    rows = table_view(elem_id="learn-table", style=_TIGHT)
    with gr.Row(visible=False, elem_classes="learn-buttons") as choice:
        use_new = gr.Button("Use the new model", elem_id="learn-use-new")
        use_old = gr.Button("Back to the old model", elem_id="learn-use-old")
    seen = gr.State(Watching())
    watched = [status, rows, choice, start, stop, seen]

    def watch(request: gr.Request, seen: Watching) -> list[Any]:
        """Runs by itself on every page, so what goes wrong is no toast but a line."""
        try:
            return look(job.view(), count.now(), seen)
        except DigitCNNError as error:
            return [_status("idle", escape(str(error)), ""), *[gr.skip()] * (len(watched) - 1)]

    @toasting
    def begin(request: gr.Request, token: str, model: str | None) -> list[Any]:
        access.require_owner(request, token, to="let a model learn from feedback")
        job.start(models.get(model), sketches_of(workspace.feedback))
        return look(job.view(), count.now(), Watching())

    @toasting
    def end(request: gr.Request, token: str) -> list[Any]:
        access.require_owner(request, token, to="stop the learning")
        job.stop()
        return look(job.view(), count.now(), Watching())

    def choose(new: bool) -> Callable[[gr.Request], gr.Dropdown]:
        @toasting
        def chosen(request: gr.Request) -> gr.Dropdown:
            ended = job.view().ended
            if ended is None or ended.checkpoint is None:
                raise FeedbackError("No model that learned from feedback was kept; start it again.")
            name = models.get(ended.checkpoint.stem if new else ended.base).name
            return gr.Dropdown(models.choices(request.session_hash), value=name)

        return chosen

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    owner = {**quiet, "js": access.WITH_TOKEN_JS}
    start.click(begin, [owner_token, model_select], watched, **owner)
    stop.click(end, [owner_token], watched, **owner)
    use_new.click(choose(True), None, model_select, **quiet)
    use_old.click(choose(False), None, model_select, **quiet)

    def news() -> News:
        view = job.view()
        running = view.state == RUNNING
        at = view.stopping if running else Watching(view.version, count.now())
        return News((view.state, at), moving=running)

    clock.watch(watch, [seen], watched, news=news, seen_in="learn-status")


def sketches_of(store: FeedbackStore) -> Sketches:
    """Every sketch that shows a digit, in the order in which it came. Raises FeedbackError."""
    found = [entry for entry in reversed(store.entries()) if entry.true_digit is not None]
    return Sketches(
        torch.stack([entry.image for entry in found])
        if found
        else torch.empty(0, 28, 28, dtype=torch.uint8),
        torch.tensor([entry.true_digit for entry in found], dtype=torch.uint8),
        [entry.visitor_hash for entry in found],
    )


def look(view: FineTuningView, sketches: int, seen: Watching) -> list[Any]:
    """Updates for status, table, choice, start, stop and ``seen``."""
    running = view.state == RUNNING
    now = Watching(view.version, sketches)
    if now == seen and not running:
        return [gr.skip()] * 6
    news = view.version != seen.version
    return [
        _status(view.state, *_words(view, sketches)),
        table_of(view.ended) if news else gr.skip(),
        gr.Row(visible=bool(view.ended and view.ended.saved)) if news else gr.skip(),
        gr.Button(interactive=not running and sketches >= FEWEST_SKETCHES),
        gr.Button(interactive=running and not view.stopping),
        now,
    ]


def _words(view: FineTuningView, sketches: int) -> tuple[str, str]:
    """What is said of the state, as HTML, and the bar below while it runs."""
    if view.state == RUNNING and view.started is not None:
        elapsed = (datetime.now(timezone.utc) - view.started).total_seconds()
        phase = "stopping" if view.stopping else view.phase
        said = (
            f"<em>{escape(view.base)}</em>, {escape(phase)}, {duration(elapsed)} so far on "
            f"{escape(view.compute)}"
        )
        return said, _bar(view)
    there = f"{sketches:,} sketch{'es' * (sketches != 1)} with their digit"
    if sketches < FEWEST_SKETCHES:
        there += f"; {FEWEST_SKETCHES} are needed, so {FEWEST_SKETCHES - sketches} more"
    if not view.message:
        return f"{there}.", ""
    return f"<em>{escape(view.base)}</em>: {escape(view.message)} ({there}.)", ""


def _status(state: str, said: str, bar: str) -> str:
    return (
        f'<div class="status" data-state="{state}" aria-live="polite">'
        f'<div class="status-line"><strong>{state}</strong> {said}</div>{bar}</div>'
    )


def _bar(view: FineTuningView) -> str:
    progress = view.progress
    share = progress.step / progress.steps if progress else 0.0
    facts = "&nbsp;"
    if progress:
        facts = (
            f"epoch {progress.epoch} of {progress.epochs} · "
            f"{progress.images_per_second:,.0f} images per second · "
            f"{duration(progress.seconds_left)} left"
        )
    return (
        f'<div class="bar" role="progressbar" aria-label="Learning progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}">'
        f'<div style="width: {100 * share:.1f}%"></div></div><div class="facts">{facts}</div>'
    )


def table_of(ended: FineTuningEnd | None) -> str:
    """The verdict's figures as a table; empty where there are none."""
    if ended is None or not ended.rows:
        return ""
    label = f"{ended.base} before and after learning from feedback"
    note = (
        '<p class="note">The digit set <code>feedback</code> holds the sketches that were learned '
        "from as well, so the new model looks better on it than it is.</p>"
        if ended.saved
        else ""
    )
    return table(HEADERS, [_row(row) for row in ended.rows], label=label, caption=True) + Markup(
        note
    )


def _row(row: ComparisonRow) -> list[Value]:
    return [
        row.title if row.decides else f"{row.title} (decides nothing)",
        row.n,
        Cell(f"{row.difference:+.2f} ({row.low:+.2f} to {row.high:+.2f})", row.difference),
        Cell(accuracy_text(row.before, row.n), row.before),
        Cell(accuracy_text(row.after, row.n), row.after),
    ]
