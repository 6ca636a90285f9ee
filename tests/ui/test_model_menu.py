"""The model chip: what a page that is loaded, or loaded again, selects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from tab_handlers import Part

from digitcnn.folders import SHIPPED, SHIPPED_FILE
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.job import TrainingJob
from digitcnn.ui.context import Context
from digitcnn.ui.drop_results import DropResults
from digitcnn.ui.model_menu import ModelMenu
from digitcnn.workspace import Workspace

REQUEST: Any = type("Request", (), {"session_hash": "this page", "headers": {}})()
Load = Callable[[Any], tuple[Any, Any]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Workspace:
    folder = tmp_path_factory.mktemp("workspace")
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    for name in (SHIPPED, "other"):
        shutil.copy(SHIPPED_FILE, checkpoints / f"{name}.pt")
    made = Workspace(data_dir, folder / "outputs", checkpoints, folder / "f.sqlite3", "cpu")
    nothing_more = PostTrainingConfig(
        figures=False, stability=False, ood_detector=False, test_sets=False
    )
    made.job = TrainingJob(made.catalog, made.runs, checkpoints, made.compute, nothing_more)
    return made


@pytest.fixture(scope="module")
def load(workspace: Workspace) -> Load:
    """Load a page whose browser has kept something; return its model and what is announced."""

    def build(context: Context) -> None:
        drops = DropResults(context.models, "model-verdicts", "open")
        menu = ModelMenu(workspace, context.models)
        menu.connect(context.clock, context.page, drops, gr.HTML())

    refresh = Part(workspace, build).handlers["refresh_all"]

    def loaded(kept: Any) -> tuple[Any, Any]:
        """Return the selected model and the announced one; skip() where it stays."""
        _, shown, select, known, trained, announced = refresh(REQUEST, (), None, SHIPPED, kept)
        assert refresh(REQUEST, shown, known, SHIPPED, kept)[2:] == [gr.skip()] * 4
        assert trained == known
        return getattr(select, "value", gr.skip()), announced

    return loaded


def kept(model: str, trained: str = "") -> str:
    return json.dumps({"model": model, "trained": trained})


def test_a_page_that_is_loaded_again_has_its_model_back(load: Load) -> None:
    assert load("")[1] == gr.skip()
    assert load(kept("other")) == ("other", gr.skip())
    assert load(kept("other", "a run before a restart")) == ("other", gr.skip())


@pytest.mark.parametrize(
    "odd",
    [None, 7, "{", "[]", "null", '"other"', '{"model": "other"}', '{"model": null, "trained": ""}'],
)
def test_what_no_page_of_ours_kept_is_ignored(load: Load, odd: Any) -> None:
    assert load(odd) == load("")


@pytest.mark.parametrize("gone", ["gone", "../other", "dropped-1", "<b>"])
def test_a_model_that_is_gone_is_replaced_with_an_announcement(load: Load, gone: str) -> None:
    assert load(kept(gone)) == (SHIPPED, SHIPPED)


def test_a_run_that_finished_meanwhile_is_selected_and_a_later_choice_stays(
    load: Load, workspace: Workspace
) -> None:
    config = TrainingConfig(digits="small", epochs=1, network="linear", augmentation=False)
    workspace.job.start(config, "new")
    thread = workspace.job._thread
    assert thread is not None
    thread.join(60)
    assert load(kept("other")) == ("new", "new")
    assert load(kept("other", "new")) == ("other", gr.skip())
    assert load("") == ("new", gr.skip())
