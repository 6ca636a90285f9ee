"""Show the progress of a service as a bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from digitcnn.analysis.events import (
    Event,
    FigureStarted,
    FigureUnavailable,
    ImagesProcessed,
    Notify,
)
from digitcnn.analysis.figures import NAMES
from digitcnn.analysis.stability import PassResult
from digitcnn.terminal import say


@contextmanager
def progress_bar() -> Iterator[Notify]:
    """Give a service its ``notify``; the bar is shown on terminals only and leaves no trace."""
    with tqdm(file=sys.stderr, disable=None, leave=False) as bar:
        current = ""

        def show(task: str, unit: str, done: int, total: int) -> None:
            nonlocal current
            if task != current:
                current, bar.unit = task, unit
                bar.reset(total)
                bar.set_description(task)
            bar.update(done - bar.n)

        def notify(event: Event) -> None:
            if isinstance(event, ImagesProcessed):
                show(event.task, "image", event.done, event.total)
            elif isinstance(event, PassResult):
                show("dropout passes", "pass", event.index, event.passes)
            elif isinstance(event, FigureStarted):
                show("drawing figures", "figure", event.number - 1, len(NAMES))
            elif isinstance(event, FigureUnavailable):
                say(f"{event.name}: {event.reason}")

        yield notify
