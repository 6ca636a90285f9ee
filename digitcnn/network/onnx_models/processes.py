"""Processes that run ONNX models: at most a few at once, each living while its model is used."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from digitcnn.digits.digit_set import CLASSES
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
    """What a worker loads.

    content, outline: of a ``CheckedModel``. input, dtype: the input's name and NumPy type.
    shape: of an input with ``images`` images. Its worker lives no longer than this object, whose
    number distinguishes it from all others.
    """

    content: bytes
    outline: bytes
    input: str
    dtype: str
    shape: tuple[int, ...]
    images: int
    number: int = field(default_factory=itertools.count().__next__)


class _Ended(Exception):
    """The worker has ended. status: as ``Popen.returncode``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Worker:
    """One process with one model. Not thread-safe. Raises InvalidCheckpoint or _Ended."""

    def __init__(self, program: Program, limits: Limits, command: Sequence[str]) -> None:
        # Not the program itself, which its worker must not keep alive.
        self._about = {"input": program.input, "dtype": program.dtype}
        self._limits = limits
        self._socket, theirs = socket.socketpair()
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
        try:
            answer, _ = self._ask(
                {
                    "do": "load",
                    "outline": len(program.outline),
                    "input": program.input,
                    "shape": program.shape,
                    "images": program.images,
                },
                program.outline + program.content,
                limits.start,
            )
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
            raise InvalidCheckpoint("gave an unreadable answer; choose another file") from error

    def end(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _ask(
        self, request: dict[str, Any], content: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and return its answer, neither of which may take longer than that."""
        until = time.monotonic() + seconds
        header = json.dumps({**request, "bytes": len(content)}).encode() + b"\n"
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(header + content)
            line, body = b"", b""
            while not body and not line.endswith(b"\n"):
                line, newline, body = (line + self._receive(until)).partition(b"\n")
                line += newline
                if len(line) > _MAX_ANSWER:
                    raise ValueError
            answer = json.loads(line)
            size = answer["bytes"]
            if type(size) is not int or not 0 <= size <= _MAX_NUMBERS * 4:
                raise ValueError
            while len(body) < size:
                body += self._receive(until)
            if len(body) > size:
                raise ValueError
        except TimeoutError as error:
            raise InvalidCheckpoint(_slow(seconds)) from error
        except (ConnectionError, EOFError) as error:
            raise _Ended(self._process.wait()) from error
        except (ValueError, LookupError, TypeError) as error:
            raise InvalidCheckpoint("gave an unreadable answer; choose another file") from error
        if "error" in answer:
            raise InvalidCheckpoint(_sentence(str(answer["error"]), str(answer.get("detail", ""))))
        return answer, body

    def _receive(self, until: float) -> bytes:
        self._socket.settimeout(max(0.001, until - time.monotonic()))
        part = self._socket.recv(65536)
        if not part:
            raise EOFError
        return part


def _slow(seconds: float) -> str:
    return f"gave no answer within {seconds:.0f} s, so it was stopped; choose a smaller model"


def _sentence(error: str, detail: str) -> str:
    """What a worker's error means, as a predicate."""
    detail = shown(detail.strip().partition("\n")[0], 160).rstrip(".")
    if error == "memory":
        return "needed more memory than a digit classifier, so it was stopped; choose another model"
    if error == "large":
        return (
            f"computes far more than a digit classifier needs (in its operator {detail}), so it "
            "was not run; choose a smaller model"
        )
    if error == "unknown":
        return (
            f"computes the output size of its operator {detail} at run time, so its memory use "
            "cannot be bounded; export it with fixed sizes"
        )
    if error == "outputs":
        return f"gives {detail or 'something'} where ten scores are expected; choose another model"
    return f"cannot be run by ONNX Runtime ({detail}); check it with onnx.checker"


class Workers:
    """Runs models in worker processes. Thread-safe. Starts nothing before the first request.

    The least recently used process ends to make room for another.
    command: what to start, to which a socket's number and the limits are added.
    """

    def __init__(self, limits: Limits | None = None, command: Sequence[str] = WORKER) -> None:
        self._limits, self._command = limits or Limits(), command
        self._changed = threading.Condition()
        # By the program's number, least recently used first; None while it starts or works.
        self._workers: dict[int, _Worker | None] = {}
        weakref.finalize(self, _end_all, self._workers)

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
        # Also called by the garbage collector, within any statement below: the lock is reentrant.
        with self._changed:
            worker = self._workers.get(number)
            if worker is not None:
                del self._workers[number]
                worker.end()
                self._changed.notify_all()

    def count(self) -> int:
        """How many processes there are."""
        with self._changed:
            return len(self._workers)

    def _ask(self, program: Program, question: Callable[[_Worker], T]) -> T:
        try:
            with self._worker(program) as worker:
                return question(worker)
        except _Ended as error:
            # A worker that was not used for a while may end just when it is asked.
            if error.status != 0:
                raise InvalidCheckpoint(_why_ended(error.status, self._limits)) from error
        try:
            with self._worker(program) as worker:
                return question(worker)
        except _Ended as error:
            raise InvalidCheckpoint(_why_ended(error.status, self._limits)) from error

    @contextmanager
    def _worker(self, program: Program) -> Iterator[_Worker]:
        """Lend the model's worker to this thread alone. It ends where anything fails."""
        worker = self._take(program.number)
        try:
            if worker is None:
                worker = self._start(program)
            yield worker
        except BaseException:
            if worker is not None:
                worker.end()
            worker = None
            raise
        finally:
            with self._changed:
                del self._workers[program.number]
                if worker is not None:
                    self._workers[program.number] = worker
                self._changed.notify_all()

    def _take(self, number: int) -> _Worker | None:
        """Return a program's worker, marked as in use, or None where one has to be started."""
        with self._changed:
            while True:
                if number in self._workers:
                    worker = self._workers[number]
                    if worker is not None:
                        self._workers[number] = None
                        if worker.is_running:
                            return worker
                        worker.end()  # it ended by itself
                        return None
                elif len(self._workers) < MOST_WORKERS or self._end_idle():
                    self._workers[number] = None
                    return None
                self._changed.wait()

    def _end_idle(self) -> bool:
        """End the process that was not used for longest. Returns whether one was idle."""
        for number, worker in list(self._workers.items()):
            if worker is not None:
                self.forget(number)
                return True
        return False

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
        return (
            "is an ONNX model, which needs the packages onnx and onnxruntime; install them with: "
            "pip install -e '.[onnx]'"
        )
    if status == -getattr(signal, "SIGXCPU", 24):
        return (
            f"needed more than {limits.processor} s of CPU time for a few images, so it was "
            "stopped; choose a smaller model"
        )
    return "made its process end unexpectedly; choose another model"


def _end_all(workers: dict[int, _Worker | None]) -> None:
    for worker in workers.values():
        if worker is not None:
            with contextlib.suppress(OSError):
                worker.end()


WORKERS = Workers()
