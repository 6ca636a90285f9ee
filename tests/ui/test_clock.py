"""The page's clock: one call for all that is followed, and one failure that stops no other part."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from coroutines import run_async

from digitcnn.ui.clock import Clock


def tick_of(*looks: Callable[..., Any]) -> Callable[..., list[Any]]:
    """The one handler of a page with a field for each look, which is its input and output."""
    clock = Clock()

    async def built() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            for look in looks:
                field = gr.Textbox()
                clock.watch(look, [field], [field])
            clock.build(page)
        assert sum(isinstance(part, gr.Timer) for part in page.blocks.values()) == 1
        return page

    page = run_async(built())
    handlers = {fn.fn for fn in page.fns.values() if fn.fn is not None}
    assert len(handlers) == 1
    return handlers.pop()  # type: ignore[no-any-return]


def test_every_look_gets_its_own_values_and_fills_its_own_outputs() -> None:
    tick = tick_of(lambda _, a: [f"first {a}"], lambda _, b: [f"second {b}"])
    assert tick(gr.Request(), "x", "y") == ["first x", "second y"]


def test_a_look_that_fails_is_logged_once_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble = ["out of order"]

    def fails(_: gr.Request, value: str) -> list[str]:
        if trouble:
            raise OSError(trouble[0])
        return [value]

    tick = tick_of(fails, lambda _, b: [b])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert tick(gr.Request(), "x", "y") == [gr.skip(), "y"]
        assert len(caplog.records) == 1
        trouble.clear()
        assert tick(gr.Request(), "x", "y") == ["x", "y"]
        trouble.append("out of order")
        tick(gr.Request(), "x", "y")
    assert len(caplog.records) == 2
