"""The whole page; the handlers of a part of it, and a visitor's request to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from coroutines import run_async

from digitcnn.ui.access import Access
from digitcnn.ui.address import FIRST_PORT, Address
from digitcnn.ui.clock import Clock
from digitcnn.ui.context import Context
from digitcnn.ui.invite import Invite
from digitcnn.ui.models import Models
from digitcnn.ui.page import build_page
from digitcnn.workspace import Workspace

Handlers = dict[str, Callable[..., Any]]
TOKEN = "a-token-that-is-long-enough-for-the-owner"


def whole_page(folder: Path) -> gr.Blocks:
    """Return the page over an empty folder."""
    folders = (folder / name for name in ("data", "outputs", "checkpoints", "f.sqlite3"))
    access = Access("t" * 32, local_is_owner=True, open_to_all=False)

    async def built() -> gr.Blocks:  # Gradio takes the running loop, and would leave one open
        return build_page(
            Workspace(*folders, device="cpu"), access, Invite(Address("127.0.0.1", FIRST_PORT))
        )

    return run_async(built())


class Part:
    """A part of the page by itself. handlers: its handlers by their names."""

    def __init__(
        self,
        workspace: Workspace,
        build: Callable[[Context], object],
        models: Models | None = None,
    ) -> None:
        """build: puts the part on a page that is open."""
        access = Access.from_settings(public=True, token=TOKEN, open_to_all=False)

        async def built() -> gr.Blocks:
            # Outside of a running loop Gradio makes loops of its own and leaves them open.
            with gr.Blocks(analytics_enabled=False) as page:
                clock, field, select = Clock(), gr.Textbox(), gr.Dropdown()
                used = models or Models(workspace)
                build(Context(workspace, used, access, clock, page, field, select))
                clock.build(page)
            return page

        functions = [fn for fn in run_async(built()).fns.values() if fn.fn is not None]
        self.handlers: Handlers = {str(fn.name): fn.fn for fn in functions if fn.fn is not None}
        self._outputs = next(fn.outputs for fn in functions if fn.name == "refresh_all")

    def refresh(self, *inputs: Any, shown: Any = ()) -> tuple[str, list[str], dict[str, Any]]:
        """Refresh a visitor's page.

        Returns the page's version, what it shows from now on (the next call's ``shown``), and the
        updates by the ``elem_id`` of their components; skipped ones are left out.
        """
        version, now, *updates = self.handlers["refresh_all"](request(), shown, *inputs)
        parts = [part.elem_id or str(part._id) for part in self._outputs[2:]]
        named = zip(parts, updates, strict=True)
        return version, now, {name: update for name, update in named if update != gr.skip()}


def request() -> Any:
    """Return a visitor's request: from another machine, without the token."""
    return type("Request", (), {"headers": {"host": "example.org"}})()
