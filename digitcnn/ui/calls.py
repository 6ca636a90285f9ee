"""Functions that the page's scripts call: any JSON in, a dictionary out, never an error.

They are ``server_functions`` of a ``gr.HTML``: Gradio sends each call as one POST, without its
queue and without updating the page. Any program can send such a POST, so every part is checked.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from digitcnn.errors import DigitCNNError, SketchError
from digitcnn.process import on_one_core
from digitcnn.ui.parts import base64_of

P = ParamSpec("P")
Payload = dict[str, Any]

log = logging.getLogger(__name__)


def replying(
    handler: Callable[Concatenate[Payload, P], Payload],
) -> Callable[Concatenate[Any, P], Payload]:
    """Wrap a handler to accept any JSON and to return errors, since these calls have no toast.

    A handler that also takes a ``gr.Request`` gets it from Gradio.
    """

    @functools.wraps(handler)
    def guarded(payload: Any, /, *args: P.args, **kwargs: P.kwargs) -> Payload:
        if not isinstance(payload, dict):
            return {"error": "The pad sent an invalid sketch; reload the page."}
        try:
            with on_one_core():
                return handler(payload, *args, **kwargs)
        except DigitCNNError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("A function that the page calls failed")
            return {
                "error": "Something went wrong; the terminal running digitcnn shows the details."
            }

    return guarded


def text_of(payload: Payload, key: str) -> str:
    """Return a text from a payload. Raises SketchError where it is missing."""
    value = payload.get(key)
    if not isinstance(value, str) or not value:
        if key == "model":
            raise SketchError("No model is chosen; choose one in the header or train one.")
        raise SketchError(f"The pad sent no valid {key} id; reload the page.")
    return value


def file_reply(name: str, media_type: str, content: bytes) -> Payload:
    """Return a file for the page's script to save."""
    return {"name": name, "type": media_type, "content": base64_of(content)}
