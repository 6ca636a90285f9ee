"""The Runs section in a real browser: list, reuse settings, download, rename, delete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from running_app import App

from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult
from digitcnn.training.run_files import write_report
from digitcnn.training.run_record import FINISHED
from digitcnn.training.runs import RunStore

pytestmark = pytest.mark.browser


def lay_run(folder: Path, name: str, config: TrainingConfig) -> None:
    """Create a finished run as a training leaves it, without the training."""
    run = RunStore(folder / "outputs").create(config, name)
    values = json.loads((run.folder / "run.json").read_text())
    ended = {"state": FINISHED, "checkpoint": f"{name}.pt", "message": "Finished 3 epochs."}
    (run.folder / "run.json").write_text(json.dumps({**values, **ended}))
    run.results.write_history((EpochResult(1, 0.5, 0.8, 0.4, 0.9, 40, 0.001, 1.5),))
    write_report(run)


@pytest.fixture
def page(browser: Any, app: App) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.problems = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    yield opened
    assert opened.problems == []
    context.close()


def choose_run(page: Any, name: str) -> None:
    page.locator("#train-resume-run input").click()
    page.get_by_role("option", name=re.compile(f"^{name} ")).click()


def test_run_is_reused_downloaded_renamed_and_deleted(page: Any, app: App) -> None:
    lay_run(app.folder, "kept", TrainingConfig(digits="small"))
    config = TrainingConfig(
        digits="small", epochs=3, batch_size=32, learning_rate=0.002, seed=11, augmentation=False
    )
    lay_run(app.folder, "old-name", config)
    page.goto(f"{app.url}/?tab=train")
    page.locator("#runs-table").get_by_role("rowheader", name="old-name").wait_for()
    row = page.locator("#runs-table tbody tr").filter(has_text="old-name")
    assert "finished" in row.inner_text()
    assert "90.00% (76.95 to 96.04)" in row.inner_text()

    choose_run(page, "old-name")
    page.locator("#runs-reproduce").click()
    expect(page.locator("#train-epochs input[type=number]")).to_have_value("3")
    expect(page.locator("#train-batch-size input[type=number]")).to_have_value("32")
    expect(page.locator("#train-digits input[name=small]")).to_be_checked()
    expect(page.locator("#train-digits input:checked")).to_have_count(1)
    page.get_by_role("button", name="More settings").click()
    expect(page.locator("#train-seed input")).to_have_value("11")
    expect(page.locator("#train-augmentation input")).not_to_be_checked()

    page.get_by_role("button", name="Manage run").click()
    page.locator("#runs-file input").click()
    page.get_by_role("option", name=re.compile("^report.html ")).click()
    page.wait_for_function("!!document.querySelector('#runs-download')?.closest('a, button')")
    page.locator("#runs-download:not([disabled])").first.wait_for()
    with page.expect_download() as saving:
        page.locator("#runs-download").first.click()
    assert saving.value.suggested_filename == "report.html"
    assert "<h1>old-name</h1>" in Path(saving.value.path()).read_text("utf-8")

    page.locator("#runs-new-name input, #runs-new-name textarea").fill("new-name")
    page.locator("#runs-rename").click()
    page.locator("#runs-table").get_by_role("rowheader", name="new-name").wait_for()
    assert page.locator("#runs-table").get_by_role("rowheader", name="old-name").count() == 0
    expect(page.locator("#train-resume-run input")).to_have_value(re.compile("^new-name"))

    page.locator("#runs-delete").click()
    question = page.locator("#runs-question")
    question.get_by_text("Checkpoint old-name.pt is kept.").wait_for()
    page.locator("#runs-delete-no").click()
    question.wait_for(state="hidden")
    assert (app.folder / "outputs" / "new-name").is_dir()
    page.locator("#runs-delete").click()
    page.locator("#runs-delete-yes").click()
    page.locator("#runs-table").get_by_role("rowheader", name="new-name").wait_for(state="detached")
    assert not (app.folder / "outputs" / "new-name").exists()
    assert (app.folder / "outputs" / "kept").is_dir()


def test_runs_table_sorts_and_fits_a_phone(page: Any, app: App) -> None:
    for name, seed in (("b-run", 2), ("a-run", 10)):
        lay_run(app.folder, name, TrainingConfig(digits="small", seed=seed))
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{app.url}/?tab=train")
    page.locator("#runs-table").get_by_role("rowheader", name="a-run").wait_for()
    page.locator("#runs-table").get_by_role("button", name="Seed").click()
    names = page.locator("#runs-table tbody th").all_inner_texts()
    assert names.index("b-run") < names.index("a-run")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
