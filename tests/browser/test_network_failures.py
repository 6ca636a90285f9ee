"""The page while the app does not answer: what it says, how often it asks, and how it recovers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counted_page import CountedPage
from drawing import ONE, SEVEN, Stroke, draw
from playwright.sync_api import expect
from running_app import App

pytestmark = pytest.mark.browser

DOT = [(0.1, 0.1), (0.12, 0.1)]
NOT_RESPONDING = "digitcnn is not responding. Your drawing is kept; retrying…"
LOGGED_OUT = "Log in again."
CALLS = "**/gradio_api/**"

FAILURES: dict[str, dict[str, Any]] = {
    "no network": {},
    "429": {"status": 429, "json": {"detail": "Too many requests"}},
    "502": {"status": 502, "body": "<h1 id='portal'>Bad gateway</h1>", "content_type": "text/html"},
    "503": {"status": 503, "body": "no healthy upstream"},
    "an HTML page": {
        "status": 200,
        "body": "<h1 id='portal'>Welcome to the hotel's network</h1>",
        "content_type": "text/html",
    },
    "401": {"status": 401, "json": {"detail": {"error": "Not authenticated"}}},
}
# The page handles these as it does the others, and without a network as when the app has ended; the
# long tests try them.
ALIKE = ("no network", "429", "502", "503")

SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class Sketchpad(CountedPage):
    """The Sketchpad tab of a page of its own."""

    def __init__(self, browser: Any, app: App, *, own_clock: bool = False) -> None:
        self.app = app
        self.context = browser.new_context(viewport={"width": 1300, "height": 1000})
        super().__init__(self.context.new_page())
        if own_clock:
            self.page.clock.install()

    def open(self) -> Sketchpad:
        self.page.goto(self.app.url)
        self.page.get_by_role("tab", name="Sketchpad").click()
        self.page.locator("#pad[data-model]").wait_for()
        return self

    def draw(self, stroke: Stroke = SEVEN) -> None:
        draw(self.page, stroke)

    def predicts(self, digit: str) -> None:
        """Wait until the prediction is ``digit``; empty: until there is none."""
        self.page.locator(f'#pad-answer[data-digit="{digit}"]').wait_for()

    def predicts_something(self) -> None:
        self.page.locator('#pad-answer:not([data-digit=""])').wait_for()

    def ink(self) -> int:
        return int(
            self.page.locator("#pad canvas").evaluate(
                """pad => pad.getContext("2d").getImageData(0, 0, pad.width, pad.height).data
                    .filter((value, i) => i % 4 === 3 && value > 0).length"""
            )
        )

    def fail(self, how: dict[str, Any], calls: str = CALLS) -> None:
        """Answer all further requests to the app like this; with ``{}``, none gets through."""
        self.page.route(calls, lambda route: route.fulfill(**how) if how else route.abort())

    def score(self) -> tuple[int, int]:
        """The visitor's right predictions, and all that they judged."""
        text = self.page.locator("#feedback-score div").first.inner_text()
        match = re.search(r"(\d+) of (\d+) right", text)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def has_score(self, right: int, total: int) -> None:
        score = self.page.locator("#feedback-score div").first
        expect(score).to_contain_text(f"{right} of {total} right")

    def stored(self) -> dict[str, str]:
        """Return the page's session storage."""
        return dict(self.page.evaluate("() => ({ ...sessionStorage })"))

    def start_over(self) -> None:
        """Bring back a working app and a seven on the pad, whatever the last test left."""
        self.page.unroute_all()
        self.page.evaluate(SET_HIDDEN, False)
        self.pass_time(0.5)  # a call that time leaps over would count as failed
        self.page.clock.fast_forward(60_000)  # the next probe is due
        self.page.get_by_role("tab", name="Sketchpad").click()
        expect(self.page.locator(".sketchpad .message")).to_be_empty()
        self.pass_time(16)  # the outage counts as over
        self.page.locator("#pad-clear").click()
        self.predicts("")
        self.draw()
        self.predicts("7")
        self.settle()

    def close(self) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def shared_pad(browser: Any, app: App) -> Iterator[Sketchpad]:
    """A page with a clock of its own."""
    opened = Sketchpad(browser, app, own_clock=True).open()
    yield opened
    opened.close()


@pytest.fixture
def pad(shared_pad: Sketchpad) -> Sketchpad:
    """The shared page with a seven on the pad."""
    shared_pad.start_over()
    return shared_pad


@pytest.mark.long
def test_the_page_survives_the_death_and_restart_of_the_app(browser: Any, own_app: App) -> None:
    pad = Sketchpad(browser, own_app, own_clock=True).open()
    page = pad.page
    pad.draw()
    pad.predicts("7")
    pad.settle()
    page.evaluate("window.isFirstLoad = true")
    own_app.end()
    before, ended = len(pad.asked), pad.now()
    # Gradio sees that its event is lost, and would ask for the app's id every two seconds.
    page.evaluate("document.getElementById('page-refresh').click()")
    pad.draw(DOT)
    pad.predicts("")
    expect(page.locator(".sketchpad .message")).to_have_text(NOT_RESPONDING)
    expect(page.locator("#panel-why .said")).to_have_text(NOT_RESPONDING)
    expect(page.locator("#feedback-view .said")).to_have_text(NOT_RESPONDING)
    expect(page.locator("#feedback-right")).to_be_disabled()
    while pad.now() - ended < 11:
        pad.draw(DOT)
        pad.pass_time(1)
    # Not counting the click above.
    probes = [name for name in pad.asked[before:] if not name.startswith("run/")]
    assert len(probes) <= 3, probes

    restarted = App(own_app.folder, Path(), port=own_app.port)
    try:
        # By itself with the next probe, on the tab and with the drawing that it had.
        page.clock.fast_forward(13_000)
        page.wait_for_function("!window.isFirstLoad")
        pad.predicts_something()
        expect(page.get_by_role("tab", name="Sketchpad")).to_have_attribute("aria-selected", "true")
        expect(page.locator(".sketchpad .message")).to_be_empty()
        assert pad.ink() > 1000
    finally:
        restarted.end()
        pad.close()


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.long) if kind in ALIKE else kind for kind in FAILURES],
)
def test_few_requests_are_sent_while_the_app_fails(pad: Sketchpad, kind: str) -> None:
    page = pad.page
    pad.fail(FAILURES[kind])
    before, failed = len(pad.asked), pad.now()
    pad.draw(DOT)
    pad.predicts("")
    text = LOGGED_OUT if kind == "401" else NOT_RESPONDING
    expect(page.locator(".sketchpad .message")).to_have_text(text)
    pad.pass_time(5, since=failed)
    assert 2 <= len(pad.asked) - before <= 3, pad.asked[before:]
    first, drawn = len(pad.asked), pad.now()
    for _ in range(3):
        pad.draw(DOT)
    pad.pass_time(4, since=drawn)
    assert len(pad.asked) - first <= 1, pad.asked[first:]
    first = len(pad.asked)
    pad.pass_time(36)
    assert 3 <= len(pad.asked) - first <= 4, pad.asked[first:]
    assert page.locator("#portal").count() == 0
    for place in ("#panel-why", "#feedback-view"):
        expect(page.locator(f"{place} .said")).to_have_text(text)
        expect(page.locator(place)).not_to_contain_text("Draw a digit", use_inner_text=True)

    page.unroute(CALLS)
    pad.pass_time(13)
    pad.predicts_something()
    expect(page.locator(".sketchpad .message")).to_be_empty()
    expect(page.locator("#panel-why .said")).to_be_empty()
    expect(page.locator("#feedback-view .said")).to_be_empty()


@pytest.mark.long
def test_retry_after_is_honoured(pad: Sketchpad) -> None:
    pad.fail({"status": 429, "json": {"detail": "slowly"}, "headers": {"Retry-After": "60"}})
    pad.draw(DOT)
    pad.predicts("")
    pad.pass_time(1)
    before = len(pad.asked)
    pad.pass_time(40)
    assert len(pad.asked) == before
    pad.pass_time(20)
    assert len(pad.asked) == before + 1


def test_a_hidden_page_sends_no_probe(pad: Sketchpad) -> None:
    pad.fail(FAILURES["503"])
    pad.draw(DOT)
    pad.predicts("")
    pad.page.evaluate(SET_HIDDEN, True)
    before = len(pad.asked)
    pad.pass_time(40)
    assert len(pad.asked) == before
    pad.page.evaluate(SET_HIDDEN, False)
    pad.pass_time(1)
    assert len(pad.asked) == before + 1


def test_feedback_whose_reply_is_lost_is_stored_once(pad: Sketchpad) -> None:
    page = pad.page
    right, total = pad.score()
    lost: list[str] = []

    def lose(route: Any) -> None:
        body = route.request.post_data or ""
        if '"fn_name":"give_feedback"' in body and not lost:
            lost.append(body)
            route.fetch()  # it reaches the app, and its reply does not reach the page
            route.abort()
        else:
            route.continue_()

    page.route(CALLS, lose)
    page.locator("#feedback-right").click()
    expect(page.locator(".recorded")).to_have_text(f"Feedback not saved yet. {NOT_RESPONDING}")
    pad.pass_time(3)
    expect(page.locator(".recorded")).to_contain_text("Saved: 7. The prediction 7 was right.")
    pad.has_score(right + 1, total + 1)
    expect(page.locator("#feedback-right")).to_contain_class("chosen")
    assert len(lost) == 1

    # Nothing after it is blocked.
    pad.draw([(0.5, 0.15), (0.5, 0.85)])
    pad.predicts("1")
    page.locator("#feedback-right").click()
    expect(page.locator(".recorded")).to_contain_text("Saved: 1")
    pad.has_score(right + 2, total + 2)


@pytest.mark.long
def test_feedback_that_never_arrives_is_reported_lost_and_blocks_nothing(pad: Sketchpad) -> None:
    page = pad.page

    def refuse(route: Any) -> None:
        if '"fn_name":"give_feedback"' in (route.request.post_data or ""):
            route.fulfill(status=503)
        else:
            route.continue_()

    page.route(CALLS, refuse)
    page.locator("#feedback-right").click()
    expect(page.locator(".recorded")).to_contain_text("Feedback not saved yet.")
    pad.pass_time(30)
    expect(page.locator(".recorded")).to_have_text("Your feedback was not saved; give it again.")
    page.unroute(CALLS)
    pad.pass_time(13)
    pad.predicts("7")
    page.locator("#feedback-right").click()
    expect(page.locator(".recorded")).to_contain_text("Saved: 7")


@pytest.mark.long
def test_the_compare_tab_reports_that_the_app_is_not_responding(pad: Sketchpad) -> None:
    page = pad.page
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-ask").wait_for()
    pad.settle()
    pad.fail({})
    before = len(pad.asked)
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-answers .notice")).to_have_text(NOT_RESPONDING)
    page.locator("#compare-ask").click()
    pad.pass_time(5)
    # The question, two probes, and perhaps the clock's call before the first failure.
    assert len(pad.asked) - before <= 4, pad.asked[before:]


@pytest.mark.long
def test_a_reload_keeps_tab_strokes_and_feedback_until_clear(browser: Any, app: App) -> None:
    pad = Sketchpad(browser, app).open()
    page = pad.page
    pad.draw()
    pad.predicts("7")
    ink = pad.ink()
    stored = pad.stored()
    assert set(stored) == {"digitcnn-tab", "digitcnn-sketch"}
    strokes = json.loads(stored["digitcnn-sketch"])["strokes"]
    assert [set(stroke) for stroke in strokes] == [{"began", "points"}]
    page.locator("#feedback-right").click()
    expect(page.locator(".recorded")).to_contain_text("Saved: 7")

    page.reload()
    pad.predicts("7")
    assert pad.ink() == ink
    expect(page.locator(".recorded")).to_contain_text("Saved: 7")
    expect(page.locator("#feedback-right")).to_have_class(re.compile("chosen"))
    # Feedback on the same sketch again counts once.
    page.locator("#feedback-right").click()
    expect(page.locator(".recorded")).to_contain_text("Corrected: 7")
    pad.has_score(1, 1)

    # The next stroke replaces a sketch that has its feedback.
    page.reload()
    pad.predicts("7")
    pad.draw(ONE)
    pad.predicts("1")
    expect(page.locator(".recorded")).to_be_empty()

    page.locator("#pad-clear").click()
    assert set(pad.stored()) == {"digitcnn-tab"}
    page.reload()
    page.locator("#pad canvas").wait_for()
    pad.predicts("")
    pad.draw()  # the same stroke, and another sketch
    pad.predicts("7")
    page.locator("#feedback-right").click()
    pad.has_score(2, 2)
    pad.close()


@pytest.mark.long
def test_logging_out_and_another_login_clear_the_sketch(
    browser: Any, tmp_path: Path, data_dir: Path
) -> None:
    names = tmp_path / "names"
    names.write_text("ann:one\nbob:two\n")
    app = App(tmp_path, data_dir, "--auth-file", str(names))
    pad = Sketchpad(browser, app, own_clock=True)

    def log_in(name: str, password: str) -> None:
        form = {"username": name, "password": password}
        assert pad.page.request.post(f"{app.url}/login", form=form).ok

    log_in("ann", "one")
    held = []

    def hold(route: Any) -> None:
        if '"fn_name":"page_state"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    # Drawn before the page knows who is logged in.
    pad.page.route(CALLS, hold)
    pad.open()
    pad.draw()
    pad.predicts("7")
    assert held
    pad.page.unroute(CALLS, hold)  # which lets them go
    pad.page.wait_for_function(
        "Object.keys(sessionStorage).some(key => key.startsWith('digitcnn-sketch-'))"
    )
    assert not any(text in str(pad.stored()) for text in ("ann", "access-token"))

    # In the same tab, without a word to the page.
    pad.page.goto(f"{app.url}/logout")
    log_in("bob", "two")
    pad.open()
    pad.page.wait_for_function("!Object.keys(sessionStorage).some(k => k.includes('sketch'))")
    assert pad.ink() == 0

    # In a second tab: the first one hears of it by the next answer.
    pad.draw()
    pad.predicts("7")
    other = pad.context.new_page()
    other.goto(f"{app.url}/logout")
    before = len(pad.asked)
    expect(pad.page.locator(".sketchpad .message")).to_have_text(LOGGED_OUT)
    pad.predicts("")
    assert pad.stored() == {}
    pad.pass_time(4)
    assert len(pad.asked) - before <= 4
    pad.close()
    app.end()
