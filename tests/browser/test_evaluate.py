"""The Evaluate tab in a real browser: results, sorting, errors, figures, files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from running_app import App

from digitcnn.analysis.figures import NAMES

pytestmark = pytest.mark.browser


class EvaluatePage:
    """What a person does on the Evaluate tab."""

    def __init__(self, browser: Any, app: App, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(app.url)
        self.page.get_by_role("tab", name="Evaluate").click()
        self.page.locator("#evaluate-run").wait_for()

    def choose(self, *names: str) -> None:
        """Exactly these sets."""
        for box in self.page.locator("#evaluate-digits label").all():
            box.locator("input").set_checked(box.inner_text().split(" ")[0] in names)

    def press(self) -> None:
        """Evaluate to the end."""
        self.page.locator("#evaluate-run").click()
        ended = self.page.locator("#evaluate-status", has_text=re.compile(r"% .+ on .+ test"))
        ended.wait_for(timeout=120_000)
        for name in NAMES:
            self.figure(name).locator("img").wait_for()

    def watch_status(self) -> None:
        """From now on, remember every status of the evaluation."""
        self.page.evaluate(
            """() => {
              window.statuses = [];
              const status = document.querySelector("#evaluate-status");
              new MutationObserver(() => window.statuses.push(status.innerText))
                .observe(status, { childList: true, subtree: true, characterData: true });
            }"""
        )

    def statuses(self) -> list[str]:
        texts: list[str] = self.page.evaluate("window.statuses")
        return texts

    def column(self, number: int) -> list[str]:
        """The cells of a column of the table, from 0, without the footer."""
        rows = self.page.locator("#evaluate-table tbody tr").all()
        return [row.locator("th, td").nth(number).inner_text() for row in rows]

    def figure(self, name: str) -> Any:
        return self.page.locator(f'#evaluate-gallery figure[data-figure="{name}"]')

    def wait_for_tiles(self, heading: str) -> None:
        self.page.locator("#evaluate-errors h4", has_text=heading).wait_for()

    def choose_digit(self, place: str, digit: str) -> None:
        self.page.locator(f"#{place} input").click()
        self.page.get_by_role("option", name=digit, exact=True).click()


@pytest.fixture(scope="module")
def evaluated(browser: Any, app: App) -> Iterator[EvaluatePage]:
    """A page on which two small sets were evaluated."""
    opened = EvaluatePage(browser, app)
    opened.choose("small", "synthetic")
    opened.press()
    yield opened
    assert opened.problems == []
    opened.page.close()


def test_results_have_a_row_per_set_with_interval_and_the_gap(
    evaluated: EvaluatePage,
) -> None:
    # The set of the model's own kind is first, and which model is chosen depends on other tests.
    first, second = evaluated.column(0)
    assert {first, second} == {"small test", "synthetic test"}
    for accuracy in evaluated.column(3):
        assert re.fullmatch(r"\d+\.\d\d% \(\d+\.\d\d to \d+\.\d\d\)", accuracy)
    footer = evaluated.page.locator("#evaluate-table tfoot").inner_text()
    assert f"{first} minus {second}" in footer
    assert "points" in footer
    status = evaluated.page.locator("#evaluate-status").inner_text()
    assert all(accuracy in status for accuracy in evaluated.column(3))
    assert "may not suit other sets" in evaluated.page.locator("#evaluate-words").inner_text()


def test_clicking_a_header_sorts_and_a_second_click_reverses_the_order(
    evaluated: EvaluatePage,
) -> None:
    header = evaluated.page.locator("#evaluate-table thead").get_by_role("button", name="Images")
    header.click()
    assert evaluated.column(1) == ["100", "4,000"]
    header.click()
    assert evaluated.column(1) == ["4,000", "100"]


def test_nine_figures_are_shown_and_open_in_full(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    for name in NAMES:
        evaluated.figure(name).locator("img").wait_for()
    figure = evaluated.figure("07_confusion_matrix")
    figure.get_by_role("button").focus()
    page.keyboard.press("Enter")
    page.locator("dialog[open] img").wait_for()
    inside, shown = (
        page.locator(f"{place} img").evaluate("image => [image.naturalWidth, image.width]")
        for place in ("dialog[open]", "#evaluate-figure-07 figure")
    )
    assert inside[1] > shown[1]
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    figure.get_by_role("button").click()
    page.locator("dialog[open]").click()
    page.locator("dialog[open]").wait_for(state="detached")


def test_clicking_a_matrix_cell_shows_its_images(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    cell = page.locator('#evaluate-matrices td.right button[data-digits="small"]').first
    digit, count = cell.get_attribute("data-true"), int(cell.inner_text())
    cell.click()
    evaluated.wait_for_tiles(f"Digit {digit} predicted as {digit} on small test")
    assert page.locator("#evaluate-errors li").count() == count
    assert page.locator("#evaluate-errors-digits input").input_value() == "small"


def test_a_chosen_cell_scrolls_its_images_into_a_low_window(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    page.set_viewport_size({"width": 1280, "height": 300})
    cell = page.locator('#evaluate-matrices td.right button[data-digits="synthetic"]').first
    heading = page.locator("#evaluate-errors h4")
    # Again and again: the page may still be on its way to the images of an earlier choice.
    page.wait_for_function(
        """([cell, heading]) => {
          cell.scrollIntoView({ block: "start" });
          return heading.getBoundingClientRect().top > innerHeight;
        }""",
        arg=[cell.element_handle(), heading.element_handle()],
    )
    cell.click()
    expect(heading).to_contain_text("on synthetic test")
    expect(heading).to_be_in_viewport()
    page.set_viewport_size({"width": 1280, "height": 900})


def test_errors_are_above_the_figures(evaluated: EvaluatePage) -> None:
    errors, figures = (
        evaluated.page.locator(place).bounding_box()
        for place in ("#evaluate-matrices", "#evaluate-gallery")
    )
    assert errors["y"] + errors["height"] < figures["y"]


def test_arrow_keys_move_through_a_matrix(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    page.locator('#evaluate-matrices button[data-digits="synthetic"][tabindex="0"]').focus()
    page.keyboard.press("ArrowDown")
    true, predicted = page.evaluate(
        "[document.activeElement.dataset.true, document.activeElement.dataset.predicted]"
    )
    assert true != "0"
    page.keyboard.press("Enter")
    evaluated.wait_for_tiles(f"Digit {true} predicted as {predicted} on synthetic test")


def test_digits_can_be_chosen_without_the_matrix(evaluated: EvaluatePage) -> None:
    evaluated.choose_digit("evaluate-true", "Any")
    evaluated.choose_digit("evaluate-predicted", "Any error")
    evaluated.wait_for_tiles("The most confident errors on")
    confidences = [
        float(re.search(r"([\d.]+)%", text)[1])  # type: ignore[index]
        for text in evaluated.page.locator("#evaluate-errors li").all_inner_texts()
    ]
    assert confidences == sorted(confidences, reverse=True)


def test_tables_and_figures_can_be_downloaded(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    with page.expect_download() as table:
        page.locator("#evaluate-words a", has_text="Results by set").click()
    lines = table.value.path().read_text().splitlines()
    assert lines[0].startswith("digits,split,n,errors,accuracy")
    first, second, gap = (line.split(",")[0] for line in lines[1:])
    assert {first, second} == {"small", "synthetic"}
    assert gap == f"{first} test minus {second} test"
    with page.expect_download() as figures:
        page.locator("#evaluate-zip").click()
    with zipfile.ZipFile(figures.value.path()) as archive:
        assert archive.namelist() == [f"{name}.png" for name in NAMES]


def test_robustness_is_measured_on_the_chosen_set_and_its_figure_opens(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    evaluated.choose_digit("evaluate-errors-digits", "small")
    page.locator("#evaluate-robustness-run").click()
    expect(page.locator("#evaluate-robustness-status")).to_contain_text("Done: small test.")
    rows = page.locator("#evaluate-robustness-table tbody tr")
    expect(rows).to_have_count(21)
    expect(rows.first).to_contain_text(re.compile(r"Undistorted.*% \(.+ to .+\)", re.DOTALL))
    expect(page.locator("#evaluate-robustness-table caption")).to_contain_text(
        "100 images of small"
    )
    page.locator("#evaluate-robustness figure button").click()
    expect(page.locator("#evaluate-robustness dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#evaluate-robustness dialog")).to_be_hidden()


def test_a_second_visit_draws_nothing_anew_and_fits_a_phone(
    evaluated: EvaluatePage, browser: Any, app: App
) -> None:
    phone = EvaluatePage(browser, app, width=360)
    # Whichever is ticked first.
    phone.choose("synthetic")
    phone.choose("small", "synthetic")
    # Tools that work on a result come with it.
    expect(phone.page.locator("#evaluate-status")).to_contain_text("No results yet.")
    for place in ("#evaluate-suspects", "#evaluate-zip", "#evaluate-gap-run", "#evaluate-table"):
        expect(phone.page.locator(place)).not_to_be_visible()
    phone.watch_status()
    phone.press()
    assert phone.statuses()
    assert not [status for status in phone.statuses() if "Drawing" in status]
    assert sorted(phone.column(3)) == sorted(evaluated.column(3))
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.problems == []
    phone.page.close()


def test_without_internet_the_download_fails_and_the_page_keeps_working(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    page.locator("#evaluate-fetch").click()
    said = page.locator("#evaluate-fetch-status")
    said.get_by_text("You can still evaluate the sets above.").wait_for()
    assert "emnist" in said.inner_text().lower()
    evaluated.press()
    assert sorted(evaluated.column(0)) == ["small test", "synthetic test"]


def test_without_a_chosen_set_an_error_is_shown_and_the_button_returns(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    evaluated.choose()
    page.locator("#evaluate-run").click()
    page.get_by_text("No test set is chosen; choose one or more.").wait_for()
    page.locator("#evaluate-status", has_text="Evaluation stopped").wait_for()
    page.locator("#evaluate-run:enabled").wait_for()
    assert len(evaluated.column(0)) == 2
