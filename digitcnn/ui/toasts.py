"""Errors as toasts: a sentence for the person, the traceback for the log."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from digitcnn.errors import DigitCNNError

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


def toast(text: str) -> gr.Error:
    """``text`` as an error of the page. A toast shows HTML, so what a person typed is escaped."""
    return gr.Error(escape(text), print_exception=False)


def toasting(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler, with every DigitCNNError shown as its sentence and anything else logged.

    A handler that yields stays one: Gradio streams what a generator function yields.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _told():
                yield from handler(*args, **kwargs)

        return streaming

    @functools.wraps(handler)
    def answering(*args: P.args, **kwargs: P.kwargs) -> R:
        with _told():
            return handler(*args, **kwargs)

    return answering


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except DigitCNNError as error:
        raise toast(str(error)) from error
    except Exception as error:
        log.exception("A handler of the page failed")
        raise toast(
            "Something went wrong that should not have; the terminal that runs digitcnn shows "
            "the report."
        ) from error
