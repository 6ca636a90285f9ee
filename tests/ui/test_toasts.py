"""Why something was refused is seen by the person who pressed for it."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from coroutines import run_async

from digitcnn.errors import ConfigError
from digitcnn.ui.access import Access
from digitcnn.ui.page import build_page
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

TOASTING = {wrapped.__code__ for wrapped in (toasting(lambda: None), toasting(lambda: (yield)))}


def test_handlers_of_buttons_use_the_queue_since_gradio_shows_no_other_errors(
    tmp_path: Path,
) -> None:
    folders = (tmp_path / name for name in ("data", "outputs", "checkpoints", "f.sqlite3"))
    access = Access("t" * 32, local_is_owner=True, open_to_all=False)

    async def built() -> gr.Blocks:  # Gradio takes the running loop, and would leave one open
        return build_page(Workspace(*folders, device="cpu"), access)

    page = run_async(built())
    pressed = [
        handler
        for handler in page.fns.values()
        if getattr(handler.fn, "__code__", None) in TOASTING
        and any(event in ("click", "upload") for _, event in handler.targets)
    ]
    assert len(pressed) > 15
    silent = [handler.fn.__qualname__ for handler in pressed if handler.queue is False]
    assert silent == []


def test_the_error_of_a_field_names_it() -> None:
    @toasting
    def handler() -> None:
        raise ConfigError("The <value> is 0; choose 1.", field="epochs")

    with pytest.raises(gr.Error) as raised:
        handler()
    assert raised.value.message == (
        '<span class="field-problem epochs">The &lt;value&gt; is 0; choose 1.</span>'
    )
