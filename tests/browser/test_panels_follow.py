"""The panels beside the pad in a real browser: they follow the pen, fold, and move nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from running_app import ROOT, App

from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.network.checkpoint import load, save
from digitcnn.network.details import Details

pytestmark = pytest.mark.browser

FOUR = [
    [(0.3, 0.15), (0.25, 0.55), (0.75, 0.55)],
    [(0.7, 0.15), (0.7, 0.88)],
]
BAR = [(0.5, 0.2), (0.5, 0.5), (0.5, 0.8)]


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


class Panels:
    """What a person does on the Sketchpad with its panels."""

    def __init__(self, browser: Any, app: App, **options: Any) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 1000}, **options}
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._count)
        self.page.goto(app.url)
        self.page.get_by_role("tab", name="Sketchpad").click()
        self.canvas = self.page.locator("#pad canvas")
        self.canvas.wait_for()
        self.page.wait_for_function("window.digitcnnModel")
        self.nearest = self.page.locator("#panel-nearest")
        self.why = self.page.locator("#panel-why")
        self.choose("known")

    def _count(self, request: Any) -> None:
        if request.method == "POST" and "component_server" in request.url:
            self.asked.append(request.post_data_json["fn_name"])

    def choose(self, model: str) -> None:
        if self.page.evaluate("window.digitcnnModel") != model:
            self.page.locator("#model-select input").click()
            self.page.get_by_role("option", name=re.compile(f"^{model} ")).click()
            self.page.wait_for_function("name => window.digitcnnModel === name", arg=model)

    def draw(self, strokes: Any = FOUR, lift: bool = True) -> None:
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        for stroke in strokes:
            points = [
                (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke
            ]
            self.page.mouse.move(*points[0])
            self.page.mouse.down()
            for point in points[1:]:
                self.page.mouse.move(*point, steps=4)
            if lift:
                self.page.mouse.up()

    def labels(self) -> Any:
        return self.nearest.locator(".label")

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


@pytest.fixture
def panels(browser: Any, panel_app: App) -> Iterator[Panels]:
    opened = Panels(browser, panel_app)
    yield opened
    opened.close()


def test_panels_follow_the_pen_before_it_is_lifted(panels: Panels) -> None:
    expect(panels.labels()).to_have_text(["–"] * 9)
    panels.draw(FOUR[:1], lift=False)
    expect(panels.labels().first).to_have_text(re.compile(r"^\d$"))
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A \d and not a \d, with "))
    panels.page.mouse.up()
    panels.draw(FOUR[1:])
    expect(panels.nearest.locator(".agree")).to_have_text(
        re.compile(r"of the 9 nearest among 440 images of small agree with the answer 4\.")
    )
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a "))
    coloured = panels.why.locator(".overlay").evaluate(
        """overlay => overlay.getContext("2d").getImageData(0, 0, 336, 336).data
            .filter((value, i) => i % 4 === 3 && value > 0).length"""
    )
    assert coloured > 5000
    lit = panels.why.locator(".first").evaluate(
        """strip => strip.getContext("2d").getImageData(0, 0, strip.width, strip.height).data
            .filter((value, i) => i % 4 === 0 && value > 200).length"""
    )
    assert lit > 20


def test_the_rival_is_chosen_with_the_keyboard(panels: Panels) -> None:
    panels.draw()
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a "))
    select = panels.why.get_by_label("Compared with the rival")
    select.focus()
    select.press("9")  # as in any list: goes to the entry that begins so
    select.select_option("9")
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a 9, .* top"))
    select.select_option("4")  # the answer itself is no rival
    expect(panels.why.locator(".sentence")).not_to_have_text(re.compile("not a 9"))


def test_what_the_pad_refuses_is_explained_as_no_digit(panels: Panels) -> None:
    panels.draw()
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a "))
    panels.page.evaluate(
        """() => window.addEventListener("digitcnn-answer", ({ detail }) => {
            if (detail.digit !== null) detail.refused = true; }, { capture: true })"""
    )
    panels.page.evaluate('window.dispatchEvent(new Event("digitcnn-model"))')
    expect(panels.why.locator(".sentence")).to_have_text(
        re.compile(r"^No digit, closest: a 4 and not a ")
    )
    expect(panels.nearest.locator(".agree")).to_have_text(
        re.compile(r"agree with the closest digit 4\.$")
    )


def test_an_empty_pad_empties_the_panels(panels: Panels) -> None:
    panels.draw()
    expect(panels.labels().first).to_have_text(re.compile(r"^\d$"))
    panels.page.locator("#pad-clear").click()
    expect(panels.labels()).to_have_text(["–"] * 9)
    expect(panels.why.locator(".sentence")).to_contain_text("Draw a digit")


def test_a_folded_panel_asks_for_nothing_and_catches_up(panels: Panels) -> None:
    summary = panels.nearest.locator("summary")
    summary.focus()
    summary.press("Enter")
    expect(panels.nearest).not_to_have_attribute("open", re.compile(""))
    panels.draw()
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a "))
    assert "why" in panels.asked
    assert "nearest" not in panels.asked
    assert not {"what_if", "film"} & set(panels.asked), "folded at first"
    summary.press("Enter")
    expect(panels.labels().first).to_have_text(re.compile(r"^\d$"))
    assert "nearest" in panels.asked


def test_panels_rest_while_another_tab_is_shown(panels: Panels) -> None:
    panels.draw()
    expect(panels.labels().first).to_have_text(re.compile(r"^\d$"))
    panels.page.get_by_role("tab", name="Train").click()
    panels.page.locator("#train-start").wait_for()
    before = panels.asked.count("why")
    with panels.page.expect_response(lambda reply: "component_server" in reply.url):
        panels.choose("absent")  # the pad answers it again
    panels.page.get_by_role("tab", name="Sketchpad").click()
    expect(panels.nearest.locator(".said")).to_contain_text("data download mnist")
    assert panels.asked.count("why") - before <= 2


def test_nothing_on_the_page_moves_when_panels_answer(panels: Panels) -> None:
    places = """() => [...document.querySelectorAll(".panel, .panel .content > *, #pad")].map(
        part => { const box = part.getBoundingClientRect();
            return [box.left, box.top, box.height].map(Math.round); })"""
    before = panels.page.evaluate(places)
    panels.draw()
    expect(panels.labels().first).to_have_text(re.compile(r"^\d$"))
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a "))
    assert panels.page.evaluate(places) == before
    panels.choose("absent")
    expect(panels.nearest.locator(".said")).to_contain_text("data download mnist")
    assert panels.page.evaluate(places) == before


def test_on_a_phone_the_pad_comes_first_and_panels_are_folded(browser: Any, panel_app: App) -> None:
    panels = Panels(browser, panel_app, viewport={"width": 360, "height": 740})
    assert panels.page.locator(".panel[open]").count() == 0
    panels.draw()
    panels.page.locator('#pad-answer[data-digit="4"]').wait_for()
    assert not {"nearest", "why", "what_if", "film"} & set(panels.asked)
    below = panels.nearest.bounding_box()["y"] - panels.canvas.bounding_box()["y"]
    assert below > 300
    panels.nearest.locator("summary").click()
    expect(panels.labels().first).to_have_text(re.compile(r"^\d$"))
    panels.why.locator("summary").click()
    expect(panels.why.locator(".sentence")).to_have_text(re.compile(r"^A 4 and not a "))
    assert panels.page.evaluate("document.documentElement.scrollWidth") == 360
    panels.close()


def test_anything_may_be_posted_to_a_panel(panels: Panels, panel_app: App) -> None:
    component = panels.page.evaluate(
        """() => window.gradio_config.components.find(
            part => (part.props.server_fns || []).includes("why")).id"""
    )
    for function in ("nearest", "why"):
        for data in (None, [], "x", {}, {"model": "known", "strokes": 3}, {"model": {"a": []}}):
            call = {"session_hash": "x", "component_id": component, "fn_name": function}
            reply = panels.page.request.post(
                f"{panel_app.url}/gradio_api/component_server", data={**call, "data": data}
            )
            assert reply.status == 200
            sentence = reply.json()["error"]
            assert sentence.endswith(".")
            assert "Something went wrong" not in sentence
    assert "Traceback" not in panel_app.output()
