"""What the page asks for by itself: nothing elsewhere, little here, nothing when nobody looks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
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
    opened.locator("#train-status .status-line").first.wait_for()
    yield opened
    context.close()


def ticks(page: Any) -> list[float]:
    """When the page asked for the state, in seconds: an event whose trigger is a timer."""
    timers = page.evaluate(
        "window.gradio_config.components.filter(c => c.type === 'timer').map(c => c.id)"
    )
    return [
        request.timing["startTime"] / 1000
        for request in page.asked
        if request.method == "POST"
        and request.url.endswith("/run/predict")
        and request.post_data_json.get("trigger_id") in timers
    ]


def test_nothing_is_asked_of_another_machine(page: Any, app: App) -> None:
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


def test_timers_tick_at_most_once_a_second_and_not_in_a_hidden_tab(page: Any) -> None:
    page.wait_for_timeout(3500)
    seen = ticks(page)
    timers = page.evaluate("window.gradio_config.components.filter(c => c.type === 'timer').length")
    assert timers == 1
    open_for = time.monotonic() - page.opened_at
    assert 1 <= len(seen) <= open_for + 1, "it ticks while somebody looks, once a second"

    page.evaluate(SET_HIDDEN, True)
    page.wait_for_timeout(1200)  # what was under way
    before = len(ticks(page))
    page.wait_for_timeout(2500)
    assert len(ticks(page)) == before

    page.evaluate(SET_HIDDEN, False)
    with page.expect_request(lambda request: request.url.endswith("/run/predict"), timeout=10_000):
        pass
