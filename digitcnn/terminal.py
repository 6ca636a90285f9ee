"""Print lines, whatever characters the terminal can show and even if its reader has gone."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO


class Parser(argparse.ArgumentParser):
    """Reports an error in the arguments in one line, with the way to the help."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def log(text: str) -> None:
    """Print a line on standard error: progress, warnings, errors."""
    _print(text, sys.stderr)


def announce(text: str) -> None:
    """Print a line on standard output at once."""
    _print(text, sys.stdout)


def run(main: Callable[[], int]) -> int:
    """Run a command's ``main``; return its exit status, 0 when its reader has gone.

    A reader such as ``head`` closes the pipe once it has enough. Characters that the terminal
    cannot show are printed as escapes. Matplotlib's notices about its caches are silenced.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        _discard(sys.stderr)
        return 0


def _print(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Send pending output to the null device; else Python reports a broken pipe at exit."""
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
