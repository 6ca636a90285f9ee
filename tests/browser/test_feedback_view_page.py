"""The Feedback section in a real browser: verdicts listed, corrected, deleted, taken along."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App
from sample_feedback import sample

from digitcnn.feedback.store import FeedbackStore

pytestmark = pytest.mark.browser

NO_FEEDBACK = "No feedback yet. Draw a digit and say whether the prediction is right."


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    """An app that is public, so that its pages are visitors', with 51 verdicts of others."""
    folder = tmp_path_factory.mktemp("lab")
    store = FeedbackStore(folder / "outputs" / "feedback.sqlite3")
    for index in range(51):
        digit = 1 if index == 0 else 7
        store.record(sample(visitor="ann", sketch_id=str(index), true_digit=digit))
    running = App(folder, data_dir, "--host", "127.0.0.1")
    yield running
    running.end()


def opened(browser: Any, app: App, fragment: str = "") -> Any:
    page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
    page.goto(f"{app.url}/{fragment}")
    page.get_by_role("tab", name="Sketchpad").click()
    page.locator("#pad canvas").wait_for()
    page.locator("#pad[data-model]").wait_for(state="attached")
    page.locator("#feedback-entries > summary").click()
    return page


@pytest.fixture(scope="module")
def visitor(browser: Any, lab: App) -> Iterator[Any]:
    """A visitor's page that all tests of visitors share: a page takes seconds to load."""
    page = opened(browser, lab)
    yield page
    page.context.close()


def rows(page: Any) -> Any:
    return page.locator("#feedback-table tbody tr")


def row(text: str) -> re.Pattern[str]:
    return re.compile(text.replace("|", r"\s*"))


def draw_a_one(page: Any) -> None:
    draw(page, ONE)
    page.locator('#pad-answer[data-digit="1"]').wait_for()


def test_a_visitor_corrects_and_deletes_their_own_feedback(visitor: Any) -> None:
    page = visitor
    expect(rows(page)).to_have_text([NO_FEEDBACK])
    draw_a_one(page)
    page.locator("#feedback-right").click()
    expect(rows(page)).to_have_text([row("1|1|right")])
    expect(page.locator("#feedback-table img")).to_have_js_property("naturalWidth", 28)

    page.get_by_role("button", name="Edit: predicted 1, labelled 1").click()
    page.locator("#feedback-edit-digit").select_option("7")
    page.locator("#feedback-edit-save").click()
    expect(rows(page)).to_have_text([row("1|7|wrong")])
    expect(page.locator("#feedback-score div").first).to_contain_text("0 of 1 right")

    page.locator("#feedback-numbers summary").click()
    expect(page.locator("[data-table=digits] tbody tr")).to_have_text(
        [row(r"7|0 of 1|0\.00% \(0\.00 to 79\.35\)")]
    )
    expect(page.locator("#feedback-numbers circle")).to_have_count(1)

    with page.expect_download() as saved:
        page.locator("#feedback-export-list").click()
    with Path(saved.value.path()).open() as file:
        assert [line["true_digit"] for line in csv.DictReader(file)] == ["7"]

    page.get_by_role("button", name="Edit: predicted 1, labelled 7").click()
    page.locator("#feedback-edit-delete").click()
    expect(page.locator("#feedback-edit-delete")).to_have_text("Confirm delete")
    page.locator("#feedback-edit-delete").click()
    expect(rows(page)).to_have_text([NO_FEEDBACK])
    expect(page.locator("#feedback-score div").first).to_contain_text("no feedback yet")


def test_everybodys_feedback_is_paged_and_filtered_and_visitors_cannot_edit_it(
    visitor: Any,
) -> None:
    page = visitor
    page.locator("#feedback-filter-whose").select_option("everybody")
    expect(page.locator(".pager .place")).to_have_text("1 to 50 of 51")
    page.locator("#feedback-page-older").click()
    expect(rows(page)).to_have_text([row("7|1|wrong")])
    page.locator("#feedback-page-newer").click()
    expect(rows(page)).to_have_count(50)
    page.locator("#feedback-filter-right").select_option("wrong")
    expect(rows(page)).to_have_text([row("7|1|wrong")])
    page.locator("#feedback-filter-digit").select_option("3")
    expect(rows(page)).to_have_text(["No feedback matches these filters."])
    assert page.locator("#feedback-table .edit").count() == 0


@pytest.mark.long
def test_the_owner_edits_anothers_feedback(browser: Any, lab: App) -> None:
    token = re.search(r"#owner=\S+", lab.output())
    assert token is not None
    page = opened(browser, lab, token.group())
    page.locator("#feedback-filter-whose").select_option("everybody")
    page.locator("#feedback-filter-digit").select_option("1")
    expect(rows(page)).to_have_text([row("7|1|wrong")])
    page.locator("#feedback-table .edit").click()
    page.locator("#feedback-edit-digit").select_option("none")
    page.locator("#feedback-edit-save").click()
    expect(rows(page)).to_have_text(["No feedback matches these filters."])
    page.locator("#feedback-filter-digit").select_option("none")
    expect(rows(page)).to_have_text([row("7|not a digit|wrong")])
    page.context.close()


def test_feedback_sketches_are_offered_as_a_test_set(visitor: Any) -> None:
    visitor.get_by_role("tab", name="Evaluate").click()
    expect(visitor.locator("#evaluate-digits")).to_contain_text(
        re.compile(r"feedback \(5[01]\simages\)")
    )
