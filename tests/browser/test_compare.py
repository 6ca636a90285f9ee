"""The Compare tab in a real browser: files are dropped, models compared, others see none of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect
from running_app import App

from digitcnn.network.checkpoint import save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN

pytestmark = pytest.mark.browser


def opened(browser: Any, app: App) -> Any:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(app.url)
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-run").wait_for()
    return page


def test_dropped_files_are_judged_compared_and_seen_by_nobody_else(
    browser: Any, app: App, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.pt"
    network = DigitCNN(generator=torch.Generator().manual_seed(5)).eval()
    save(mine, network, Details(digits="synthetic", epochs=1, seed=5))
    bad = tmp_path / "notes.pt"
    bad.write_text("no network at all")

    page = opened(browser, app)
    page.locator("#compare-files input[type=file]").set_input_files([str(mine), str(bad)])
    page.locator("#compare-verdicts .bad").get_by_text("text file").wait_for()
    page.locator("#compare-verdicts .good").get_by_text("trained on synthetic").wait_for()
    small = page.locator("#compare-digits").get_by_label("small (100 images)")
    for box in page.locator("#compare-digits input[type=checkbox]").all():
        box.uncheck()
    small.check()
    page.locator("#compare-run").click()
    page.locator("#compare-table").get_by_text("digitcnn-mnist").wait_for()
    page.locator("#compare-pairs").get_by_text("digitcnn-mnist is better on small test").wait_for()
    page.locator("#compare-images").get_by_text("gets, mine misses").wait_for()
    page.get_by_role("tab", name="Sketchpad", exact=True).click()
    box = page.locator("#pad canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 40, steps=8)
    page.mouse.up()
    page.locator('#pad-answer[data-digit="1"], #pad-answer [data-digit="1"]').first.wait_for()
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-ask").click()
    page.locator("#compare-answers").get_by_text("digitcnn-mnist").wait_for()
    page.locator("#compare-answers").get_by_text("mine").wait_for()
    page.locator("#model-select input").click()
    page.get_by_role("option", name="dropped here").wait_for()

    other = opened(browser, app)
    other.locator("#model-select input").click()
    other.get_by_role("option", name="digitcnn-mnist").first.wait_for()
    assert other.get_by_role("option", name="dropped here").count() == 0
    assert page.problems == other.problems == []
    page.close()
    other.close()


def test_a_press_that_is_refused_leaves_the_button_ready(browser: Any, app: App) -> None:
    page = opened(browser, app)
    for box in page.locator("#compare-digits input[type=checkbox]").all():
        box.uncheck()
    page.locator("#compare-run").click()
    page.locator("#compare-status").get_by_text("Nothing was compared").wait_for()
    expect(page.locator("#compare-run")).to_be_enabled()
    page.close()


def test_a_file_dropped_on_the_selector_is_selected(browser: Any, app: App, tmp_path: Path) -> None:
    page = opened(browser, app)
    make = (
        "() => { const d = new DataTransfer(); d.items.add(new File(['x'], 'bad.pt')); return d; }"
    )
    page.dispatch_event(".model-row", "drop", {"dataTransfer": page.evaluate_handle(make)})
    page.locator("#model-verdicts .bad").get_by_text("bad.pt").first.wait_for()
    mine = tmp_path / "mine.pt"
    save(mine, DigitCNN(generator=torch.Generator().manual_seed(6)).eval(), Details(digits="small"))
    page.locator("#model-drop input[type=file], input[data-testid=file-upload]").first.wait_for(
        state="attached"
    )
    page.locator(".model-row input[type=file]").set_input_files(str(mine))
    expect(page.locator("#model-select input")).to_have_value(re.compile("dropped here"))
    assert page.problems == []
    page.close()
