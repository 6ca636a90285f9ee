"""What the page asks for by itself: nothing elsewhere, little here, nothing when nobody looks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from counted_page import CountedPage
from running_app import App

pytestmark = pytest.mark.browser

SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class Opened(CountedPage):
    """A page with all its requests, wherever they go."""

    def __init__(self, page: Any, app: App) -> None:
        super().__init__(page)
        self.requests: list[Any] = []
        page.on("request", lambda request: self.requests.append(request))
        page.clock.install()
        page.goto(app.url)
        page.locator("#learn-status .status-line").first.wait_for()
        self.refresh = page.evaluate(
            "window.gradio_config.components.find(c => c.props.elem_id === 'page-refresh').id"
        )

    def polls(self) -> int:
        """Count the page's requests for its version, and for a refresh."""
        bodies = [request.post_data_json for request in self.requests if request.method == "POST"]
        return sum(
            body.get("fn_name") == "page_state" or body.get("trigger_id") == self.refresh
            for body in bodies
        )


@pytest.fixture(scope="module")
def opened(browser: Any, app: App) -> Iterator[Opened]:
    context = browser.new_context()
    yield Opened(context.new_page(), app)
    context.close()


def test_no_request_goes_to_another_machine(opened: Opened, app: App) -> None:
    for name in ("Evaluate", "Stability", "Sketchpad", "Train"):
        opened.page.get_by_role("tab", name=name).click()
    opened.page.wait_for_timeout(500)
    elsewhere = [
        request.url
        for request in opened.requests
        if not request.url.startswith((app.url + "/", "data:", "blob:"))
    ]
    assert elsewhere == []
    assert re.search(r"<link[^>]*(googleapis|cdn)", opened.page.content()) is None


def test_the_clock_polls_once_a_second_and_not_in_a_hidden_tab(opened: Opened) -> None:
    opened.pass_time(2)  # the refresh after loading
    before = opened.polls()
    opened.pass_time(10)
    assert 8 <= opened.polls() - before <= 13

    opened.page.evaluate(SET_HIDDEN, True)
    opened.page.wait_for_timeout(200)  # for a request on its way
    before = opened.polls()
    opened.pass_time(10)
    assert opened.polls() == before

    with opened.page.expect_request(lambda request: "page_state" in (request.post_data or "")):
        opened.page.evaluate(SET_HIDDEN, False)


def test_an_up_to_date_page_triggers_no_gradio_event(opened: Opened) -> None:
    def only_asks(request: Any) -> bool:
        return request.method == "POST" and request.post_data_json.get("fn_name") == "page_state"

    deadline = time.monotonic() + 30
    while len(list(takewhile(only_asks, reversed(opened.requests)))) < 4:
        assert time.monotonic() < deadline, [request.url for request in opened.requests]
        opened.pass_time(1)
