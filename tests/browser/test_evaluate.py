"""The Evaluate tab in a real browser: results and whose they are, errors, figures, files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect
from running_app import App

from digitcnn.analysis.adversarial import CURVE_SIZES
from digitcnn.analysis.axes import AXES
from digitcnn.digits.names import set_title
from digitcnn.network.checkpoint import save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.options import FIGURES

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
        expect(self.page.locator("#evaluate-run")).to_be_enabled()

    def open(self, part: str) -> None:
        """Open one of the parts of the results."""
        self.page.get_by_role("tab", name=part, exact=True).click()
        self.page.get_by_role("tab", name=part, exact=True, selected=True).wait_for()

    def open_robustness(self, digits: str) -> Iterator[Any]:
        """Open the part about gap and robustness, on this set; return its status and buttons."""
        self.open("Gap and robustness")
        self.choose_digit("evaluate-gap-digits", digits)
        names = "status", "run", "stop"
        return (self.page.locator(f"#evaluate-robustness-{name}") for name in names)

    def select_model(self, name: str) -> None:
        self.page.locator("#model-select input").click()
        self.page.get_by_role("option", name=re.compile(rf"^{name}\b")).first.click()

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
        texts = [row.locator("th, td").nth(number).inner_text() for row in rows]
        return [" ".join(text.split()) for text in texts]

    def figures(self) -> Any:
        return self.page.locator("#evaluate-gallery .grid-container img")

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
    assert {first, second} == {"small test", "synthetic digits test"}
    for accuracy in evaluated.column(3):
        assert re.fullmatch(r"\d+\.\d\d% \(\d+\.\d\d to \d+\.\d\d\)", accuracy)
    footer = evaluated.page.locator("#evaluate-table tfoot").inner_text()
    assert f"{first} minus {second}" in footer
    assert "points" in footer
    status = evaluated.page.locator("#evaluate-status").inner_text()
    assert all(accuracy in status for accuracy in evaluated.column(3))
    cards = evaluated.page.locator("#evaluate-summary .card .large")
    assert cards.all_inner_texts() == [text.split(" ")[0] for text in evaluated.column(3)]
    expect(evaluated.page.locator("#evaluate-worst li")).to_have_count(6)


def test_columns_for_experts_are_folded(evaluated: EvaluatePage) -> None:
    table = evaluated.page.locator("#evaluate-table")
    nll = table.get_by_role("button", name="NLL")
    expect(nll).to_be_hidden()
    table.get_by_label("All columns").check()
    expect(nll).to_be_visible()
    assert "nats" in (nll.get_attribute("title") or "")
    table.get_by_label("All columns").uncheck()


def test_clicking_a_header_sorts_and_a_second_click_reverses_the_order(
    evaluated: EvaluatePage,
) -> None:
    header = evaluated.page.locator("#evaluate-table thead").get_by_role("button", name="Images")
    header.click()
    assert evaluated.column(1) == ["100", "4,000"]
    header.click()
    assert evaluated.column(1) == ["4,000", "100"]


@pytest.mark.long
def test_nine_figures_open_in_a_viewer_with_next_download_and_close(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    evaluated.open("Figures")
    expect(evaluated.figures()).to_have_count(len(FIGURES))
    for dark, dimmed in ((True, "brightness(0.85)"), (False, "none")):
        page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", dark)
        expect(evaluated.figures().first).to_have_css("filter", dimmed)
    cut = page.locator("#evaluate-gallery .caption-label").evaluate_all(
        "captions => captions.filter((each) => each.scrollWidth > each.clientWidth).length"
    )
    assert cut == 0
    evaluated.figures().nth(6).click()
    viewer = page.locator("#evaluate-gallery .preview")
    shown = viewer.locator(".media-button img")
    expect(shown).to_have_attribute("src", re.compile("07_confusion_matrix.png$"))
    for button in ("Download", "Close"):
        expect(viewer.get_by_role("button", name=button)).to_be_in_viewport()
    expect(page.locator("#evaluate-which input")).to_have_value(re.compile("^07"))
    expect(page.locator("#evaluate-file-type input")).to_have_value("PNG")
    page.keyboard.press("ArrowRight")
    expect(shown).to_have_attribute("src", re.compile("08_confidence_analysis.png$"))
    box = shown.bounding_box()
    for place, name in ((0.1, "07_confusion_matrix"), (0.9, "08_confidence_analysis")):
        shown.click(position={"x": place * box["width"], "y": box["height"] / 2})
        expect(shown).to_have_attribute("src", re.compile(name))
    # On a phone the keys move the figure to its end before they go on to the next.
    wide = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 844})
    frame = viewer.locator(".media-button")
    rest = "frame => frame.scrollWidth - frame.clientWidth - frame.scrollLeft"
    assert frame.evaluate(rest) > 100
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert frame.evaluate(rest) <= 1
    expect(shown).to_have_attribute("src", re.compile("08_confidence_analysis.png$"))
    page.set_viewport_size(wide)
    viewer.get_by_role("button", name="Close").click()
    expect(viewer).to_have_count(0)
    # The focus goes back to the figure.
    figures = page.locator("#evaluate-gallery .grid-container button")
    expect(figures.nth(7)).to_be_focused()
    page.keyboard.press("Enter")
    viewer.wait_for()
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(figures.nth(7)).to_be_focused()


@pytest.mark.long
@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_downloaded_as_svg_or_pdf(
    evaluated: EvaluatePage, kind: str, start: bytes
) -> None:
    page = evaluated.page
    evaluated.open("Figures")
    evaluated.choose_digit("evaluate-which", "04 · Accuracy on each set, and errors per digit.")
    evaluated.choose_digit("evaluate-file-type", kind.upper())
    with page.expect_download() as file:
        page.locator("#evaluate-zip").click()
    assert file.value.suggested_filename.endswith(f"-04_cross_dataset_evaluation.{kind}")
    assert file.value.path().read_bytes().startswith(start)
    evaluated.choose_digit("evaluate-file-type", "PNG")
    evaluated.choose_digit("evaluate-which", "All (zip)")


def test_clicking_a_matrix_cell_shows_its_images(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    evaluated.open("Errors")
    cell = page.locator('#evaluate-matrices td.right button[data-digits="small"]').first
    digit, count = cell.get_attribute("data-true"), int(cell.inner_text())
    cell.click()
    evaluated.wait_for_tiles(f"Digit {digit} predicted as {digit} on small test")
    assert page.locator("#evaluate-errors li").count() == count
    assert page.locator("#evaluate-errors-digits input").input_value() == "small"


def test_the_images_of_a_cell_are_beside_its_matrix(evaluated: EvaluatePage) -> None:
    evaluated.open("Errors")
    matrix, images = (
        evaluated.page.locator(place).bounding_box()
        for place in ("#evaluate-matrices table >> nth=0", "#evaluate-errors h4")
    )
    assert images["x"] > matrix["x"] + matrix["width"]
    assert images["y"] < matrix["y"] + matrix["height"]


def test_twelve_images_are_shown_and_more_on_request(evaluated: EvaluatePage) -> None:
    evaluated.open("Errors")
    cells = evaluated.page.locator('#evaluate-matrices td.right button[data-digits="synthetic"]')
    cells.first.click()
    evaluated.wait_for_tiles("on synthetic digits test")
    visible = evaluated.page.locator("#evaluate-errors li:visible")
    expect(visible).to_have_count(12)
    evaluated.page.locator("#evaluate-errors summary").click()
    expect(visible).to_have_count(60)


def test_arrow_keys_move_through_a_matrix(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    evaluated.open("Errors")
    page.locator('#evaluate-matrices button[data-digits="synthetic"][tabindex="0"]').focus()
    page.keyboard.press("ArrowDown")
    true, predicted = page.evaluate(
        "[document.activeElement.dataset.true, document.activeElement.dataset.predicted]"
    )
    assert true != "0"
    page.keyboard.press("Enter")
    evaluated.wait_for_tiles(f"Digit {true} predicted as {predicted} on synthetic digits test")


def test_digits_can_be_chosen_without_the_matrix(evaluated: EvaluatePage) -> None:
    evaluated.open("Errors")
    evaluated.choose_digit("evaluate-true", "Any")
    evaluated.choose_digit("evaluate-predicted", "Any error")
    evaluated.wait_for_tiles("The most confident errors on")
    confidences = [
        float(re.search(r"([\d.]+)%", text)[1])  # type: ignore[index]
        for text in evaluated.page.locator("#evaluate-errors li:visible").all_inner_texts()
    ]
    assert confidences == sorted(confidences, reverse=True)


def test_tables_and_figures_can_be_downloaded(evaluated: EvaluatePage) -> None:
    page = evaluated.page
    evaluated.open("Summary")
    page.get_by_role("button", name="Calibration, per digit, CSV files").click()
    expect(page.locator("#evaluate-words")).to_contain_text("may not suit other sets")
    with page.expect_download() as table:
        page.locator("#evaluate-words a", has_text="Results by set").click()
    lines = table.value.path().read_text().splitlines()
    assert lines[0].startswith("digits,split,n,errors,accuracy")
    first, second, gap = (line.split(",")[0] for line in lines[1:])
    assert {first, second} == {"small", "synthetic"}
    assert gap == f"{set_title(first, 'test')} minus {set_title(second, 'test')}"
    evaluated.open("Figures")
    with page.expect_download() as figures:
        page.locator("#evaluate-zip").click()
    with zipfile.ZipFile(figures.value.path()) as archive:
        assert archive.namelist() == [f"{name}.png" for name in FIGURES]


def test_stop_ends_a_measurement_and_the_keyboard_focus_stays_with_its_buttons(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    status, run, stop = evaluated.open_robustness("synthetic digits")
    expect(stop).to_be_hidden()
    run.focus()
    page.keyboard.press("Enter")
    expect(stop).to_be_focused()
    expect(run).to_be_disabled()
    while stop.is_enabled():  # a second press that follows at once is not meant for it
        page.keyboard.press("Enter")
    expect(status).to_contain_text("Stopped.")
    expect(run).to_be_focused()
    expect(stop).to_be_hidden()
    expect(page.locator("#evaluate-robustness figure")).to_have_count(0)


@pytest.mark.long
def test_robustness_is_measured_on_the_chosen_set_and_its_figure_opens(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    status, run, _ = evaluated.open_robustness("small")
    run.click()
    expect(status).to_contain_text("Done: small test.", timeout=120_000)
    rows = page.locator("#evaluate-robustness-table tbody tr")
    expect(rows).to_have_count(1 + sum(len(axis.marked) for axis in AXES) + len(CURVE_SIZES))
    expect(rows.first).to_contain_text(re.compile(r"Undistorted.*% \(.+ to .+\)", re.DOTALL))
    captions = page.locator("#evaluate-robustness-table caption")
    expect(captions.first).to_contain_text("100 images of the small test set")
    expect(captions.last).to_contain_text("under attack on 100 images of the small test set")
    page.locator("#evaluate-robustness figure button").click()
    expect(page.locator("#evaluate-robustness dialog")).to_be_visible()
    scrolled = "box => [box.scrollLeft, box.scrollTop, box.scrollWidth - box.clientWidth]"
    assert page.locator("#evaluate-robustness dialog").evaluate(scrolled) == [0, 0, 0]
    save = page.locator("#evaluate-robustness dialog").get_by_role("link", name="Download")
    assert (save.get_attribute("href") or "").startswith("data:image/png")
    page.locator("#evaluate-robustness dialog").get_by_role("button", name="Close").click()
    expect(page.locator("#evaluate-robustness dialog")).to_be_hidden()


@pytest.mark.long
def test_a_second_visit_draws_nothing_anew_and_fits_a_phone(
    evaluated: EvaluatePage, browser: Any, app: App
) -> None:
    phone = EvaluatePage(browser, app, width=360)
    phone.choose("synthetic")
    # Tools that work on a result come with it.
    expect(phone.page.locator("#evaluate-status")).to_contain_text("No results yet.")
    for place in ("#evaluate-results", "#evaluate-zip", "#evaluate-table"):
        expect(phone.page.locator(place)).not_to_be_visible()
    # Known results come without a press, whichever set is ticked first.
    phone.choose("small", "synthetic")
    expect(phone.page.locator("#evaluate-table")).to_be_visible()
    wide = "box => box.scrollWidth - box.clientWidth"
    assert phone.page.locator("#evaluate-table .table-scroll").evaluate(wide) <= 0
    # The button is the last thing on the screen.
    phone.page.set_viewport_size({"width": 360, "height": 400})
    phone.page.locator("#evaluate-run").evaluate("button => button.scrollIntoView(false)")
    expect(phone.page.locator("#evaluate-status")).not_to_be_in_viewport()
    phone.watch_status()
    phone.press()
    expect(phone.page.locator("#evaluate-status")).to_be_in_viewport(ratio=1)
    assert phone.statuses()
    assert not [status for status in phone.statuses() if "Drawing" in status]
    assert sorted(phone.column(3)) == sorted(evaluated.column(3))
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.problems == []
    phone.page.close()


@pytest.mark.long
def test_results_of_another_model_are_grey_named_and_replaced(
    browser: Any, app: App, tmp_path: Path
) -> None:
    network = DigitCNN(generator=torch.Generator().manual_seed(1)).eval()
    save(tmp_path / "untrained.pt", network, Details(digits="small", epochs=1))
    opened = EvaluatePage(browser, app)
    page = opened.page
    outdated = page.locator("digitcnn-result.outdated")
    opened.select_model("digitcnn-mnist")
    opened.choose("small", "synthetic")  # as other tests do, so that their figures serve
    opened.press()
    expect(outdated).to_have_count(0)
    accuracy = page.locator("#evaluate-summary .large").first
    expect(accuracy).to_have_text(re.compile("%$"))
    trained = accuracy.inner_text()

    page.locator(".model-row input[type=file], #model-drop input").first.set_input_files(
        str(tmp_path / "untrained.pt")
    )
    notice = page.locator("#evaluate-choice")
    expect(notice).to_contain_text(re.compile("Results for digitcnn-mnist on .* and "))
    expect(page.locator("#evaluate-summary digitcnn-result")).to_have_attribute(
        "aria-disabled", "true"
    )
    opened.open("Figures")
    expect(page.locator("#evaluate-gallery.outdated")).to_have_count(1)
    assert accuracy.text_content() == trained
    opened.choose("small")
    expect(notice.get_by_role("button")).to_have_text("Evaluate untrained")
    notice.get_by_role("button", name="Evaluate untrained").click()
    expect(page.locator("#evaluate-status")).to_contain_text("Drawing")
    expect(outdated).to_have_count(0)
    # So is a choice during a run, even before the app responds to it.
    held: list[Any] = []
    page.route(re.compile("/gradio_api/(run|queue/join)"), lambda request: held.append(request))
    opened.select_model("digitcnn-mnist")
    expect(outdated.first).to_be_attached()
    expect(notice).to_contain_text("Results for untrained on")
    expect(notice.get_by_role("button")).to_have_count(0)
    assert held
    for request in held:
        request.continue_()
    page.unroute_all()
    expect(notice.get_by_role("button")).to_have_text("Evaluate digitcnn-mnist")
    expect(page.locator("#evaluate-stop")).to_be_enabled()
    opened.select_model("untrained")
    expect(outdated).to_have_count(0)
    expect(page.locator("#evaluate-run")).to_be_enabled()
    opened.open("Summary")
    expect(accuracy).not_to_have_text(trained)
    # Known results come at once, without a press. Sets count as well as models.
    opened.select_model("digitcnn-mnist")
    expect(outdated.first).to_be_attached()
    opened.choose("small", "synthetic")
    expect(accuracy).to_have_text(trained)
    expect(outdated).to_have_count(0)
    expect(notice).to_be_hidden()
    # So they do on a page that was loaded again, which opens its tab and its model.
    page.reload()
    expect(page.locator("#model-select input")).to_have_value(re.compile("^digitcnn-mnist"))
    page.locator("#evaluate-run").wait_for()
    opened.choose("small", "synthetic")
    expect(accuracy).to_have_text(trained)
    expect(outdated).to_have_count(0)
    assert opened.problems == []
    page.close()


@pytest.mark.long
def test_without_internet_the_download_fails_and_the_page_keeps_working(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    page.locator("#evaluate-fetch").click()
    said = page.locator("#evaluate-fetch-status")
    said.get_by_text("You can still evaluate the sets above.").wait_for()
    assert "emnist" in said.inner_text().lower()
    evaluated.press()
    assert sorted(evaluated.column(0)) == ["small test", "synthetic digits test"]


def test_without_a_chosen_set_an_error_is_shown_and_the_button_returns(
    evaluated: EvaluatePage,
) -> None:
    page = evaluated.page
    evaluated.choose()
    page.locator("#evaluate-run").click()
    page.get_by_text("No test set is chosen; choose one or more.").wait_for()
    page.locator("#evaluate-status", has_text="Evaluation stopped").wait_for()
    page.locator("#evaluate-run:enabled").wait_for()
    assert evaluated.column(0)
    notice = page.locator("#evaluate-choice")
    expect(notice).to_contain_text("Results for")
    expect(page.locator("digitcnn-result.outdated").first).to_be_attached()
    expect(notice.locator("digitcnn-choice button")).to_have_count(0)
