"""What the page asks for by itself: nothing elsewhere, little here, nothing when nobody looks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from running_app import App

pytestmark = pytest.mark.browser

SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(scope="module")
def page(browser: Any, app: App) -> Iterator[Any]:
    context = browser.new_context()
    opened = context.new_page()
    opened.asked = []
    opened.on("request", lambda request: opened.asked.append(request))
    opened.clock.install()
    opened.goto(app.url)
    opened.locator("#learn-status .status-line").first.wait_for()
    yield opened
    context.close()


def polls(page: Any) -> int:
    """Count the page's requests for its version, and for a refresh."""
    refresh = page.evaluate(
        "window.gradio_config.components.find(c => c.props.elem_id === 'page-refresh').id"
    )
    bodies = [request.post_data_json for request in page.asked if request.method == "POST"]
    return sum(
        body.get("fn_name") == "page_state" or body.get("trigger_id") == refresh for body in bodies
    )


def pass_time(page: Any, seconds: int) -> None:
    """Advance the page's clock by half seconds, with pauses in which requests are sent."""
    for _ in range(2 * seconds):
        page.clock.fast_forward(500)
        page.wait_for_timeout(30)


def test_no_request_goes_to_another_machine(page: Any, app: App) -> None:
    for name in ("Evaluate", "Stability", "Sketchpad", "Train"):
        page.get_by_role("tab", name=name).click()
    page.wait_for_timeout(500)
    elsewhere = [
        request.url
        for request in page.asked
        if not request.url.startswith((app.url + "/", "data:", "blob:"))
    ]
    assert elsewhere == []
    assert re.search(r"<link[^>]*(googleapis|cdn)", page.content()) is None


def test_the_clock_polls_once_a_second_and_not_in_a_hidden_tab(page: Any) -> None:
    pass_time(page, 2)  # the refresh after loading
    before = polls(page)
    pass_time(page, 10)
    assert 8 <= polls(page) - before <= 13

    page.evaluate(SET_HIDDEN, True)
    page.wait_for_timeout(200)  # for a request on its way
    before = polls(page)
    pass_time(page, 10)
    assert polls(page) == before

    with page.expect_request(lambda request: "page_state" in (request.post_data or "")):
        page.evaluate(SET_HIDDEN, False)


def test_an_up_to_date_page_triggers_no_gradio_event(page: Any) -> None:
    def only_asks(request: Any) -> bool:
        return request.method == "POST" and request.post_data_json.get("fn_name") == "page_state"

    deadline = time.monotonic() + 30
    while len(list(takewhile(only_asks, reversed(page.asked)))) < 4:
        assert time.monotonic() < deadline, [request.url for request in page.asked]
        pass_time(page, 1)
