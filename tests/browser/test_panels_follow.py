"""The panels beside the pad in a real browser: they follow the pen, fold, and move nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counted_page import CountedPage
from drawing import draw
from playwright.sync_api import expect
from running_app import ROOT, App

from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.network.checkpoint import load, save
from digitcnn.network.details import Details

pytestmark = [pytest.mark.browser, pytest.mark.long]

FOUR = [
    [(0.3, 0.15), (0.25, 0.55), (0.75, 0.55)],
    [(0.7, 0.15), (0.7, 0.88)],
]
BAR = [(0.5, 0.2), (0.5, 0.5), (0.5, 0.8)]
TWO_ROWS = [[(0.2, 0.1), (0.2, 0.3)], [(0.8, 0.7), (0.8, 0.9)]]


@pytest.fixture(scope="module")
def panel_app(
    tmp_path_factory: pytest.TempPathFactory, data_dir: Path, drawn: DigitSet
) -> Iterator[App]:
    """The network that ships, once as trained on the small set, and once as on what is not here."""
    folder = tmp_path_factory.mktemp("panel-app")
    (folder / "checkpoints").mkdir()
    network = load(ROOT / "checkpoints" / "digitcnn-mnist.pt").network
    training, _ = split_held_out(drawn)
    for name, digits in (("absent", "mnist"), ("known", "small")):
        details = Details(
            digits=digits,
            epochs=1,
            planned_epochs=1,
            state="finished",
            fingerprints={"train": training.fingerprint},
        )
        save(folder / "checkpoints" / f"{name}.pt", network, details)
    running = App(folder, data_dir)
    yield running
    running.end()


# The top of an element's text rather than of the element.
TEXT_TOP = """element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range.getBoundingClientRect().top;
}"""


class Panels(CountedPage):
    """What a person does on the Sketchpad with its panels."""

    def __init__(self, browser: Any, app: App) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 1000})
        super().__init__(self.context.new_page())
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(app.url)
        self.page.get_by_role("tab", name="Sketchpad").click()
        self.canvas = self.page.locator("#pad canvas")
        self.canvas.wait_for()
        self.page.locator("#pad[data-model]").wait_for(state="attached")
        # The example, which comes a moment after the page.
        self.page.locator('#pad-answer:not([data-digit=""])').wait_for()
        self.nearest = self.page.locator("#panel-nearest")
        self.why = self.page.locator("#panel-why")
        self.choose("known")

    def choose(self, model: str) -> None:
        if self.page.locator("#pad").get_attribute("data-model") != model:
            self.page.locator("#model-select input").click()
            self.page.get_by_role("option", name=re.compile(f"^{model} ")).click()
            self.page.locator(f'#pad[data-model="{model}"]').wait_for(state="attached")

    def draw(self, strokes: Any = FOUR, lift: bool = True) -> None:
        for stroke in strokes:
            draw(self.page, stroke, lift=lift)

    def show(self, name: str) -> None:
        self.page.locator(f"#tab-{name}").click()
        expect(self.page.locator(f"#panel-{name}")).to_be_visible()

    def labels(self) -> Any:
        return self.nearest.locator(".label")

    def begin_again(self) -> None:
        """What earlier tests of this page left is taken back, and what was asked forgotten."""
        self.choose("known")
        self.canvas.press("Escape")
        self.page.locator('#pad-answer[data-digit=""]').wait_for()
        self.show("nearest")
        expect(self.labels()).to_have_text(["–"] * 9)
        self.show("why")
        expect(self.why.locator(".sentence")).to_contain_text("Draw a digit")
        self.show("why")
        self.asked.clear()

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


@pytest.fixture(scope="module")
def long_open(browser: Any, panel_app: App) -> Iterator[Panels]:
    opened = Panels(browser, panel_app)
    yield opened
    opened.close()


@pytest.fixture
def used(long_open: Panels) -> Iterator[Panels]:
    """Empty panels that others have used: a page takes seconds to load."""
    long_open.begin_again()
    yield long_open
    assert long_open.problems == []


def test_nothing_on_the_page_moves_when_panels_are_filled(used: Panels) -> None:
    places = """() => [...document.querySelectorAll(".panel, .panel .content > *, #pad")].map(
        part => { const box = part.getBoundingClientRect();
            return [box.left, box.top, box.height].map(Math.round); })"""
    before = used.page.evaluate(places)
    used.draw()
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^4 is .*as likely as \d: "))
    assert used.page.evaluate(places) == before
    used.show("nearest")
    expect(used.labels().first).to_have_text(re.compile(r"^\d$"))
    before = used.page.evaluate(places)
    used.choose("absent")
    expect(used.nearest.locator(".said")).to_contain_text("data download mnist")
    expect(used.nearest.locator(".content")).to_be_hidden()
    assert used.page.evaluate(places) == before


def test_panels_follow_the_pen_before_it_is_lifted(used: Panels) -> None:
    used.draw(FOUR[:1], lift=False)
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^\d is .*as likely as \d: "))
    # It is read out when the pen is lifted.
    expect(used.why.locator(".sentence")).to_have_attribute("aria-live", "off")
    used.page.mouse.up()
    expect(used.why.locator(".sentence")).to_have_attribute("aria-live", "polite")
    used.draw(FOUR[1:])
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^4 is .*as likely as \d: "))
    coloured = used.why.locator(".overlay").evaluate(
        """overlay => overlay.getContext("2d").getImageData(0, 0, 336, 336).data
            .filter((value, i) => i % 4 === 3 && value > 0).length"""
    )
    assert coloured > 5000
    lit = used.why.locator(".first").evaluate(
        """strip => strip.getContext("2d").getImageData(0, 0, strip.width, strip.height).data
            .filter((value, i) => i % 4 === 0 && value > 200).length"""
    )
    assert lit > 20
    used.show("nearest")
    expect(used.nearest.locator(".agree")).to_have_text(
        re.compile(
            r"^(All 9|. of the 9) nearest among 440 small images match(es)? the prediction 4\.$"
        )
    )


def test_the_rival_is_chosen_with_the_keyboard(used: Panels) -> None:
    used.draw()
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^4 is .*as likely as \d: "))
    select = used.why.get_by_label("Rival digit")
    select.focus()
    select.press("9")  # as in any list: goes to the entry that begins so
    select.select_option("9")
    expect(used.why.locator(".sentence")).to_have_text(
        re.compile(r"^4 is .*as likely as 9: .* top")
    )
    select.select_option("4")  # the answer itself is no rival
    expect(used.why.locator(".sentence")).not_to_have_text(re.compile("not a 9"))


def test_a_rejected_sketch_is_explained_as_not_a_digit(used: Panels) -> None:
    used.draw()
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^4 is .*as likely as \d: "))
    used.page.evaluate(
        """() => {
            window.stopRefusing = new AbortController();
            window.addEventListener("digitcnn-answer", ({ detail }) => {
                if (detail.digit !== null) detail.refused = true;
            }, { capture: true, signal: window.stopRefusing.signal });
        }"""
    )
    used.page.evaluate('dispatchEvent(new CustomEvent("digitcnn-model", { detail: "known" }))')
    expect(used.why.locator(".sentence")).to_have_text(
        re.compile(r"^Not a digit\. Among the digits, 4 is .*as likely as ")
    )
    used.show("nearest")
    expect(used.nearest.locator(".agree")).to_have_text(re.compile(r"match the closest digit 4\.$"))
    used.page.evaluate("window.stopRefusing.abort()")


def test_without_a_prediction_the_panels_explain_and_ask_nothing(used: Panels) -> None:
    used.draw(TWO_ROWS[:1])
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^\d is .*as likely as \d: "))
    used.draw(TWO_ROWS[1:])
    expect(used.page.locator("#pad-answer .words")).to_have_text("Not one row of digits")
    expect(used.why.locator(".said")).to_have_text("No prediction to explain.")
    # It stands where the content begins, however high that is.
    said = used.why.locator(".said").evaluate(TEXT_TOP)
    assert 0 <= said - used.why.locator(".front").bounding_box()["y"] < 60
    used.asked.clear()
    for name in ("why", "nearest", "what_if", "step-through", "break-it", "replay"):
        used.show(name)
        panel = used.page.locator(f"#panel-{name}")
        expect(panel.locator(".said")).to_have_text("No prediction to explain.")
        expect(panel.locator(".content")).to_be_hidden()
    assert set(used.asked) <= {"page_state", "replay_state"}  # of clocks
    used.page.locator("#pad-clear").click()
    expect(used.page.locator("#panel-replay .said")).to_be_empty()


def test_an_empty_pad_empties_the_panels(used: Panels) -> None:
    used.draw()
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^4 is .*as likely as \d: "))
    used.show("nearest")
    expect(used.labels().first).to_have_text(re.compile(r"^\d$"))
    used.page.locator("#pad-clear").click()
    expect(used.labels()).to_have_text(["–"] * 9)
    used.show("why")
    expect(used.why.locator(".sentence")).to_contain_text("Draw a digit")


def test_a_panel_that_is_not_shown_asks_for_nothing_and_catches_up(used: Panels) -> None:
    used.draw()
    expect(used.why.locator(".sentence")).to_have_text(re.compile(r"^4 is .*as likely as \d: "))
    assert not {"nearest", "what_if", "replay"} & set(used.asked)
    expect(used.nearest.locator(".agree")).to_have_text("Computing…")
    button = used.page.locator("#tab-nearest")
    button.focus()
    button.press("Enter")
    expect(used.why).to_be_hidden()
    expect(used.labels().first).to_have_text(re.compile(r"^\d$"))
    assert "nearest" in used.asked


def test_panels_rest_while_another_tab_is_shown(used: Panels) -> None:
    used.show("nearest")
    used.draw()
    expect(used.labels().first).to_have_text(re.compile(r"^\d$"))
    used.page.get_by_role("tab", name="Train").click()
    used.page.locator("#train-start").wait_for()
    used.settle()  # each point of the drawing was asked about
    before = used.asked.count("nearest")
    with used.page.expect_response(lambda reply: "component_server" in reply.url):
        used.choose("absent")  # the pad answers it again
    used.settle()
    assert used.asked.count("nearest") == before
    used.page.get_by_role("tab", name="Sketchpad").click()
    expect(used.nearest.locator(".said")).to_contain_text("data download mnist")


def test_on_a_phone_the_pad_comes_first(used: Panels) -> None:
    wide = used.page.viewport_size
    used.page.set_viewport_size({"width": 360, "height": 740})
    used.draw()
    used.page.locator('#pad-answer[data-digit="4"]').wait_for()
    below = used.why.bounding_box()["y"] - used.canvas.bounding_box()["y"]
    assert below > 300
    used.show("nearest")
    expect(used.labels().first).to_have_text(re.compile(r"^\d$"))
    assert used.page.evaluate("document.documentElement.scrollWidth") == 360
    used.page.set_viewport_size(wide)


def test_anything_may_be_posted_to_a_panel(used: Panels, panel_app: App) -> None:
    component = used.page.evaluate(
        """() => window.gradio_config.components.find(
            part => (part.props.server_fns || []).includes("why")).id"""
    )
    for function in ("nearest", "why"):
        for data in (None, [], "x", {}, {"model": "known", "strokes": 3}, {"model": {"a": []}}):
            call = {"session_hash": "x", "component_id": component, "fn_name": function}
            reply = used.page.request.post(
                f"{panel_app.url}/gradio_api/component_server", data={**call, "data": data}
            )
            assert reply.status == 200
            sentence = reply.json()["error"]
            assert sentence.endswith(".")
            assert "Something went wrong" not in sentence
    assert "Traceback" not in panel_app.output()
