"""The whole page; the handlers of a part of it, and a visitor's request to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from coroutines import run_async

from digitcnn.ui.access import Access
from digitcnn.ui.clock import Clock
from digitcnn.ui.page import build_page
from digitcnn.workspace import Workspace

Handlers = dict[str, Callable[..., Any]]


def whole_page(folder: Path) -> gr.Blocks:
    """Return the page over an empty folder."""
    folders = (folder / name for name in ("data", "outputs", "checkpoints", "f.sqlite3"))
    access = Access("t" * 32, local_is_owner=True, open_to_all=False)

    async def built() -> gr.Blocks:  # Gradio takes the running loop, and would leave one open
        return build_page(Workspace(*folders, device="cpu"), access)

    return run_async(built())


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
