"""The Runs section in a real browser: list, reuse settings, download, rename, delete."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from running_app import App

from digitcnn.network.checkpoint import load
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult
from digitcnn.training.report import write_report
from digitcnn.training.run_record import FINISHED
from digitcnn.training.runs import RunStore

pytestmark = pytest.mark.browser


def lay_run(folder: Path, name: str, config: TrainingConfig) -> None:
    """Create a finished run as a training leaves it, without the training."""
    run = RunStore(folder / "outputs").create(config, name)
    model = folder / "checkpoints" / f"{name}.pt"
    values = json.loads((run.folder / "run.json").read_text())
    ended = {"state": FINISHED, "checkpoint": model.name, "message": "Finished 3 epochs."}
    if model.exists():
        ended["digest"] = load(model).digest
    run.results.write_history((EpochResult(1, 0.5, 0.8, 0.4, 0.9, 40, 0.001, 1.5),))
    (run.folder / "run.json").write_text(json.dumps({**values, **ended}))
    write_report(run)


@pytest.fixture(scope="module")
def opened(browser: Any, app: App) -> Iterator[Any]:
    """The page that all tests share: it takes seconds to load."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(f"{app.url}/?tab=train")
    yield page
    page.close()


@pytest.fixture
def page(opened: Any) -> Iterator[Any]:
    """The page, on the Train tab."""
    opened.get_by_role("tab", name="Train", exact=True).click()
    yield opened
    assert opened.problems == []


def actions(page: Any, run: str) -> Any:
    return page.get_by_role("button", name=f"Actions for {run}", exact=True)


def open_menu(page: Any, run: str) -> Any:
    actions(page, run).click()
    return page.locator("#run-menu")


def test_a_long_run_name_breaks_at_its_hyphens(page: Any, app: App) -> None:
    name = "augmentation-with-small-batches"
    lay_run(app.folder, name, TrainingConfig(digits="small"))
    shown = page.locator("digitcnn-run .name", has_text=name)
    shown.wait_for()
    page.set_viewport_size({"width": 683, "height": 384})
    lines = shown.evaluate(
        """({ firstChild: text }) => text.data.split("-").map((word) => {
            const range = document.createRange();
            range.setStart(text, text.data.indexOf(word));
            range.setEnd(text, text.data.indexOf(word) + word.length);
            return range.getClientRects().length;
        })"""
    )
    assert lines == [1, 1, 1, 1]
    box = page.locator("digitcnn-run input").first
    expect(box).to_have_css("appearance", "auto")  # else its tick is white on white
    page.set_viewport_size({"width": 1200, "height": 900})


@pytest.mark.long
def test_run_is_repeated_downloaded_renamed_and_deleted(page: Any, app: App) -> None:
    lay_run(app.folder, "kept", TrainingConfig(digits="small"))
    config = TrainingConfig(
        digits="small", epochs=3, batch_size=32, learning_rate=0.002, seed=11, augmentation=False
    )
    shipped = app.folder / "checkpoints" / "digitcnn-mnist.pt"
    model = shutil.copy(shipped, shipped.with_name("old-name.pt"))
    lay_run(app.folder, "old-name", config)
    row = page.locator("#runs-table tbody tr").filter(has_text="old-name")
    expect(row).to_contain_text("90.00% (76.95 to 96.04)")

    menu = open_menu(page, "old-name")
    expect(menu.get_by_role("button", name="Resume")).to_be_hidden()
    menu.get_by_role("button", name="Repeat").click()
    expect(menu).to_be_hidden()
    expect(page.locator("#train-epochs input[type=number]")).to_have_value("3")
    expect(page.locator("#train-batch-size input[type=number]")).to_have_value("32")
    expect(page.locator("#train-digits input[name=small]")).to_be_checked()
    expect(page.locator("#train-digits input:checked")).to_have_count(1)
    expect(page.locator("#train-start")).to_be_focused()
    expect(page.locator("#train-start")).to_be_in_viewport()
    said = page.locator(".toast-body")
    expect(said).to_contain_text("Settings of old-name are filled in; press Start training.")
    header = page.locator(".page-header").bounding_box()
    assert said.bounding_box()["y"] >= header["height"]
    said.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Run name").focus()
    expect(page.get_by_label("Run name")).to_have_css("outline-style", "solid")
    expect(page.locator("#train-seed input")).to_have_value("11")
    expect(page.locator("#train-augmentation input")).not_to_be_checked()

    with page.expect_popup() as opening:
        open_menu(page, "old-name").get_by_role("button", name="Report").click()
    expect(opening.value.get_by_role("heading", name="old-name")).to_be_visible()
    assert opening.value.evaluate("opener") is None
    opening.value.close()

    page.locator("#model-select input").click()
    page.get_by_role("option", name=re.compile("^old-name ·")).click()
    open_menu(page, "old-name").get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog", name="Rename run")
    field = dialog.get_by_label("New name")
    expect(field).to_be_focused()
    field.fill("kept")
    field.press("Enter")
    expect(dialog.locator(".field-error")).to_contain_text("already exists")
    field.fill("new näme")
    expect(dialog.locator(".field-error")).to_have_text("")
    expect(dialog.locator("#run-rename-safe")).to_have_text("It will be called new-name.")
    field.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("#run-renamed")).to_have_text("Renamed to new-name.")
    page.locator("#runs-table").get_by_role("rowheader", name="new-name").wait_for()
    expect(page.locator("#runs-table").get_by_role("rowheader", name="old-name")).to_have_count(0)
    # Its model goes by the new name as well.
    expect(page.locator("#model-select input")).to_have_value(re.compile("^new-name ·"))
    page.get_by_role("button", name="Details", exact=True).click()
    details = page.get_by_role("dialog", name="Model")
    expect(details).to_contain_text(re.compile(r"Name\s*new-name.*File\s*old-name\.pt", re.DOTALL))
    details.get_by_role("button", name="Close").click()

    open_menu(page, "new-name").get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete run")
    expect(dialog.get_by_label("Also delete its model, old-name.pt")).not_to_be_checked()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    assert (app.folder / "outputs" / "new-name").is_dir()
    open_menu(page, "new-name").get_by_role("button", name="Delete").click()
    dialog.get_by_label("Also delete its model").check()
    dialog.get_by_role("button", name="Delete run").click()
    page.locator("#runs-table").get_by_role("rowheader", name="new-name").wait_for(state="detached")
    assert not (app.folder / "outputs" / "new-name").exists()
    assert (app.folder / "outputs" / "kept").is_dir()
    assert shipped.exists()
    assert not model.exists()


@pytest.mark.long
def test_ticked_runs_are_compared(page: Any, app: App) -> None:
    shipped = app.folder / "checkpoints" / "digitcnn-mnist.pt"
    names = ("ticked-one", "ticked-two")
    for name in names:
        shutil.copy(shipped, shipped.with_name(f"{name}.pt"))
        lay_run(app.folder, name, TrainingConfig(digits="small"))
    compare = page.locator("#runs-compare")
    expect(compare).to_be_disabled()
    for name in names:
        page.get_by_role("checkbox", name=f"Choose {name} to compare").check()
    # Another run renders the table again: ticked runs stay ticked.
    lay_run(app.folder, "another", TrainingConfig(digits="small"))
    page.locator("#runs-table").get_by_role("rowheader", name="another").wait_for()
    expect(page.locator("#runs-table input:checked")).to_have_count(2)
    compare.click()
    expect(page.locator("#compare-models .token")).to_have_text(
        [re.compile(n) for n in names[::-1]]
    )
    page.locator("#compare-table table").wait_for()
    for name in names:
        shipped.with_name(f"{name}.pt").unlink()


def test_focus_and_menu_stay_with_their_run(page: Any, app: App) -> None:
    lay_run(app.folder, "held", TrainingConfig(digits="small"))
    button, menu = actions(page, "held"), open_menu(page, "held")
    items = menu.locator("button:visible")
    expect(items.first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(items.last).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(items.first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(menu).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(items.first).to_be_focused()
    for run in ("above-menu", "above-button"):  # each moves the other rows down by one
        lay_run(app.folder, run, TrainingConfig(digits="small"))
        actions(page, run).wait_for()
        expect(menu).to_be_hidden()
        expect(button).to_be_focused()
    for control, offset in (
        (button, "1px"),
        (page.locator("#train-start"), "1px"),
        (page.get_by_role("tab", name="Train", exact=True), "-3px"),  # its list would cut it off
    ):
        control.focus()
        expect(control).to_have_css("outline", "rgb(11, 92, 173) solid 3px")
        expect(control).to_have_css("outline-offset", offset)
    button.focus()
    shutil.rmtree(app.folder / "outputs" / "above-menu")
    actions(page, "above-menu").wait_for(state="detached")
    expect(button).to_be_focused()
    shutil.rmtree(app.folder / "outputs" / "held")
    expect(page.locator("#runs-table .table-scroll")).to_be_focused()


def test_runs_table_sorts_and_fits_a_phone(page: Any, app: App) -> None:
    for name, seed in (("b-run", 2), ("a-run", 10)):
        lay_run(app.folder, name, TrainingConfig(digits="small", seed=seed))
    page.set_viewport_size({"width": 360, "height": 800})
    page.locator("#runs-table").get_by_role("rowheader", name="a-run").wait_for()
    page.locator("#runs-table").get_by_label("All columns").check()
    page.locator("#runs-table").get_by_role("button", name="Seed").click()
    names = page.locator("#runs-table tbody th").all_inner_texts()
    assert names.index("b-run") < names.index("a-run")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    headers = page.locator("#runs-table thead th:visible")
    headers.last.locator("button").focus()
    right_of_first = headers.first.bounding_box()
    for header in reversed(headers.all()[1:]):
        expect(header.locator("button")).to_be_focused()
        box = header.bounding_box()
        assert box["x"] >= right_of_first["x"] + right_of_first["width"] - 1, header.inner_text()
        page.keyboard.press("Shift+Tab")
