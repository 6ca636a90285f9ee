"""The handlers of a part of the page, and a visitor's request to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from coroutines import run_async

from digitcnn.ui.clock import Clock

Handlers = dict[str, Callable[..., Any]]


def handlers_of(build: Callable[[Clock, gr.Blocks], object]) -> Handlers:
    """Return the handlers of what ``build`` puts on a page with a clock, by their names."""

    async def built() -> gr.Blocks:
        # Outside of a running loop Gradio makes loops of its own and leaves them open.
        with gr.Blocks(analytics_enabled=False) as page:
            clock = Clock()
            build(clock, page)
            clock.build(page)
        return page

    page = run_async(built())
    return {str(fn.name): fn.fn for fn in page.fns.values() if fn.fn is not None}


def request() -> Any:
    """Return a visitor's request: from another machine, without the token."""
    return type("Request", (), {"headers": {"host": "example.org"}})()
