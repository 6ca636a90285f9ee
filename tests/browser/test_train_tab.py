"""The Train tab in a real browser: start, watch, reload, stop, resume, and refused settings."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App

pytestmark = pytest.mark.browser


# When each announcement came, and its text.
NOTE_ANNOUNCEMENTS = """() => {
    window.announced = [];
    const region = document.getElementById("announcements");
    const note = () => window.announced.push([performance.now(), region.textContent]);
    new MutationObserver(note).observe(region, { childList: true });
}"""


class TrainPage:
    """What a person does on the Train tab."""

    def __init__(self, browser: Any, app: App) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(f"{app.url}/?tab=train")
        self.ready()

    def ready(self) -> None:
        self.page.locator("#train-status [data-state]").wait_for()

    def choose(self, **numbers: float | str) -> None:
        for name, value in numbers.items():
            field = self.page.locator(f"#train-{name.replace('_', '-')} input[type=number]").first
            field.fill(str(value))
            field.press("Tab")

    def choose_set(self, name: str) -> None:
        """Train on this set alone."""
        sets = self.page.locator("#train-digits")
        sets.locator(f"input[name={name}]").check()
        for other in sets.locator("label").all():
            if not other.inner_text().strip().startswith(f"{name} "):
                other.locator("input").uncheck()

    def more(self) -> None:
        self.page.get_by_role("button", name="More settings").click()
        self.page.locator("#train-seed").wait_for()

    def wait_for_an_epoch(self) -> None:
        """Wait until the accuracy chart has a point; the legend's markers have no title."""
        self.page.locator("#train-curves .mark title").first.wait_for(state="attached")

    def state(self) -> str:
        return str(self.page.locator("#train-status [data-state]").get_attribute("data-state"))

    def wait_for(self, *states: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while self.state() not in states:
            assert time.monotonic() < deadline, self.page.locator("body").inner_text()
            self.page.wait_for_timeout(50)
        return self.state()


@pytest.mark.long
def test_training_is_started_watched_reloaded_stopped_and_resumed(
    browser: Any, own_app: App
) -> None:
    train_page = TrainPage(browser, own_app)
    page = train_page.page
    assert train_page.state() == "idle"
    train_page.choose_set("small")
    train_page.choose(epochs=60, batch_size=64, learning_rate=0.002)
    expect(page.locator("#train-start")).to_contain_text("(about")
    train_page.more()
    page.locator("#train-name input, #train-name textarea").fill("from-the-page")
    page.locator("#train-start button, button#train-start").first.click()
    train_page.wait_for("running")

    # A term keeps the focus and its tooltip while the status around it is rendered again.
    term = page.locator("#train-status .term").first
    term.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    text = page.locator("#train-status").inner_text()
    # The promise is a change at least every 5 seconds; the bound allows for a busy machine.
    expect(page.locator("#train-status")).not_to_have_text(text, timeout=15_000)
    expect(term).to_be_focused()
    expect(page.locator(".tooltip")).to_be_visible()

    # Another browser, and this one after a reload, see the same run.
    other = TrainPage(browser, own_app)
    assert "from-the-page" in other.page.locator("#train-status").inner_text()
    page.reload()
    train_page.ready()
    assert train_page.state() == "running"
    train_page.wait_for_an_epoch()
    expect(page.locator("#train-status .run-result")).to_contain_text("held-out images after epoch")

    other.page.locator("#train-stop").click()
    train_page.wait_for("stopped", "finished")
    if train_page.state() == "stopped":
        assert "Stopped" in page.locator("#train-status").inner_text()
        page.locator("#train-resume").click()
        train_page.wait_for("running", "finished")
    assert page.locator("#runs-table").get_by_text("from-the-page").count() > 0
    assert train_page.problems == []
    other.page.close()
    page.close()


@pytest.fixture(scope="module")
def idle_app(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("idle"), data_dir)
    yield app
    app.end()


@pytest.fixture(scope="module")
def idle_page(browser: Any, idle_app: App) -> Iterator[TrainPage]:
    """A page that three tests use one after the other, the last to train until the app ends."""
    opened = TrainPage(browser, idle_app)
    opened.choose_set("small")
    yield opened
    opened.page.close()


@pytest.mark.long
def test_invalid_settings_are_refused_beside_their_field_and_nothing_is_lost(
    idle_page: TrainPage,
) -> None:
    train_page, page = idle_page, idle_page.page
    estimate = page.locator("#train-estimate")
    expect(estimate).to_contain_text("440 images, 12 epochs")
    # Left, a field is checked at once; a number beyond its slider stays, with its sentence.
    epochs = page.locator("#train-epochs")
    for number in ("999999999999", "0", ""):
        train_page.choose(epochs=number)
        expect(epochs.locator(".field-error")).to_contain_text(
            f"The number of epochs is {number or 'empty'}; choose a whole number from 1 to 200."
        )
        expect(epochs.get_by_role("spinbutton", name="Epochs", exact=True)).to_have_value(number)
    train_page.choose(epochs=12)
    expect(page.locator(".field-error:visible")).to_have_count(0)
    expect(epochs.get_by_role("slider", name="Epochs", exact=True)).to_have_value("12")
    train_page.more()
    train_page.choose(seed=-5)
    expect(page.locator("#train-seed .field-error")).to_contain_text("The seed is -5")
    expect(estimate).to_have_text("Correct the marked setting to see an estimate.")
    problem = page.locator("#train-learning-rate .field-error")
    train_page.choose(learning_rate=1e9)
    expect(problem).to_be_visible()
    expect(page.locator("#train-seed .field-error")).to_be_visible()
    train_page.choose(seed=0)
    expect(page.locator("#train-seed .field-error")).to_have_count(0)
    expect(problem).to_contain_text(re.compile("learning rate is (1e\\+09|1000000000)"))
    expect(page.locator("#train-learning-rate [type=number]")).to_have_attribute(
        "aria-invalid", "true"
    )
    assert train_page.state() == "idle"
    # Pressing again, with the sentence there already, leads to the field again.
    for button in ("quick", "start"):
        rate = page.locator("#learning-rate-value")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.locator(f"#train-{button}").evaluate(
            "button => { button.focus({ preventScroll: true }); button.click(); }"
        )
        expect(rate).to_be_focused()
        expect(rate).to_be_in_viewport()
    train_page.choose(learning_rate="")
    page.locator("#train-start").click()
    expect(problem).to_contain_text("Enter a learning rate from 0.00001 to 0.1.")
    train_page.choose(learning_rate=0.002)
    expect(problem).to_have_count(0)
    # Also while it is being typed.
    page.locator("#train-epochs [type=number]").fill("0")
    expect(page.locator("#train-epochs .field-error")).to_contain_text("from 1 to 200")
    expect(page.locator(".toast-body:visible")).to_have_count(0)
    train_page.choose(epochs=3)
    expect(page.locator("#train-epochs .field-error")).to_have_count(0)
    expect(page.locator("#train-start")).to_contain_text("Start training (about")


def test_a_quick_training_starts_at_once_and_leads_to_drawing(idle_page: TrainPage) -> None:
    train_page, page = idle_page, idle_page.page
    train_page.choose(epochs=200)
    top_of_page = "element => element.getBoundingClientRect().top + scrollY"
    curves_at = page.locator("#train-curves").evaluate(top_of_page)
    page.evaluate(NOTE_ANNOUNCEMENTS)
    page.locator("#train-quick").click()
    train_page.wait_for("finished")
    page.locator("#train-status").get_by_text("after epoch 8").wait_for()
    expect(page.locator("[role=status]#announcements")).to_have_text(
        re.compile(r"^Training small-.*: Finished 8 .*% on 100 small test images\.$")
    )
    (started, first), *progress, _ = page.evaluate("window.announced")
    assert "starting" in first
    for earlier, (at, text) in zip([started, *(at for at, _ in progress)], progress, strict=False):
        assert at - earlier > 9_900, f"{text} comes too early"
    expect(page.locator("#model-select input")).to_have_value(re.compile("^small-"))
    expect(page.locator(".swap-toast")).to_contain_text("The model in use is now small-")
    assert page.locator("#train-curves").evaluate(top_of_page) == curves_at, "they moved"
    # A page opened now has this model from the start.
    later = page.context.browser.new_page()
    later.goto(page.url)
    expect(later.locator("#model-select input")).to_have_value(re.compile("^small-"))
    expect(later.locator("#train-start")).to_contain_text("(about")
    assert later.locator(".swap-toast").count() == 0
    later.close()
    expect(page.locator("#train-start")).to_contain_text("(about")
    result = page.locator("#train-status .run-result")
    expect(result).to_contain_text("of 100 small test images")
    page.get_by_role("tab", name="Sketchpad", exact=True).click()
    draw(page, ONE)
    expect(page.locator("#pad-clear")).to_be_enabled()
    page.get_by_role("tab", name="Train", exact=True).click()
    result.get_by_role("button", name="Draw a digit").click()
    expect(page.locator("#pad canvas").first).to_be_visible()
    expect(page.locator("#pad-clear")).to_be_disabled()
    expect(page.locator("#pad-answer")).to_have_attribute("data-digit", "")


def test_the_learning_rate_is_there_when_the_page_opened_on_another_tab(
    browser: Any, idle_app: App
) -> None:
    page = browser.new_page()
    page.goto(idle_app.url)
    page.locator("#learn-status .status-line").first.wait_for()
    page.get_by_role("tab", name="Train", exact=True).click()
    rate = page.locator("#train-learning-rate")
    expect(rate.locator("input[type=number]")).to_have_value("0.008")
    expect(rate.locator("input[type=range]")).to_have_value("-2.1")
    page.close()


@pytest.mark.long
def test_ending_the_app_keeps_the_resume_state(
    browser: Any, idle_app: App, idle_page: TrainPage, data_dir: Path
) -> None:
    page = idle_page.page
    page.get_by_role("tab", name="Train", exact=True).click()
    idle_page.choose(epochs=200, batch_size=16)
    page.locator("#train-start").click()
    # After an epoch there is something to resume.
    expect(page.locator("#train-status")).to_contain_text(re.compile(r"epoch ([2-9]|\d\d) of 200"))
    idle_app.process.send_signal(signal.SIGTERM)
    assert idle_app.process.wait(30) == 0
    again = App(idle_app.folder, data_dir)
    try:
        later = TrainPage(browser, again)
        later.page.locator("#runs-table").get_by_text("interrupted").filter(
            visible=True
        ).first.wait_for()
        resume = later.page.locator("#train-resume")
        assert resume.evaluate("one => one.scrollWidth <= one.clientWidth")  # its whole text shows
        resume.click()
        later.wait_for("running")
        later.page.close()
    finally:
        again.end()
