"""Processes that start with digitcnn imported, by a fork instead of seconds of imports.

They are forked from ``multiprocessing``'s fork server, which has imported everything and started
nothing, so they share nothing with each other or with the tests. Platforms without a fork server
start them anew.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def context() -> BaseContext:
    """Return the context of warm processes, for barriers and pipes between them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["warm_imports"])
    return server


def _run(
    target: Callable[..., int | None],
    arguments: tuple[Any, ...],
    folder: Path,
    environment: dict[str, str],
    output: Path,
    errors: Path,
) -> None:
    for place, number in ((output, 1), (errors, 2)):
        to = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(to, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(target(*arguments))


class WarmProcess:
    """``target(*arguments)`` in a process of its own, ended as ``subprocess.Popen`` is.

    Args:
        target: An importable function; what it returns is the exit status.
        folder: The working directory.
        environment: All environment variables.
        output: The file that standard output is appended to.
        errors: The file that standard error is appended to; without one, ``output``.
    """

    def __init__(
        self,
        target: Callable[..., int | None],
        *arguments: Any,
        folder: Path,
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
    ) -> None:
        here = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        try:
            self._process = context().Process(
                target=_run,
                args=(target, arguments, folder, dict(environment), output, errors or output),
            )
            self._process.start()
        finally:
            del os.environ["PYTHONPATH"]
            if here is not None:
                os.environ["PYTHONPATH"] = here
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a warm process", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _command_line(*arguments: str) -> int:
    import digitcnn.cli

    return digitcnn.cli.main(arguments)


class WarmCommand(WarmProcess):
    """``python -m digitcnn`` with these arguments; ``folder`` receives its output."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self._logs = folder / f"{uuid.uuid4().hex}.out", folder / f"{uuid.uuid4().hex}.err"
        output, errors = self._logs
        super().__init__(
            _command_line,
            *arguments,
            folder=ROOT,
            environment=os.environ,
            output=output,
            errors=errors,
        )

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end; return its standard output and standard error."""
        self.wait(timeout)
        output, errors = (log.read_text() if log.exists() else "" for log in self._logs)
        return output, errors
