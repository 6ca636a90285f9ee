"""Work in the background of the process: one job at a time, and any number of watchers."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from digitcnn.errors import DigitCNNError, RunError
from digitcnn.training import runs
from digitcnn.training.session import StopSignal

IDLE = "idle"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackgroundView:
    """What a watcher sees of a job at one moment; ``version`` grows with every change.

    state: idle, running, stopped, finished, interrupted or failed.
    compute: on what. phase: in words, while running.
    stopping: Stop was pressed, a batch is still at work. message: how it ended.
    """

    version: int = 0
    state: str = IDLE
    compute: str = ""
    started: datetime | None = None
    phase: str = ""
    stopping: bool = False
    message: str = ""


V = TypeVar("V", bound=BackgroundView)


class ExclusiveLock:
    """Which jobs may not run at the same time: those that were given the same exclusive."""

    def __init__(self) -> None:
        # Guards the views of all jobs, so that looking at the others and beginning are one step.
        self.lock = threading.Lock()
        self._jobs: list[Callable[[], str]] = []

    def register(self, at_work: Callable[[], str]) -> None:
        """at_work: why another job cannot begin, in a sentence; empty where it can."""
        with self.lock:
            self._jobs.append(at_work)

    @property
    def free(self) -> bool:
        """Whether no job is at work."""
        with self.lock:
            return not any(at_work() for at_work in self._jobs)

    def require(self) -> None:
        """Call with the lock held. Raises RunError where a job is at work."""
        for at_work in self._jobs:
            if sentence := at_work():
                raise RunError(sentence)


class BackgroundJob(ABC, Generic[V]):
    """One kind of work in a thread of its own; a child says what the work is.

    unexpected: what people are told of an error that has no sentence for them.
    nothing: what they are told who stop it while it does not run.
    """

    name = "background"
    unexpected = "It failed unexpectedly; the terminal that runs digitcnn shows the report."
    nothing = "Nothing is running."

    def __init__(self, idle: V, exclusive: ExclusiveLock) -> None:
        self.exclusive = exclusive
        self._lock = exclusive.lock
        self._thread: threading.Thread | None = None
        self._stop = StopSignal()
        self._view = idle
        exclusive.register(self._at_work)

    def view(self) -> V:
        with self._lock:
            return self._view

    def _at_work(self) -> str:
        """While running, a sentence that refuses another job; the lock is held."""
        view = self._view
        if view.state != runs.RUNNING or view.started is None:
            return ""
        return self._refusal(view, view.started.astimezone().strftime("%H:%M:%S"))

    @abstractmethod
    def _refusal(self, view: V, since: str) -> str:
        """Why no other job can begin while this one runs, in a sentence; since: its beginning."""

    def _launch(self, view: V, work: Callable[[StopSignal], None]) -> None:
        """Start the thread; the lock is held. An error that ``work`` raises becomes ``failed``."""
        self._stop = StopSignal()
        self._view = dataclasses.replace(view, version=self._view.version + 1, state=runs.RUNNING)
        self._thread = threading.Thread(
            target=self._run, args=(work, self._stop), name=self.name, daemon=True
        )
        self._thread.start()

    def _run(self, work: Callable[[StopSignal], None], stop: StopSignal) -> None:
        try:
            work(stop)
        except Exception as error:
            log.error("The %s failed: %s", self.name, error, exc_info=error)
            told = str(error) if isinstance(error, DigitCNNError) else self.unexpected
            self._change(state=runs.FAILED, message=told, stopping=False)

    def _change(self, **changes: object) -> None:
        with self._lock:
            self._view = dataclasses.replace(
                self._view,
                version=self._view.version + 1,
                **changes,  # type: ignore[arg-type]
            )

    def stop(self, reason: str = runs.STOPPED) -> None:
        """Ask the running job to end between two batches. Raises RunError without one."""
        with self._lock:
            if self._view.state != runs.RUNNING:
                raise RunError(self.nothing)
            self._stop.stop(reason)
            self._view = dataclasses.replace(
                self._view, version=self._view.version + 1, stopping=True
            )

    def shutdown(self, timeout: float) -> None:
        """Mark a running job interrupted and wait up to ``timeout`` seconds for it."""
        with contextlib.suppress(RunError):
            self.stop(runs.INTERRUPTED)
        if self._thread is not None:
            self._thread.join(timeout)
