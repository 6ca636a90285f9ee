"""The panels 'Step through' and 'Break it' in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from drawing import SEVEN, draw
from playwright.sync_api import expect
from running_app import ROOT, App

from digitcnn.network.checkpoint import load

pytestmark = pytest.mark.browser

NUMBER = r"(−?\d+\.\d\d)"


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def open_panel(page: Any, name: str, title: str) -> Any:
    panel = page.locator(f"#panel-{name}")
    tab = page.get_by_role("tab", name=title)
    (tab if tab.count() else panel.locator("summary")).click()
    panel.scroll_into_view_if_needed()
    return panel


@pytest.fixture(scope="module")
def page(browser: Any, app: App) -> Any:
    """A page with a drawn 7."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(app.url)
    page.get_by_role("tab", name="Sketchpad").click()
    page.locator("#pad[data-model]").wait_for(state="attached")
    draw(page, SEVEN)
    yield page
    page.close()


def test_the_steps_of_a_place_add_up_to_the_networks_numbers(page: Any) -> None:
    panel = open_panel(page, "step-through", "Step through")
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
        rf"{NUMBER} \+ bias {NUMBER} = {NUMBER}", panel.locator(".first .sum").inner_text()
    )
    assert found is not None
    products, bias, total = map(number, found.groups())
    # The numbers on the page are rounded to two places.
    assert sum(a * b for a, b in zip(*cells, strict=True)) == pytest.approx(products, abs=0.15)
    assert products + bias == pytest.approx(total, abs=0.011)
    network = load(ROOT / "checkpoints" / "digitcnn-mnist.pt").network
    kernel = torch.tensor(cells[1]).view(3, 3)
    assert torch.allclose(kernel, network.conv1.weight[0, 0].detach(), atol=0.0051)


def test_the_smallest_change_breaks_the_prediction_at_the_sliders_end(page: Any) -> None:
    panel = open_panel(page, "break-it", "Break it")
    broken, noise = (panel.locator(f".{kind} output.answer") for kind in ("change", "noise"))
    expect(panel.locator(".sentence")).to_contain_text("turns the")
    expect(broken).to_have_class(re.compile("broken"))
    expect(noise).to_contain_text("7")
    panel.locator("input").fill("0")
    expect(broken).to_contain_text("7")
    expect(broken).not_to_have_class(re.compile("broken"))
