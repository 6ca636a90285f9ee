"""Work in a background thread of the process, and the signal that ends it early.

One job runs at a time; any number of watchers see its state.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Generic, TypeVar

from digitcnn.errors import DigitCNNError, RunError
from digitcnn.training.run_record import FAILED, INTERRUPTED, RUNNING, STOPPED

IDLE = "idle"

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """A stop was requested."""


class StopSignal:
    """A request to end a training between two batches, with the state in which it ends."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = STOPPED

    def stop(self, reason: str = STOPPED) -> None:
        """Request the end.

        reason: ``stopped`` when a person asked, and a checkpoint is saved; ``interrupted`` when
        the process is about to end.
        """
        # The reason first: the training reads it as soon as the event is set.
        self.reason = reason
        self._event.set()

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self._event.is_set()

    def check(self, *_: object) -> None:
        """Raise StoppedError if a stop was requested; a callback with any arguments."""
        if self.is_set():
            raise StoppedError

    @property
    def interrupted(self) -> bool:
        """Return whether to stop because the process is about to end."""
        return self.is_set() and self.reason == INTERRUPTED


@dataclass(frozen=True)
class BackgroundView:
    """The state of a job at one moment; ``version`` grows with every change.

    state: idle, running, stopped, finished, interrupted or failed.
    compute: the device, for people. phase: the current work, in words; phase_started: since when.
    stopping: Stop was pressed, a batch is still being processed. message: how it ended.
    """

    version: int = 0
    state: str = IDLE
    compute: str = ""
    started: datetime | None = None
    phase: str = ""
    phase_started: datetime | None = None
    stopping: bool = False
    message: str = ""

    def after(self: V, event: Any) -> V:
        """Return the view after one more event of the job's work; each kind of job has its own."""
        return self


V = TypeVar("V", bound=BackgroundView)


class ExclusiveLock:
    """Keeps the jobs that share it from running at the same time."""

    def __init__(self) -> None:
        # Guards the views of all jobs, so that checking the others and starting are one step.
        self.lock = threading.Lock()
        self._jobs: list[tuple[Callable[[], str], str]] = []

    def register(self, running_text: Callable[[], str], how_to_stop: str = "stop it") -> None:
        """Add a job.

        running_text: returns what runs, as a sentence without a full stop; empty if nothing does.
        how_to_stop: advice for the owner, as part of a sentence.
        """
        with self.lock:
            self._jobs.append((running_text, how_to_stop))

    @property
    def busy(self) -> str:
        """What is running, in a sentence without a full stop; empty while nothing is."""
        with self.lock:
            return next(filter(None, (running_text() for running_text, _ in self._jobs)), "")

    @property
    def free(self) -> bool:
        """Whether no job is running."""
        return not self.busy

    def require_free(self) -> None:
        """Raise RunError while a job is running. Call with ``lock`` held."""
        for running_text, how_to_stop in self._jobs:
            if text := running_text():
                raise RunError(f"{text}; {how_to_stop} or wait for it to finish.")


class BackgroundJob(ABC, Generic[V]):
    """One kind of work in a thread of its own; a subclass defines the work.

    name: of the work, as in "The training failed".
    not_running: the message for a stop while nothing runs.
    how_to_stop: as ``ExclusiveLock.register`` takes it.
    """

    name: str
    not_running: str
    how_to_stop = "stop it"

    def __init__(self, idle: V, exclusive: ExclusiveLock) -> None:
        self.exclusive = exclusive
        self._lock = exclusive.lock
        self._thread: threading.Thread | None = None
        self._stop = StopSignal()
        self._view = idle
        exclusive.register(self._text_if_running, self.how_to_stop)

    def view(self) -> V:
        """Return a consistent view of the job's state."""
        with self._lock:
            return self._view

    def _text_if_running(self) -> str:
        view = self._view
        if view.state != RUNNING or view.started is None:
            return ""
        return self._running_text(view, view.started.astimezone().strftime("%H:%M:%S"))

    @abstractmethod
    def _running_text(self, view: V, since: str) -> str:
        """Return what is running, in a sentence without a full stop. since: when it started."""

    def _launch(self, view: V, work: Callable[[StopSignal], Iterator[Any]]) -> None:
        """Start the thread, with ``_lock`` held. work: yields the events that change the view."""
        self._stop = StopSignal()
        self._view = replace(
            view,
            version=self._view.version + 1,
            state=RUNNING,
            started=datetime.now(timezone.utc),
            phase="starting",
        )
        self._thread = threading.Thread(
            target=self._run, args=(work, self._stop), name=self.name, daemon=True
        )
        self._thread.start()

    def _run(self, work: Callable[[StopSignal], Iterator[Any]], stop: StopSignal) -> None:
        try:
            for event in work(stop):
                self._change(partial(self._after, event=event))
        except Exception as error:
            log.error("The %s failed: %s", self.name, error, exc_info=error)
            message = str(error)
            if not isinstance(error, DigitCNNError):
                message = (
                    f"The {self.name} failed unexpectedly; the terminal running digitcnn shows the "
                    "details."
                )
            self._change(lambda view: replace(view, state=FAILED, message=message, stopping=False))

    def _after(self, view: V, event: Any) -> V:
        return view.after(event)

    def _change(self, change: Callable[[V], V]) -> None:
        with self._lock:
            self._view = replace(change(self._view), version=self._view.version + 1)

    def stop(self, reason: str = STOPPED) -> None:
        """Ask the running job to end between two batches. Raises RunError when none is running."""
        with self._lock:
            if self._view.state != RUNNING:
                raise RunError(self.not_running)
            self._stop.stop(reason)
            self._view = replace(self._view, version=self._view.version + 1, stopping=True)

    def shutdown(self, timeout: float) -> None:
        """Interrupt a running job and wait up to ``timeout`` seconds for it."""
        with contextlib.suppress(RunError):
            self.stop(INTERRUPTED)
        if self._thread is not None:
            self._thread.join(timeout)
