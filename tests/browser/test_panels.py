"""The panels What if, Step through, Break it and Replay by epoch in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from drawing import SEVEN, Stroke, draw
from playwright.sync_api import expect
from running_app import ROOT, App

from digitcnn.network.checkpoint import load

pytestmark = pytest.mark.browser

# Whether the panel shows the drawing as the pad says that the network sees it.
UNCHANGED = """(wanted) => {
  const [seen, changed] = ["#pad-seen", "#panel-what_if .changed"].map((selector) =>
    document.querySelector(selector).getContext("2d").getImageData(0, 0, 28, 28).data.join());
  return (seen === changed) === wanted;
}"""


class Panels:
    """What a person does below the pad."""

    def __init__(self, browser: Any, app: App) -> None:
        self.page = browser.new_page(viewport={"width": 1300, "height": 900})
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.calls = 0
        self.page.on("request", self._count)
        self.page.goto(app.url)
        self.page.get_by_role("tab", name="Sketchpad").click()
        self.page.locator("#pad[data-model]").wait_for(state="attached")

    def _count(self, request: Any) -> None:
        data = request.post_data or ""
        self.calls += "component_server" in request.url and '"what_if"' in data

    def draw(self, stroke: Stroke = SEVEN) -> None:
        draw(self.page, stroke)

    def unfold(self, name: str) -> Any:
        panel = self.page.locator(f"#panel-{name}")
        self.page.locator(f"#tab-{name}").click()
        expect(panel).to_be_visible()
        panel.locator(".explanation").scroll_into_view_if_needed()
        return panel


@pytest.fixture(scope="module")
def panels(browser: Any, app: App) -> Iterator[Panels]:
    opened = Panels(browser, app)
    yield opened
    opened.page.close()


def test_sliders_distort_the_drawing_until_its_prediction_breaks(panels: Panels) -> None:
    page = panels.page
    page.locator("#pad.inked").wait_for()  # a new visitor finds an example
    page.locator("#pad-clear").click()
    panel = panels.unfold("what_if")
    verdict = panel.locator(".verdict")
    expect(verdict).to_have_text("Draw a digit, then move a slider.")
    panels.draw()
    verdict.scroll_into_view_if_needed()  # out of sight it asks for nothing
    expect(verdict).to_contain_text("7, ")
    expect(panel.locator("polyline.answer")).to_have_count(5)
    expect(panel.locator(".break").first).to_be_attached()
    heights = panel.locator(".shares .track").evaluate_all(
        "all => all.map(bar => bar.offsetHeight)"
    )
    assert min(heights) > 40
    # Every digit that the prediction changes to is written at its curve.
    for axis in panel.locator(".axis").all():
        named = re.findall(r"\((\d)\)", axis.locator(".breaks").inner_text())
        assert set(named) <= set(axis.locator(".tag").all_inner_texts())

    turn, size = panel.get_by_label("Rotation", exact=True), panel.get_by_label("Size", exact=True)
    page.wait_for_function(UNCHANGED, arg=True)
    turn.press("ArrowRight")
    expect(verdict).to_contain_text("Rotation +10°: ")
    page.wait_for_function(UNCHANGED, arg=False)
    # All pictures along this slider are here by now: further moves ask for nothing.
    asked = panels.calls
    turn.press("Home")
    expect(verdict).to_contain_text(re.compile(r"Rotation -90°: \d instead of 7, "))
    turn.press("End")
    expect(verdict).to_contain_text("Rotation +90°: ")
    assert panels.calls == asked

    # One change at a time.
    size.press("ArrowLeft")
    expect(verdict).to_contain_text("Size 0.9 ×: ")
    expect(turn).to_have_attribute("aria-valuetext", "0°")
    panel.get_by_role("button", name="Reset").click()
    expect(verdict).to_contain_text("7, ")
    page.wait_for_function(UNCHANGED, arg=True)

    page.locator("#pad-clear").click()
    expect(verdict).to_have_text("Draw a digit, then move a slider.")
    assert panels.problems == []


def test_on_a_phone_nothing_is_wider_than_the_screen(panels: Panels) -> None:
    page = panels.page
    page.set_viewport_size({"width": 360, "height": 900})
    panels.draw()
    panels.unfold("replay")
    expect(page.locator("#panel-what_if")).to_be_hidden()
    panels.unfold("what_if")
    expect(page.locator("#panel-what_if .verdict")).to_contain_text("7, ")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_panel_tabs_stand_in_one_row_and_are_called_what_they_show(panels: Panels) -> None:
    panels.page.set_viewport_size({"width": 1920, "height": 1080})  # the largest pad beside them
    tabs = panels.page.locator(".panel-tab")
    assert len({box["y"] for tab in tabs.all() if (box := tab.bounding_box())}) == 1
    for tab in tabs.all():
        expect(tab).to_have_accessible_name(tab.inner_text())


NUMBER = r"(−?\d+\.\d\d)"


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(" ", ""))


@pytest.fixture
def seven(panels: Panels) -> Panels:
    """The page with a seven alone on the pad, in a wide window."""
    panels.page.set_viewport_size({"width": 1300, "height": 900})
    panels.page.locator("#pad-clear").click()
    panels.draw()
    return panels


def test_the_steps_of_a_place_add_up_to_the_networks_numbers(seven: Panels) -> None:
    page, panel = seven.page, seven.unfold("step-through")
    expect(panel.locator(".first .sum")).to_contain_text("bias")
    panel.locator(".place").focus()
    before = panel.locator(".first .sum").inner_text()
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    expect(panel.locator(".first .sum")).not_to_have_text(before)
    cells = [
        [number(text) for text in panel.locator(f".first .{table} td").all_inner_texts()]
        for table in ("window", "kernel")
    ]
    found = re.match(
        rf"{NUMBER} ([+−] \d+\.\d\d) \(bias\) ≈ {NUMBER}", panel.locator(".first .sum").inner_text()
    )
    assert found is not None
    products, bias, total = map(number, found.groups())
    # The numbers on the page are rounded to two places.
    assert sum(a * b for a, b in zip(*cells, strict=True)) == pytest.approx(products, abs=0.15)
    assert products + bias == pytest.approx(total, abs=0.011)
    network = load(ROOT / "checkpoints" / "digitcnn-mnist.pt").network
    kernel = torch.tensor(cells[1]).view(3, 3)
    assert torch.allclose(kernel, network.conv1.weight[0, 0].detach(), atol=0.0051)


def test_why_and_step_through_have_scores_on_one_scale(seven: Panels) -> None:
    panel = seven.unfold("step-through")
    expect(panel.locator(".bars .best .value")).to_have_text(re.compile(NUMBER))
    *_, second, best = sorted(map(number, panel.locator(".bars .value").all_inner_texts()))
    expect(panel.locator(".total")).to_contain_text(f": {best:.2f}.")
    sums = "".join(panel.locator(".sum, .norm").all_inner_texts())
    assert "=" not in sums  # of rounded numbers
    assert "+ −" not in sums
    why = seven.unfold("why")
    expect(why.locator(".sentence")).to_contain_text("7 is")
    lead = re.search(r"score is (\d+\.\d) higher", why.locator(".sentence").inner_text())
    assert lead is not None
    assert float(lead[1]) == pytest.approx(best - second, abs=0.061)


def test_the_smallest_change_breaks_the_prediction_at_the_sliders_end(seven: Panels) -> None:
    panel = seven.unfold("break-it")
    broken, noise = (panel.locator(f".{kind} output.answer") for kind in ("change", "noise"))
    expect(panel.locator(".sentence")).to_contain_text("turns the")
    expect(broken).to_have_class(re.compile("broken"))
    expect(noise).to_contain_text("7")
    panel.locator("input").fill("0")
    expect(broken).to_contain_text("7")
    expect(broken).not_to_have_class(re.compile("broken"))


@pytest.mark.long
def test_replay_grows_with_the_training_and_stays_after_it(browser: Any, own_app: App) -> None:
    panels = Panels(browser, own_app)
    page = panels.page
    replay = panels.unfold("replay")
    run, frames = replay.locator(".run"), replay.locator(".frames li")
    expect(run).to_contain_text("Start a run")

    page.get_by_role("tab", name="Train").click()
    page.locator("#train-digits input[name=small]").check()
    page.locator("#train-digits input[name=synthetic]").uncheck()
    for name, value in (("epochs", 2), ("batch-size", 64), ("learning-rate", 0.004)):
        field = page.locator(f"#train-{name} input[type=number]").first
        field.fill(str(value))
        field.press("Tab")
    page.locator("#train-start").click()

    page.get_by_role("tab", name="Sketchpad").click()
    panels.draw()
    replay.scroll_into_view_if_needed()
    # Without another stroke: the panel hears of each epoch by itself.
    expect(frames).to_have_count(2)
    expect(run).to_contain_text(re.compile(r"epoch 2 of 2: \d"))
    expect(frames.first).to_contain_text("epoch 1")
    epoch = frames.first.locator(".epoch")
    assert epoch.evaluate("label => label.scrollWidth <= label.clientWidth")

    before = replay.locator(".share").all_inner_texts()
    panels.draw([(0.5, 0.2), (0.5, 0.8)])
    replay.scroll_into_view_if_needed()
    page.wait_for_function(
        "before => [...document.querySelectorAll('#panel-replay .share')]"
        ".map((one) => one.innerText).join() !== before",
        arg=",".join(before),
    )
    page.locator("#pad-clear").click()
    expect(frames).to_have_count(0)
    expect(run).to_contain_text("Draw a digit")
    assert panels.problems == []
    page.close()
