"""Show the progress of a command as a bar on standard error, and stop training at Ctrl-C."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from digitcnn.analysis.events import Event, FigureUnavailable, Notify, step_of
from digitcnn.terminal import log
from digitcnn.training.background import StopSignal
from digitcnn.training.events import TrainingEvent
from digitcnn.training.view import TrainingView


@contextmanager
def progress_bar() -> Iterator[Notify]:
    """Give a service its ``notify``; the bar is shown on terminals only and leaves no trace."""
    with tqdm(file=sys.stderr, disable=None, leave=False) as bar:
        current = ""

        def notify(event: Event) -> None:
            nonlocal current
            step = step_of(event)
            if step is not None:
                if step.task != current:
                    current, bar.unit = step.task, step.unit
                    bar.reset(step.total)
                    bar.set_description(step.task)
                bar.update(step.done - bar.n)
            elif isinstance(event, FigureUnavailable):
                log(f"{event.name}: {event.reason}")

        yield notify


def watched(events: Iterable[TrainingEvent], stop: StopSignal) -> Iterator[TrainingView]:
    """Show a training, or several, and yield the view after each event; Ctrl-C sets ``stop``."""
    view = TrainingView()
    with (
        stopping_on_ctrl_c(stop),
        tqdm(unit="step", file=sys.stderr, disable=None, dynamic_ncols=True) as bar,
    ):
        for event in events:
            before, view = view, view.after(event)
            _show(bar, before, view)
            yield view


def _show(bar: tqdm, before: TrainingView, view: TrainingView) -> None:
    """Update the bar, and print a line for each new epoch and phase, on standard error."""
    lines = []
    if view.run != before.run:
        bar.reset()
        if view.of > 1:
            lines.append(f"Run {view.number} of {view.of}:")
    # The bar shows progress within a phase; only a new phase gets a line.
    phase, phase_before = (re.sub(r"\d[\d,]*", "", one.phase) for one in (view, before))
    if phase != phase_before and view.progress is before.progress:
        lines.append(f"{view.phase} ...")
    if len(view.history) > len(before.history):
        lines.append(str(view.history[-1]))
    progress = view.progress
    if view.phase != before.phase:
        bar.set_description(view.phase)
    if progress is not None and progress is not before.progress:
        bar.total = progress.steps
        bar.update(progress.step - bar.n)
        bar.set_description(f"epoch {progress.epoch}/{progress.epochs}")
        bar.set_postfix_str(
            f"loss {progress.losses[-1]:.4f}, {progress.images_per_second:.0f} images/s"
        )
    if lines:
        with bar.external_write_mode(file=sys.stderr):
            for line in lines:
                log(line)


@contextmanager
def stopping_on_ctrl_c(stop: StopSignal, log: Callable[[str], None] = log) -> Iterator[None]:
    """Stop training at the first Ctrl-C, between two batches; the second ends the process."""

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        log("Stopping; press Ctrl-C again to quit now.")
        stop.stop()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
