"""Lines for the terminal, whatever it can show and whether or not somebody still reads it."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import TextIO


def say(text: str) -> None:
    """Print a line on standard error: progress, warnings, errors."""
    _print(text, sys.stderr)


def announce(text: str) -> None:
    """Print a line on standard output at once."""
    _print(text, sys.stdout)


def run(main: Callable[[], int]) -> int:
    """Run a command's ``main``; return its exit status, 0 when its reader has gone away.

    A reader such as ``head`` goes away once it has what it wants. A character that the terminal
    cannot show is printed as an escape. Matplotlib's notices about its caches are silenced.
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
    """Send what is still to be printed nowhere; Python would complain of it when it exits."""
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
