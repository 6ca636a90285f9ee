"""Processes that run ONNX models: at most a few at once, each living while its model is used."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network.onnx_models.checks import PACKAGES_MISSING, CheckedModel
from digitcnn.network.onnx_models.layouts import Layout
from digitcnn.network.reader import InvalidCheckpoint, shown

T = TypeVar("T")

WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))
# Processes at once.
MOST_WORKERS = 2
# As in worker.py, which cannot be imported where memory cannot be limited.
_MISSING, _UNLIMITED = 4, 3
_MAX_ANSWER, _MAX_NUMBERS = 100_000, 1_000_000
# What a worker may know of this process: secrets are passed in the environment too.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Limits:
    """What a worker may take. memory: bytes besides its libraries.

    processor: seconds of a core per request, whole. wall: seconds until an answer, for a worker
    that waits instead of computing; several times as many, because the machine may be busy.
    start: likewise, until a model is loaded.
    """

    memory: int = 320_000_000
    processor: int = 4
    wall: float = 30.0
    start: float = 60.0


@dataclass(frozen=True, eq=False)
class Program:
    """What a worker loads: a model, and the layout of its input.

    Its worker lives no longer than this object, whose number distinguishes it from all others.
    """

    model: CheckedModel
    layout: Layout
    number: int = field(default_factory=itertools.count().__next__)
    # Held while its worker is asked.
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Ended(Exception):
    """The worker has ended. status: as ``Popen.returncode``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Worker:
    """One process with one model. Not thread-safe. Raises InvalidCheckpoint or _Ended."""

    def __init__(self, program: Program, limits: Limits, command: Sequence[str]) -> None:
        model, images = program.model, program.layout.batch or 1
        # Not the program itself, which its worker must not keep alive.
        self._about = {"input": model.input.name, "dtype": model.input.dtype}
        self._limits = limits
        self._pipe, theirs = Pipe()
        arguments = [str(theirs.fileno()), str(limits.memory), str(limits.processor)]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        # Libraries would start threads, each with memory of its own, for cores that are not theirs.
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment | threads,
                start_new_session=True,
            )
        request = {
            "do": "load",
            "outline": len(model.outline),
            "input": model.input.name,
            "shape": program.layout.input_shape(images),
            "images": images,
        }
        try:
            answer, _ = self._ask(request, model.outline + model.content, limits.start)
            self.cost = max(1, int(answer["cost"]))
        except BaseException:
            self.end()
            raise

    @property
    def is_running(self) -> bool:
        """Whether the process is still there: it ends by itself after a while without requests."""
        return self._process.poll() is None

    def run(self, images: np.ndarray, batch: int, output: str) -> np.ndarray:
        """Return one output for all images; see ``Workers.run``."""
        request = {
            **self._about,
            "do": "run",
            "shape": images.shape,
            "batch": batch,
            "output": output,
        }
        content = np.ascontiguousarray(images, "<f4").tobytes()
        _, body = self._ask(request, content, self._limits.wall)
        try:
            return np.frombuffer(body, "<f4").reshape(len(images), CLASSES)
        except ValueError as error:
            raise InvalidCheckpoint(_UNREADABLE) from error

    def end(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def _ask(
        self, request: dict[str, Any], content: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and return its answer; kill the process after ``seconds``."""
        until = time.monotonic() + seconds
        # A process that neither reads nor writes would hold up this thread, whatever it waits for.
        killer = threading.Timer(seconds, self._process.kill)
        killer.start()
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
            self._pipe.send_bytes(content)
            answer = json.loads(self._pipe.recv_bytes(_MAX_ANSWER))
            body = self._pipe.recv_bytes(_MAX_NUMBERS * 4)
            if "error" in answer:
                reason = _sentence(str(answer["error"]), str(answer.get("detail", "")))
                raise InvalidCheckpoint(reason)
        except (ConnectionError, EOFError) as error:
            status = self._process.wait()
            if time.monotonic() >= until:
                raise InvalidCheckpoint(
                    f"gave no answer within {seconds:.0f} s, so it was stopped; choose a smaller "
                    "model"
                ) from error
            raise _Ended(status) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InvalidCheckpoint(_UNREADABLE) from error
        finally:
            killer.cancel()
        return answer, body


_UNREADABLE = "gave an unreadable answer; choose another file"


# What a worker's errors mean, as predicates.
_ERRORS = {
    "memory": "needed more memory than a digit classifier, so it was stopped; choose another model",
    "large": "computes far more than a digit classifier needs (in its operator {detail}), so it "
    "was not run; choose a smaller model",
    "unknown": "computes the output size of its operator {detail} at run time, so its memory use "
    "cannot be bounded; export it with fixed sizes",
    "outputs": "gives {detail} where ten scores are expected; choose another model",
    "failed": "cannot be run by ONNX Runtime ({detail}); check it with onnx.checker",
}


def _sentence(error: str, detail: str) -> str:
    detail = shown(detail.strip().partition("\n")[0], 160).rstrip(".")
    return _ERRORS.get(error, _ERRORS["failed"]).format(detail=detail)


class Workers:
    """Runs models in worker processes. Thread-safe. Starts nothing before the first request.

    The least recently used process ends to make room for another.
    command: what to start, to which a socket's number and the limits are added.
    """

    def __init__(self, limits: Limits | None = None, command: Sequence[str] = WORKER) -> None:
        self._limits, self._command = limits or Limits(), command
        self._slots = threading.Semaphore(MOST_WORKERS)
        # Reentrant: the garbage collector may call ``forget`` within any statement below.
        self._lock = threading.RLock()
        # By the program's number, least recently used first; and how many others are in use.
        self._idle: dict[int, _Worker] = {}
        self._busy = 0
        weakref.finalize(self, _end_all, self._idle)

    def run(self, program: Program, images: np.ndarray, batch: int, output: str) -> np.ndarray:
        """Return an output of a model, float32 [N, 10], for images [N, ...] of its input's shape.

        batch: how many of them it gets at once; 0 for each without a batch axis.
        Raises InvalidCheckpoint where the model fails or takes too much; the text continues a
        sentence about it.
        """
        return self._ask(program, lambda worker: worker.run(images, batch, output))

    def cost(self, program: Program) -> int:
        """Return what an image costs, about in multiplications. Raises as ``run`` does."""
        return self._ask(program, lambda worker: worker.cost)

    def forget(self, number: int) -> None:
        """End the process of a program that nobody uses any more."""
        with self._lock:
            worker = self._idle.pop(number, None)
            if worker is not None:
                worker.end()

    def count(self) -> int:
        """How many processes there are."""
        with self._lock:
            return len(self._idle) + self._busy

    def _ask(self, program: Program, question: Callable[[_Worker], T]) -> T:
        may_be_idle = True
        while True:
            try:
                with self._worker(program) as worker:
                    return question(worker)
            except _Ended as error:
                # A worker that was not used for a while may end just when it is asked.
                if error.status != 0 or not may_be_idle:
                    raise InvalidCheckpoint(_why_ended(error.status, self._limits)) from error
                may_be_idle = False

    @contextmanager
    def _worker(self, program: Program) -> Iterator[_Worker]:
        """Lend the model's worker to this thread alone. It ends where anything fails."""
        with program.lock, self._slots:
            with self._lock:
                worker = self._idle.pop(program.number, None)
                self._busy += 1
                too_many = max(0, len(self._idle) + self._busy - MOST_WORKERS)
                for number in list(self._idle)[:too_many]:
                    self.forget(number)
            try:
                if worker is not None and not worker.is_running:  # it ended by itself
                    worker.end()
                    worker = None
                if worker is None:
                    worker = self._start(program)
                yield worker
            except BaseException:
                if worker is not None:
                    worker.end()
                worker = None
                raise
            finally:
                with self._lock:
                    self._busy -= 1
                    if worker is not None:
                        self._idle[program.number] = worker

    def _start(self, program: Program) -> _Worker:
        if importlib.util.find_spec("resource") is None:
            raise InvalidCheckpoint(_NO_LIMIT)
        worker = _Worker(program, self._limits, self._command)
        weakref.finalize(program, self.forget, program.number).atexit = False
        return worker


_NO_LIMIT = (
    "is an ONNX model, and this system does not let digitcnn limit the memory of such a model, "
    "so it is not run; use Linux, or save the network's weights with PyTorch or safetensors"
)


def _why_ended(status: int, limits: Limits) -> str:
    if status == _UNLIMITED:
        return _NO_LIMIT
    if status == _MISSING:
        return PACKAGES_MISSING
    if status == -getattr(signal, "SIGXCPU", 24):
        return (
            f"needed more than {limits.processor} s of CPU time for a few images, so it was "
            "stopped; choose a smaller model"
        )
    return "made its process end unexpectedly; choose another model"


def _end_all(workers: dict[int, _Worker]) -> None:
    for worker in workers.values():
        with contextlib.suppress(OSError):
            worker.end()


WORKERS = Workers()
