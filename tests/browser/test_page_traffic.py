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


@pytest.fixture
def page(browser: Any, app: App) -> Iterator[Any]:
    context = browser.new_context()
    opened = context.new_page()
    opened.asked = []
    opened.on("request", lambda request: opened.asked.append(request))
    opened.opened_at = time.monotonic()
    opened.goto(app.url)
    opened.locator("#learn-status .status-line").first.wait_for()
    yield opened
    context.close()


def asked_by_itself(page: Any) -> list[float]:
    """When the page asked how things stand, or to be brought up to date, in seconds."""
    behind = page.evaluate(
        "window.gradio_config.components.find(c => c.props.elem_id === 'page-refresh').id"
    )
    found = []
    for request in page.asked:
        if request.method != "POST":
            continue
        body = request.post_data_json
        if body.get("fn_name") == "page_state" or body.get("trigger_id") == behind:
            found.append(request.timing["startTime"] / 1000)
    return found


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
    page.wait_for_timeout(3500)
    seen = asked_by_itself(page)
    open_for = time.monotonic() - page.opened_at
    # Besides, it is brought up to date when it is behind, as at first.
    assert 1 <= len(seen) <= open_for + 2, "it asks while somebody looks, once a second"

    page.evaluate(SET_HIDDEN, True)
    page.wait_for_timeout(1200)  # what was under way
    before = len(asked_by_itself(page))
    page.wait_for_timeout(2500)
    assert len(asked_by_itself(page)) == before

    page.evaluate(SET_HIDDEN, False)
    with page.expect_request(lambda request: "page_state" in (request.post_data or "")):
        pass


def test_an_up_to_date_page_triggers_no_gradio_event(page: Any) -> None:
    def only_asks(request: Any) -> bool:
        return request.method == "POST" and request.post_data_json.get("fn_name") == "page_state"

    deadline = time.monotonic() + 30
    while len(list(takewhile(only_asks, reversed(page.asked)))) < 4:
        assert time.monotonic() < deadline, [request.url for request in page.asked]
        page.wait_for_timeout(500)
