"""The Experiments section in a real browser: an outcome, a run that survives a reload, deletion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments_in_small import in_small
from playwright.sync_api import expect
from running_app import App

from digitcnn.digits.catalog import Catalog
from digitcnn.experiments import catalogue
from digitcnn.experiments.groups import GroupStore
from digitcnn.experiments.running import ExperimentRunner
from digitcnn.network.device import Compute
from digitcnn.training.background import StopSignal
from digitcnn.training.runs import RunStore

pytestmark = [pytest.mark.browser, pytest.mark.long]


def lay_outcome(app: App, data_dir: Path) -> str:
    """Run ``augmentation`` in small on the app's folders, as the command line would."""
    outputs, checkpoints = app.folder / "outputs", app.folder / "checkpoints"
    runs = RunStore(outputs)
    groups = GroupStore(outputs / ".experiments", runs, checkpoints)
    runner = ExperimentRunner(
        catalog=Catalog(data_dir),
        runs=runs,
        groups=groups,
        checkpoints=checkpoints,
        compute=Compute(torch.device("cpu"), None, "CPU"),
    )
    group = groups.create("augmentation", "small", 0)
    for _ in runner.events(in_small(catalogue.find("augmentation")), group, StopSignal()):
        pass
    return group.name


@pytest.fixture
def page(browser: Any, own_app: App) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(own_app.url)
    opened.get_by_role("tab", name="Train").click()
    yield opened
    assert problems == []
    opened.close()


def choose(page: Any, name: str) -> None:
    page.locator("#experiment-select input").click()
    page.get_by_role("option", name=re.compile(f"^{name}: ")).click()


@pytest.mark.timeout(300)
def test_experiment_is_predicted_run_reloaded_stopped_and_deleted(
    page: Any, own_app: App, data_dir: Path
) -> None:
    status, result = page.locator("#experiment-status"), page.locator("#experiment-result")
    choose(page, "augmentation")
    expect(page.locator("#experiment-card")).to_contain_text("Does augmentation help")
    page.locator("#experiment-predict").get_by_text("By up to 10 points").click()
    expect(status).to_contain_text("1 prediction so far")
    group = lay_outcome(own_app, data_dir)
    page.reload()
    page.get_by_role("tab", name="Train").click()
    choose(page, "augmentation")
    expect(page.locator("#experiment-predict input").nth(1)).to_be_checked()
    expect(result.locator(".verdict")).to_contain_text("small test")
    expect(result.locator(".curves svg")).to_have_count(1)
    # The chart of what was asked.
    expect(result.locator(".intervals figcaption")).to_contain_text("shifted by 4 pixels")
    expect(result.locator(".intervals .span")).to_have_count(2)
    expect(page.locator("#experiment-predict input").first).to_be_disabled()
    expect(page.locator("#model-select input")).to_have_value(re.compile("digitcnn-"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    with page.expect_popup() as opening:
        page.get_by_role("link", name="Worksheet to print").click()
    expect(opening.value.locator("h1")).to_contain_text("Does augmentation help")
    opening.value.close()
    expect(page.locator("#runs-table")).to_contain_text(f"{group} (4 runs)")

    page.locator("#experiment-delete").click()
    page.locator("#experiment-delete-yes").click()
    expect(result.locator(".verdict")).to_have_count(0)
    expect(page.locator("#runs-table")).not_to_contain_text(group)

    choose(page, "luck")
    expect(page.locator("#experiment-predict input").first).to_be_enabled()
    page.locator("#experiment-predict").get_by_text("More than 0.5 points").click()
    expect(status).to_contain_text("1 prediction so far")
    page.locator("#experiment-run").click()
    expect(status.locator("[data-state=running]")).to_be_visible()
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(status.locator("[data-state=running]")).to_contain_text("luck")
    expect(page.locator("#experiment-card")).to_contain_text("Is the difference luck?")
    expect(page.locator("#experiment-run")).to_be_disabled()
    # The top says so, too, and leads here.
    top = page.locator("#train-status")
    expect(top).to_contain_text("Experiment luck has been running since")
    expect(top.locator(".facts")).to_contain_text("run 1 of 5")
    page.evaluate("scrollTo(0, 0)")
    top.get_by_role("button", name="Show it").click()
    expect(page.locator("#experiment-select")).to_be_in_viewport()
    page.locator("#experiment-stop").click()
    expect(status.locator("[data-state=stopped]")).to_contain_text("Stopped in run 1 of 5")
    expect(page.locator("#announcements")).to_contain_text("Experiment luck: Stopped in run 1")
    expect(page.locator("#experiment-run")).to_be_enabled()
    page.locator("#experiment-delete").click()
    page.locator("#experiment-delete-yes").click()
    expect(status).to_contain_text("Not run yet.")
    assert not list((own_app.folder / "outputs").glob("luck-*"))
