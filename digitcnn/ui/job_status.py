"""The status of a background job: its state, a sentence, and its progress."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from markupsafe import Markup

from digitcnn.digits.names import listed
from digitcnn.intervals import accuracy_text
from digitcnn.training.background import BackgroundView
from digitcnn.training.events import StepProgress
from digitcnn.training.run_record import RUNNING
from digitcnn.training.view import TrainingView
from digitcnn.ui.wording import duration
from digitcnn.web.templates import render


def job_status(
    view: BackgroundView,
    text: str,
    *,
    subject: str = "",
    bar: dict[str, Any] | None = None,
    live: bool = False,
) -> Markup:
    """Return the status as HTML.

    subject: the run or model it is about. bar: ``label``, ``share`` and ``facts``; None draws
    none. live: whether screen readers read out changes.
    """
    separator = "," if view.state == RUNNING else ":"
    return render(
        "train/status.html",
        state=view.state,
        text=text,
        subject=subject,
        separator=separator,
        bar=bar,
        live=live,
    )


def elapsed_text(view: BackgroundView, phase: str) -> str:
    """Return the phase of a running job, the time elapsed and the device."""
    assert view.started is not None
    seconds = (datetime.now(timezone.utc) - view.started).total_seconds()
    return f"{phase}, {duration(seconds)} elapsed on {view.compute}"


def progress_facts(progress: StepProgress) -> str:
    """Return the epoch and the speed as text."""
    return (
        f"epoch {progress.epoch} of {progress.epochs} · "
        f"{progress.images_per_second:,.0f} images per second"
    )


def training_status(view: TrainingView, compute: str) -> Markup:
    """Return the status of the training. compute: the device that a new one would use."""
    bar = {"label": "Training progress", "share": _share(view), "facts": _facts(view)}
    if view.started is None or view.config is None:
        return job_status(view, f"on {compute}. Press Start to train.", bar=bar)
    text = view.message
    if view.state == RUNNING:
        phase = view.phase
        if view.stopping:
            stepping = phase in ("starting", "training")
            phase = "stopping after this batch" if stepping else f"{phase}, then stopping"
        text = elapsed_text(view, phase)
    return job_status(view, text, subject=view.run, bar=bar)


def _share(view: TrainingView) -> float:
    if view.state != RUNNING and view.config:
        return len(view.history) / view.config.epochs  # where a resume would start
    return view.progress.step / view.progress.steps if view.progress else 0.0


def _facts(view: TrainingView) -> str:
    progress = view.progress
    if progress and view.state == RUNNING:
        facts = progress_facts(progress)
        if progress.step < progress.steps:
            facts += f" · {duration(progress.seconds_left)} of training left"
        return facts
    if view.history and view.config:
        last = view.history[-1]
        return (
            f"{accuracy_text(last.accuracy, last.held_out)} on the held-out images of "
            f"{listed(view.config.digits)} after epoch {last.epoch}"
        )
    return ""
