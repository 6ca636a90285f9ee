"""The Stability tab in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App

from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import load
from digitcnn.options import usual_passes

pytestmark = pytest.mark.browser


class StabilityPage:
    """What a person does on the Stability tab."""

    def __init__(self, browser: Any, app: App, width: int = 1200) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(app.url)
        self.page.get_by_role("tab", name="Stability").click()
        self.page.locator("#stability-run").wait_for()

    def choose(self, digits: str, passes: int) -> None:
        self.page.locator("#stability-digits input").click()
        self.page.get_by_role("option", name=re.compile(f"^{digits} ")).click()
        field = self.passes()
        field.fill(str(passes))
        field.press("Tab")

    def passes(self) -> Any:
        return self.page.locator("#stability-passes input[type=number]")

    def press(self) -> None:
        self.page.locator("#stability-run").click()

    def wait_for_results(self, digits: str) -> None:
        """Wait until the page shows the results on this set; others may have been there before."""
        expect(self.page.locator("#stability-status")).to_contain_text(
            f"images of the {digits} test set"
        )
        self.page.locator("#stability-table table").wait_for()
        expect(self.page.locator("#stability-run")).to_be_enabled()


@pytest.fixture(scope="module")
def stability_page(browser: Any, app: App) -> Iterator[StabilityPage]:
    """The wide page that all tests share: a page takes seconds to load."""
    opened = StabilityPage(browser, app)
    yield opened
    opened.page.close()


def test_results_are_lines_boxes_tables_and_the_least_stable_images(
    stability_page: StabilityPage,
) -> None:
    page = stability_page.page
    epochs = load(SHIPPED_FILE).details.epochs
    assert epochs != usual_passes(None)  # else the field need not follow the model
    expect(stability_page.passes()).to_have_value(str(epochs))
    stability_page.choose("small", 20)
    expect(page.locator("#stability-status")).to_contain_text("No results yet.")
    expect(page.locator("svg[aria-label^='Accuracy per pass']")).to_have_count(0)
    stability_page.press()
    stability_page.wait_for_results("small")
    for name in ("independent masks", "one mask per pass"):
        points = page.locator("#stability-line title", has_text=f"{name}, pass ")
        assert points.count() == 20
        assert page.locator("#stability-table tbody th", has_text=name).count() == 1
    assert page.locator("#stability-box rect").count() == 2
    assert "on 100 images of the small test set" in page.locator("#stability-status").inner_text()
    page.get_by_role("button", name="The two kinds of mask, per digit, entropy").click()
    page.locator("#stability-words p").first.wait_for()
    assert (
        "no network can deviate by more than 5.00 points"
        in page.locator("#stability-words").text_content()
    )
    assert page.locator("#stability-flips tbody tr").count() == 10
    badge = page.locator("#stability-badge .verdict").inner_text()
    assert re.search(r"(Stable|Borderline|Depends on single neurons)\s+± \d+\.\d\d points", badge)
    assert page.locator("#stability-gallery li").count() <= 6
    # Results are of a model and a set.
    page.locator("#stability-digits input").click()
    # A set that no test measures: known results would be shown at once.
    page.get_by_role("option", name=re.compile("^other synthetic digits ")).click()
    notice = page.locator("#stability-choice")
    expect(notice).to_contain_text("Results for digitcnn-mnist on small, 20 passes.")
    expect(page.locator("#stability-line digitcnn-result.outdated")).to_have_count(1)
    page.locator("#stability-digits input").click()
    page.get_by_role("option", name=re.compile("^small ")).first.click()
    expect(page.locator("#stability-line digitcnn-result")).not_to_have_class("outdated")
    expect(notice).to_be_hidden()
    # Another number of passes would have other results.
    stability_page.choose("small", 21)
    expect(notice).to_contain_text("Results for digitcnn-mnist on small, 20 passes.")
    stability_page.choose("small", 20)
    expect(notice).to_be_hidden()
    assert stability_page.problems == []


@pytest.mark.long
def test_simultaneous_measurements_agree_and_the_page_fits_a_phone(
    stability_page: StabilityPage, browser: Any, app: App
) -> None:
    phone = StabilityPage(browser, app, 360)
    people = [stability_page, phone]
    for person in people:
        person.choose("synthetic", 15)
    for person in people:
        person.press()
    for person in people:
        person.wait_for_results("synthetic digits")
    first, second = (
        person.page.locator("#stability-table table").inner_text() for person in people
    )
    assert first == second
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    for person in people:
        assert person.problems == []
    phone.page.close()


@pytest.mark.long
def test_the_pad_predicts_during_a_measurement(stability_page: StabilityPage) -> None:
    page = stability_page.page
    stability_page.choose("synthetic", 200)
    stability_page.press()
    expect(page.locator("#stability-status")).to_have_text(re.compile("Pass|features"))
    page.get_by_role("tab", name="Sketchpad").click()
    draw(page, ONE)
    page.locator("#pad-answer[data-digit='1']").wait_for(timeout=10_000)
    page.get_by_role("tab", name="Stability").click()
    stability_page.wait_for_results("synthetic digits")
    assert stability_page.problems == []
