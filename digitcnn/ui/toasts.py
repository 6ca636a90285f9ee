"""Errors as toasts: a sentence for the person, the traceback for the log."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from html import escape
from typing import ParamSpec, TypeVar

import gradio as gr

from digitcnn.errors import DigitCNNError

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


def toast(text: str) -> gr.Error:
    """``text`` as an error of the page. A toast shows HTML, so what a person typed is escaped."""
    return gr.Error(escape(text), print_exception=False)


def toasting(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler, with every DigitCNNError shown as its sentence and anything else logged."""

    @functools.wraps(handler)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except DigitCNNError as error:
            raise toast(str(error)) from error
        except gr.Error:
            raise
        except Exception as error:
            log.exception("A handler of the page failed")
            raise toast(
                "Something went wrong that should not have; the terminal that runs digitcnn "
                "shows the report."
            ) from error

    return guarded
