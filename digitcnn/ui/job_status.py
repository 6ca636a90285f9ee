"""The status of a background job: its state, a sentence, and its progress."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from markupsafe import Markup

from digitcnn.digits.names import listed, set_names, written
from digitcnn.intervals import accuracy_text, percent, wilson_interval
from digitcnn.training.background import BackgroundView
from digitcnn.training.events import StepProgress
from digitcnn.training.run_record import FINISHED, RUNNING
from digitcnn.training.view import TrainingView
from digitcnn.ui.wording import duration
from digitcnn.web.templates import render

# The state of the training while another job, such as an experiment, runs.
BUSY = "busy"


def job_status(
    view: BackgroundView,
    text: str,
    *,
    subject: str = "",
    bar: dict[str, Any] | None = None,
    spoken: str = "",
    link: str = "",
) -> Markup:
    """Return the status as HTML.

    subject: the run or model it is about. bar: ``label``, ``share`` and ``facts``; None draws
    none. spoken: what screen readers read out when it changes, see ``announce.js``. link: the id of
    the element that shows more.
    """
    separator = "," if view.state == RUNNING else ":"
    return render(
        "train/status.html",
        state=view.state,
        text=text,
        subject=subject,
        separator=separator,
        bar=bar,
        spoken=spoken,
        link=link,
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


def training_status(
    view: TrainingView,
    compute: str,
    models: Sequence[str] = (),
    sketches: str = "",
    resumable: str = "",
) -> Markup:
    """Return the status of the training, and below it the accuracy that it has reached.

    compute: the name of the device that a new run would use. models: the names of the run's model
    and of the previous run's; with both, a button offers to compare them. sketches: how many of the
    built-in sketches the run's model reads. resumable: the run that can be resumed, if any.
    """
    share, left = _share(view)
    bar = {"label": "Training progress", "share": share, "facts": _facts(view, left)}
    if view.started is None or view.config is None:
        text = f"Ready to train on {compute}. The next run appears here."
        if resumable:
            text += f" Run {resumable} can be resumed."
        return job_status(view, text, bar=bar) + _result(view, models, sketches)
    text = view.message
    if view.state == RUNNING:
        phase = view.phase
        if view.stopping:
            stepping = phase in ("starting", "training")
            phase = "stopping after this batch" if stepping else f"{phase}, then stopping"
        text = elapsed_text(view, phase)
    status = job_status(view, text, subject=view.run, bar=bar, spoken=_spoken(view))
    return status + _result(view, models, sketches)


def busy_status(
    other: str,
    experiment: tuple[float, str] | None,
    view: TrainingView,
    models: Sequence[str],
    sketches: str,
) -> Markup:
    """Return the same while another job keeps a training from starting.

    other: as ``ExclusiveLock.busy``. experiment: the share of it that is done and its progress as
    text, if that job is one.
    """
    share, facts = experiment or (0.0, "")
    bar = {"label": "Experiment progress", "share": share, "facts": facts} if experiment else None
    text = f"{other}. A training can start once it has finished."
    link = "experiment-select" if experiment else ""
    # Unaffected by the other job, so that nothing is read out when that job finishes.
    spoken = _spoken(view)
    status = job_status(BackgroundView(state=BUSY), text, bar=bar, spoken=spoken, link=link)
    return status + _result(view, models, sketches)


def _spoken(view: TrainingView) -> str:
    """Return what a screen reader says of a run: its phase, its newest epoch, or how it ended."""
    if view.started is None:
        return ""
    phase = "stopping" if view.stopping else view.phase.partition(",")[0]
    if view.state == RUNNING and (phase != "training" or not view.history):
        return f"Training {view.run}: {'epoch 1' if phase == 'training' else phase}"
    text = f"Training {view.run}: {view.message}"
    if view.state == RUNNING and view.config:
        text = f"Epoch {view.history[-1].epoch} of {view.config.epochs} finished."
    if view.history:
        accuracy, count, tested = _reached(view)
        images = f"{count:,} {written(tested)} test images" if tested else "the held-out images"
        text += f" {percent(accuracy)} on {images}."
    return text


def _reached(view: TrainingView) -> tuple[float, int, str]:
    """Return accuracy and images of the run's own test set, with its name, or held-out ones'."""
    metrics = view.ended.metrics if view.ended and view.state == FINISHED else {}
    sets = set_names(view.config.digits) if view.config else []
    tested = next((name for name in sets if name in metrics), "")
    if tested:
        return metrics[tested]["accuracy"], metrics[tested]["n"], tested
    return view.history[-1].accuracy, view.history[-1].held_out, ""


def _result(view: TrainingView, models: Sequence[str], sketches: str) -> Markup:
    """Return the accuracy on the run's own test set, before that on its held-out images."""
    if view.config is None or not view.history:
        return render("train/result.html", percent="")
    finished = view.state == FINISHED
    accuracy, count, tested = _reached(view)
    low, high = wilson_interval(round(accuracy * count), count)
    return render(
        "train/result.html",
        percent=percent(accuracy),
        images=f"{count:,}",
        digits=listed(tested or view.config.digits),
        test=tested != "",
        epoch=view.history[-1].epoch,
        low=percent(low),
        high=percent(high),
        finished=finished,
        models=models,
        sketches=sketches if finished else "",
    )


def _share(view: TrainingView) -> tuple[float, float | None]:
    """Return the share of the whole run that is done, and the seconds left where they are known."""
    if view.state == RUNNING:
        return view.remaining(datetime.now(timezone.utc))
    if view.config:
        return len(view.history) / view.config.epochs, None  # where a resume would start
    return 0.0, None


def _facts(view: TrainingView, left: float | None) -> str:
    progress = view.progress
    if view.state == RUNNING:
        facts = progress_facts(progress) if progress and view.phase == "training" else ""
        rest = f"about {duration(left)} left" if left is not None else ""
        return " · ".join(filter(None, (facts, rest)))
    if view.state == FINISHED and view.history and view.config:
        last = view.history[-1]
        return (
            f"{accuracy_text(last.accuracy, last.held_out)} on the held-out images of "
            f"{listed(view.config.digits)} after epoch {last.epoch}"
        )
    return ""
