"""Errors as toasts: a sentence for the user, the traceback for the log."""

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
from digitcnn.web.templates import render

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


def toast(text: str, field: str = "") -> gr.Error:
    """Return ``text`` as an error of the page, escaped, since a toast shows HTML.

    field: the field of the open tab beside which ``toasts.js`` shows the text instead.
    """
    html = render("page/field_problem.html", field=field, text=text) if field else escape(text)
    return gr.Error(html, print_exception=False)


def toasting(handler: Callable[P, R]) -> Callable[P, R]:
    """Wrap a handler so that every DigitCNNError is shown as its sentence and others are logged.

    A generator function stays one: Gradio streams what it yields.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _toasted():
                yield from handler(*args, **kwargs)

        return streaming

    @functools.wraps(handler)
    def answering(*args: P.args, **kwargs: P.kwargs) -> R:
        with _toasted():
            return handler(*args, **kwargs)

    return answering


@contextmanager
def _toasted() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except DigitCNNError as error:
        raise toast(str(error), error.field) from error
    except Exception as error:
        log.exception("A handler of the page failed")
        raise toast(
            "Something went wrong; the terminal running digitcnn shows the details."
        ) from error
