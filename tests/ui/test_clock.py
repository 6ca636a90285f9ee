"""The page's clock: one call for all that is followed, and one failure that stops no other part."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from coroutines import run_async

from digitcnn.ui.clock import Clock, News


class Page:
    """A page with a field for each look, which is its input and output."""

    def __init__(self, *looks: Callable[..., Any], news: Callable[[], News] = lambda: News(0)):
        clock = Clock()

        async def built() -> gr.Blocks:
            with gr.Blocks(analytics_enabled=False) as page:
                for look in looks:
                    field = gr.Textbox()
                    clock.watch(look, [field], [field], news=news)
                clock.build(page)
            return page

        page = run_async(built())
        handlers = {fn.fn for fn in page.fns.values() if fn.fn is not None}
        assert len(handlers) == 1
        self.catch_up = handlers.pop()
        (self.asked,) = [
            function
            for part in page.blocks.values()
            for function in getattr(part, "server_fns", ())
        ]

    def update(self, *values: str) -> list[Any]:
        """Of the fields."""
        assert self.catch_up is not None
        updates = self.catch_up(gr.Request(), *values)
        assert updates[0] == self.state()
        return list(updates[1:])

    def state(self) -> str:
        """What a page that is up to date shows."""
        return str(self.asked({}, gr.Request(headers={}))["state"])


def test_every_refresh_gets_its_own_values_and_fills_its_own_outputs() -> None:
    page = Page(lambda _, a: [f"first {a}"], lambda _, b: [f"second {b}"])
    assert page.update("x", "y") == ["first x", "second y"]


def test_a_page_is_behind_when_the_news_are_others() -> None:
    now = [News(("idle", 1))]
    page = Page(lambda _, a: [a], news=lambda: now[0])
    before = page.state()
    assert page.state() == before
    now[0] = News(("running", 1), moving=True)
    after = page.state()
    assert after.split()[0] != before
    assert after.endswith(" moving")
    now[0] = News(("idle", 1))
    assert page.state() == before


def test_news_that_cannot_be_had_are_news_once() -> None:
    working = True

    def news() -> News:
        if not working:
            raise OSError("the disk is away")
        return News(0)

    page = Page(lambda _, a: [a], news=news)
    before = page.state()
    working = False
    failing = page.state()
    assert failing != before
    assert page.state() == failing


def test_a_failing_refresh_is_logged_once_and_the_others_continue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble = ["out of order"]

    def fails(_: gr.Request, value: str) -> list[str]:
        if trouble:
            raise OSError(trouble[0])
        return [value]

    page = Page(fails, lambda _, b: [b])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert page.update("x", "y") == [gr.skip(), "y"]
        assert len(caplog.records) == 1
        trouble.clear()
        assert page.update("x", "y") == ["x", "y"]
        trouble.append("out of order")
        page.update("x", "y")
    assert len(caplog.records) == 2


def test_news_tell_the_process_and_one_login_from_another() -> None:
    page = Page(lambda request, value: [value])

    def news(cookie: str) -> dict[str, Any]:
        headers = {"cookie": cookie} if cookie else {}
        return dict(page.asked({}, gr.Request(headers=headers)))

    first = news("theme=dark; access-token-a1=secret")
    assert "secret" not in str(first)
    assert first["login"] == news("access-token-a1=secret; theme=light")["login"]
    assert first["login"] != news("access-token-a1=another")["login"]
    assert news("theme=dark")["login"] == ""
