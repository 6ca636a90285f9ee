"""Why something was refused is seen by the person who pressed for it."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from tab_handlers import whole_page

from digitcnn.errors import ConfigError
from digitcnn.ui.toasts import toasting

TOASTING = {wrapped.__code__ for wrapped in (toasting(lambda: None), toasting(lambda: (yield)))}


def test_handlers_of_buttons_use_the_queue_since_gradio_shows_no_other_errors(
    tmp_path: Path,
) -> None:
    page = whole_page(tmp_path)
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
