"""The page's clock: one call refreshes all components, and a failure of one stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from coroutines import run_async
from tab_handlers import whole_page

from digitcnn.ui.clock import REFRESH_JS, Clock, Version


def _unchanging() -> Version:
    return Version(0)


class Page:
    """A page with a text field for each refresh, which is its input, output and status."""

    def __init__(
        self, *refreshes: Callable[..., Any], version: Callable[[], Version] = _unchanging
    ):
        clock = Clock()
        self.shown: Any = ()

        async def built() -> gr.Blocks:
            with gr.Blocks(analytics_enabled=False) as page:
                for refresh in refreshes:
                    field = gr.Textbox(elem_id="field")
                    clock.watch(refresh, [field], [field], version=version, status=field)
                clock.build(page)
            return page

        page = run_async(built())
        handlers = {fn.fn for fn in page.fns.values() if fn.fn is not None}
        assert len(handlers) == 1
        self.refresh_all = handlers.pop()
        (self.page_state,) = [
            function
            for part in page.blocks.values()
            for function in getattr(part, "server_fns", ())
        ]

    def update(self, *values: str) -> list[Any]:
        """Return what a refresh fills into the fields."""
        assert self.refresh_all is not None
        version, self.shown, *updates = self.refresh_all(gr.Request(), self.shown, *values)
        assert version == self.version()
        return updates

    def version(self) -> str:
        """Return the version of an up-to-date page."""
        return str(self.page_state({}, gr.Request(headers={}))["version"])


def test_every_refresh_gets_its_own_values_and_fills_its_own_outputs() -> None:
    page = Page(lambda _, a: [f"first {a}"], lambda _, b: [f"second {b}"])
    assert page.update("x", "y") == ["first x", "second y"]


def test_only_what_has_changed_or_is_in_progress_is_refreshed() -> None:
    now = [Version("first")]
    page = Page(lambda _, a: [a], version=lambda: now[0])
    assert page.update("x") == ["x"]
    assert page.update("x") == [gr.skip()]
    now[0] = Version("second", in_progress=True)
    assert page.update("x") == page.update("x") == ["x"]
    now[0] = Version("second")
    assert page.update("x") == [gr.skip()]


def test_version_follows_the_key_and_marks_what_runs() -> None:
    now = [Version(("idle", 1))]
    page = Page(lambda _, a: [a], version=lambda: now[0])
    before = page.version()
    assert page.version() == before
    now[0] = Version(("running", 1), in_progress=True)
    after = page.version()
    assert after.split()[0] != before
    assert after.endswith(" running")
    now[0] = Version(("idle", 1))
    assert page.version() == before


def test_an_error_counts_as_one_new_version() -> None:
    working = True

    def version() -> Version:
        if not working:
            raise OSError("the disk is away")
        return Version(0)

    page = Page(lambda _, a: [a], version=version)
    before = page.version()
    working = False
    failing = page.version()
    assert failing != before
    assert page.version() == failing


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
            status, other = page.update("x", "y")
            assert "The status is unavailable" in status
            page.shown = page.shown[:1]  # a page that shows only the first
            assert other == "y"
        assert len(caplog.records) == 1
        trouble.clear()
        assert page.update("x", "y") == ["x", "y"], "a failed refresh is repeated"
        trouble.append("out of order")
        page.shown = ()
        page.update("x", "y")
    assert len(caplog.records) == 2


def test_page_state_distinguishes_logins_without_revealing_their_cookies() -> None:
    page = Page(lambda request, value: [value])

    def state(cookie: str) -> dict[str, Any]:
        headers = {"cookie": cookie} if cookie else {}
        return dict(page.page_state({}, gr.Request(headers=headers)))

    first = state("theme=dark; access-token-a1=secret")
    assert "secret" not in str(first)
    assert first["login"] == state("access-token-a1=secret; theme=light")["login"]
    assert first["login"] != state("access-token-a1=another")["login"]
    assert state("theme=dark")["login"] == ""


def test_a_refresh_follows_what_starts_or_stops_a_job(tmp_path: Path) -> None:
    """A response that arrives after a later refresh would show an outdated state for good."""
    changes = {
        *("start_training", "start_quick", "stop_training", "resume_training"),
        *("start_fine_tuning", "stop_fine_tuning", "start_experiment", "stop_experiment"),
        *("make_prediction", "delete_outcome"),
    }
    handlers = list(whole_page(tmp_path).fns.values())
    after = {each._id: each.trigger_after for each in handlers}
    followed = set()
    for event in (each for each in handlers if each.js == REFRESH_JS):
        first = event.trigger_after
        while first is not None and after[first] is not None:
            first = after[first]
        followed |= {each.name for each in handlers if each._id == first}
    assert followed == changes
