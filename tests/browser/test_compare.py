"""The Compare tab in a real browser: models are dropped and compared, each page for itself."""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App

from digitcnn.network.checkpoint import save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN

pytestmark = pytest.mark.browser

VERDICT = "digitcnn-mnist (A) is better than rival (B) on small test images"


def opened(browser: Any, app: App) -> Any:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(app.url)
    page.locator("#learn-status .status-line").first.wait_for()
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-run").wait_for()
    return page


def chosen(page: Any) -> Any:
    """The models of Compare's choice, each as its label."""
    return page.locator("#compare-models .token")


def choose_only(page: Any, name: str) -> None:
    """What is chosen at first depends on the checkpoints that other tests have left."""
    expect(chosen(page).first).to_be_visible()
    page.locator("#compare-models .remove-all").click()
    expect(chosen(page)).to_have_count(0)
    page.locator("#compare-models input").click()
    page.get_by_role("option", name=re.compile(f"{name} ·")).first.click()
    expect(chosen(page)).to_have_text([re.compile(f"^{name} ·")])
    page.keyboard.press("Escape")


def drop(page: Any, place: str, file: Path) -> None:
    """Let go of a file over a place of the page."""
    make = """([name, data]) => {
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name));
      return transfer;
    }"""
    data = base64.b64encode(file.read_bytes()).decode()
    transfer = page.evaluate_handle(make, [file.name, data])
    page.dispatch_event(place, "drop", {"dataTransfer": transfer})


def saved(folder: Path, name: str, seed: int, digits: str = "small") -> Path:
    """A checkpoint that nobody has trained."""
    path = folder / f"{name}.pt"
    network = DigitCNN(generator=torch.Generator().manual_seed(seed)).eval()
    save(path, network, Details(digits=digits, epochs=1, seed=seed))
    return path


def drop_and_compare(page: Any, folder: Path) -> None:
    """Drop a model, which is compared with the one that ships, and a text file, which is not."""
    rival = saved(folder, "rival", 5, "synthetic")
    bad = folder / "notes.pt"
    bad.write_text("no network at all")
    page.set_viewport_size({"width": 1366, "height": 600})
    choose_only(page, "digitcnn-mnist")
    page.locator("#compare-files input[type=file]").set_input_files([str(rival), str(bad)])
    page.locator("#compare-verdicts .bad").get_by_text("text file").wait_for()
    page.locator("#compare-verdicts .good").get_by_text("trained on synthetic digits").wait_for()
    line, button = (page.locator(place) for place in ("#compare-verdicts li", "#compare-run"))
    assert button.bounding_box()["y"] < line.first.bounding_box()["y"]
    small = page.locator("#compare-digits").get_by_label("small (100 images)")
    for box in page.locator("#compare-digits input[type=checkbox]").all():
        box.uncheck()
    small.check()
    page.locator("#compare-run").click()
    page.locator("#compare-table").get_by_text("digitcnn-mnist").wait_for()
    page.locator("#compare-words").get_by_role("status").get_by_text(VERDICT).wait_for()
    expect(page.locator("#compare-words .verdict")).to_be_in_viewport()
    page.get_by_role("button", name="Remove rival from the comparison").wait_for()
    page.locator("#compare-images").get_by_text("right, rival (B) wrong").wait_for()
    unknown = "The training settings of rival (B) are unknown."
    page.locator("#compare-differs").get_by_text(unknown).wait_for()


def export_opens_without_the_app(browser: Any, page: Any, folder: Path) -> None:
    with page.expect_download() as file:
        page.locator("#compare-export").click()
    exported = folder / "comparison.html"
    file.value.save_as(exported)
    context = browser.new_context(offline=True)
    other = context.new_page()
    requests: list[str] = []
    other.on("request", lambda request: requests.append(request.url))
    other.goto(exported.as_uri())
    other.get_by_text(VERDICT).first.wait_for()
    assert other.locator("ol.tiles img").first.evaluate("image => image.naturalWidth") == 28
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    context.close()


@pytest.fixture(scope="module")
def page(browser: Any, app: App) -> Iterator[Any]:
    """A page that most tests share, in this order: it takes seconds to load."""
    page = opened(browser, app)
    yield page
    assert page.problems == []
    page.close()


def test_a_refused_comparison_leaves_the_button_ready_and_shows_no_results(page: Any) -> None:
    expect(page.locator("#compare-status")).to_contain_text("No results yet.")
    for box in page.locator("#compare-digits input[type=checkbox]").all():
        box.uncheck()
    page.locator("#compare-run").click()
    page.locator("#compare-status").get_by_text("Comparison stopped").wait_for()
    expect(page.locator("#compare-run")).to_be_enabled()
    for place in ("#compare-results", "#compare-set", "#compare-robustness-run"):
        expect(page.locator(place)).not_to_be_visible()


def test_a_file_dropped_on_the_selector_is_selected(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_text("x")
    drop(page, "#model-select", bad)
    page.locator("#model-verdicts .bad").get_by_text("bad.pt").first.wait_for()
    mine = saved(tmp_path, "mine", 6)
    page.locator("#model-drop input[type=file], input[data-testid=file-upload]").first.wait_for(
        state="attached"
    )
    page.locator(".model-row input[type=file]").set_input_files(str(mine))
    expect(page.locator("#model-select input")).to_have_value(re.compile("this page only"))
    # Nobody has chosen on Compare yet, so it goes with the selector.
    expect(chosen(page).first).to_have_text(re.compile(r"^mine .*this page only"))
    lines = page.locator("#model-verdicts li")
    expect(lines).to_have_text([re.compile("^bad.pt"), re.compile("^mine.pt")])
    lines.get_by_role("button", name="Dismiss the line on bad.pt").click()
    expect(lines).to_have_text([re.compile("^mine.pt")])


def test_on_a_phone_the_header_is_short_and_a_long_name_ends_before_the_arrow(page: Any) -> None:
    wide = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 740})
    tabs = page.get_by_role("tab", name="Train", exact=True).bounding_box()
    assert tabs["y"] + tabs["height"] < 740 / 2
    page.wait_for_function(
        """() => {
          const select = document.querySelector("#model-select");
          const name = select.querySelector(".secondary-wrap");
          const padding = parseFloat(getComputedStyle(name).paddingRight);
          const arrow = select.querySelector(".dropdown-arrow").getBoundingClientRect();
          return name.getBoundingClientRect().right - padding <= arrow.left;
        }"""
    )
    # Gradio may change the label while the list has the focus, and says nothing of it.
    label = page.locator("#model-select input")
    before = label.input_value()
    for text in ("another · 97.87% on MNIST test", before):
        label.focus()
        label.evaluate("(input, text) => { input.value = text; input.blur(); }", text)
        page.wait_for_function(
            """(name) => getComputedStyle(document.documentElement)
                .getPropertyValue("--model-name") === JSON.stringify(name)""",
            arg=text.split(" · ")[0],
        )
    page.set_viewport_size(wide)


def test_dropped_files_are_checked_and_compared(page: Any, tmp_path: Path) -> None:
    drop_and_compare(page, tmp_path)


@pytest.mark.long
def test_a_comparison_is_exported_asked_on_the_pad_and_private(
    browser: Any, app: App, tmp_path: Path
) -> None:
    page = opened(browser, app)
    drop_and_compare(page, tmp_path)
    export_opens_without_the_app(browser, page, tmp_path)
    page.get_by_role("tab", name="Sketchpad", exact=True).click()
    draw(page, ONE)
    page.locator('#pad-answer[data-digit="1"], #pad-answer [data-digit="1"]').first.wait_for()
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#compare-ask").click()
    page.locator("#compare-answers").get_by_text("digitcnn-mnist").wait_for()
    page.locator("#compare-answers").get_by_text("rival").wait_for()
    page.locator("#model-select input").click()
    page.get_by_role("option", name="this page only").wait_for()

    other = opened(browser, app)
    other.locator("#model-select input").click()
    other.get_by_role("option", name="digitcnn-mnist").first.wait_for()
    assert other.get_by_role("option", name="this page only").count() == 0
    assert page.problems == other.problems == []
    page.close()
    other.close()


@pytest.mark.long
def test_the_selected_model_and_the_newest_other_are_compared_by_default(
    browser: Any, own_app: App, tmp_path: Path
) -> None:
    # They came after the page was built.
    for seed, name in enumerate(("older", "newer")):
        path = saved(own_app.folder / "checkpoints", name, seed)
        os.utime(path, (time.time() + seed, time.time() + seed))
    page = opened(browser, own_app)
    expect(chosen(page)).to_have_text([re.compile("^digitcnn-mnist ·"), re.compile("^newer ·")])
    drop(page, "#compare-models", saved(tmp_path, "mine", 7))
    page.locator("#compare-verdicts .good").get_by_text("trained on small").wait_for()
    expect(chosen(page)).to_have_count(3)
    expect(chosen(page).nth(2)).to_have_text(re.compile("^mine .*this page only"))
    # Now it is somebody's choice, and stays.
    page.locator("#model-select input").click()
    page.get_by_role("option", name="this page only").wait_for()
    page.get_by_role("option", name=re.compile("older ·")).click()
    expect(page.locator("#model-select input")).to_have_value(re.compile("^older"))
    expect(chosen(page).first).to_have_text(re.compile("^digitcnn-mnist ·"))
    page.get_by_role("button", name="Add older", exact=True).click()
    expect(chosen(page)).to_have_count(4)
    expect(page.locator("#compare-add")).to_be_hidden()
    page.get_by_role("button", name="Remove mine from the comparison").click()
    expect(page.locator("#compare-verdicts li")).to_have_count(0)
    assert page.problems == []
    page.close()
