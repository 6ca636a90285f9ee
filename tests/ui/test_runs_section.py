"""The handlers of the Runs section and of the Train tab's clock, called as a plain POST would."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from tab_handlers import handlers_of, request

from digitcnn.errors import ConfigError, DigitSetError
from digitcnn.network.device import Compute
from digitcnn.training.config import TrainingConfig
from digitcnn.training.estimate import Stopwatch
from digitcnn.training.events import EpochResult
from digitcnn.ui.access import Access
from digitcnn.ui.experiments_section import ExperimentsView
from digitcnn.ui.train_settings import Devices, TimeEstimate, default_set, training_sets
from digitcnn.ui.train_tab import TrainTabView, build_train_tab
from digitcnn.workspace import Workspace

CONFIG = TrainingConfig(digits="small", epochs=3, seed=5, augmentation=False)
TOKEN = "a-token-that-is-long-enough-for-the-owner"
ODD: list[Any] = [None, "", "../mine", "a\0b", 7, ["mine"], {"a": 1}, "x" * 10_000]


@pytest.fixture
def workspace(tmp_path: Path, data_dir: Path) -> Workspace:
    made = Workspace(
        data_dir, tmp_path / "outputs", tmp_path / "checkpoints", tmp_path / "f.sqlite3", "cpu"
    )
    run = made.runs.create(CONFIG, "mine")
    run.results.write_history((EpochResult(1, 0.5, 0.8, 0.4, 0.9, 40, 0.001, 1.5),))
    run.log("a line")
    return made


@pytest.fixture
def handlers(workspace: Workspace) -> dict[str, Callable[..., Any]]:
    """The tab's handlers by their names."""
    access = Access.from_settings(public=True, token=TOKEN, open_to_all=False)

    return handlers_of(
        lambda clock, page: build_train_tab(workspace, access, gr.Textbox(), clock, page)
    )


@pytest.mark.parametrize("token", ["", "estimate_time", None, 7])
def test_visitor_changes_nothing(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace, token: Any
) -> None:
    for name, values in {
        "resume_run": ("mine",),
        "rename_run": ("mine", "yours"),
        "delete_run": ("mine",),
    }.items():
        with pytest.raises(gr.Error, match="Only the owner"):
            handlers[name](request(), token, *values)
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_owner_renames_and_deletes(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    handlers["rename_run"](request(), TOKEN, "mine", " yours ")
    assert [record.name for record in workspace.runs.records()] == ["yours"]
    _, question, doomed = handlers["ask_to_delete"]("yours")
    assert "delete run **yours**" in question
    handlers["delete_run"](request(), TOKEN, doomed)
    assert workspace.runs.records() == []


def test_run_in_use_is_not_deleted(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    with (
        workspace.runs.open("mine").held(),
        pytest.raises(gr.Error, match="is in use"),
    ):
        handlers["delete_run"](request(), TOKEN, "mine")
    assert [record.name for record in workspace.runs.records()] == ["mine"]


@pytest.mark.parametrize("odd", ODD)
def test_unexpected_json_is_refused_in_one_sentence(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace, odd: Any
) -> None:
    no_run = "There is no run" if odd else "No run is chosen"
    for name in ("reuse_settings", "ask_to_delete"):
        with pytest.raises(gr.Error, match=no_run):
            handlers[name](odd)
    with pytest.raises(gr.Error, match="There is no run"):
        handlers["offer_file"](odd, "log.txt")
    if odd:
        with pytest.raises(gr.Error, match="has no file"):
            handlers["offer_file"]("mine", odd)
    handlers["choose_run"](odd)
    handlers["catch_up"](request(), TrainTabView(), odd)
    for name, values in {
        "resume_run": (odd,),
        "rename_run": (odd, "x"),
        "delete_run": (odd,),
    }.items():
        with pytest.raises(gr.Error, match="There is no run" if name == "delete_run" else no_run):
            handlers[name](request(), TOKEN, *values)
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_file_is_offered_as_a_copy(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    offered = Path(handlers["offer_file"]("mine", "log.txt").value["path"])
    assert offered.read_text().endswith("a line\n")
    assert workspace.outputs not in offered.parents


def test_settings_of_a_run_are_reused(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    assert handlers["reuse_settings"]("mine") == [
        ["small"], 3, 256, 0.008, 5, 0, False, "digitcnn", True
    ]  # fmt: skip
    workspace.runs.create(TrainingConfig(digits="gone"), "other")
    with pytest.raises(gr.Error, match="Digit set gone of run"):
        handlers["reuse_settings"]("other")


def test_chosen_run_stays_chosen_when_others_come(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    workspace.runs.create(CONFIG, "newer")
    updates = handlers["catch_up"](request(), TrainTabView(), "mine")
    chosen = next(update for update in updates if isinstance(update, gr.Dropdown))
    assert {name for _, name in chosen.choices} == {"mine", "newer"}
    assert "value" not in chosen.constructor_args, "the choice is not sent back"
    assert "90.00% (76.95 to 96.04)" in updates[6]
    seen = updates[-1]
    assert handlers["catch_up"](request(), seen, "mine")[7] == gr.skip()


def test_started_run_is_chosen(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    values = ["small", 1, 64, 0.004, 0, 64, False, "lenet", True, "cpu"]
    updates = handlers["start_training"](request(), TOKEN, "fresh", *values)
    workspace.job.shutdown(60)
    chosen = next(update for update in updates if isinstance(update, gr.Dropdown))
    assert chosen.constructor_args["value"] == "fresh"


def test_a_name_that_cannot_name_a_run_is_made_safe(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    values = ["small", 1, 64, 0.004, 0, 64, False, "lenet", True, "cpu"]
    handlers["start_training"](request(), TOKEN, " my first / run! ", *values)
    workspace.job.shutdown(60)
    assert workspace.job.view().run == "my-first-run"


def test_failing_update_is_a_status_line_and_logged_once(
    handlers: dict[str, Callable[..., Any]], caplog: pytest.LogCaptureFixture
) -> None:
    # The chosen run, and the Experiments section's inputs.
    rest = "mine", "luck", ExperimentsView()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            updates = handlers["catch_up"](request(), None, *rest)  # no view of a page: it raises
            assert "The status is unavailable" in updates[1]
    assert len(caplog.records) == 1
    handlers["catch_up"](request(), TrainTabView(), *rest)
    with caplog.at_level(logging.ERROR):
        handlers["catch_up"](request(), None, *rest)
    assert len(caplog.records) == 2


def test_device_is_tried_once(workspace: Workspace) -> None:
    computes = Devices(workspace)
    assert computes.get("cpu") is computes.get("cpu")
    assert computes.get("auto") is workspace.compute
    with pytest.raises(ConfigError, match="abacus"):
        computes.get("abacus")


SETTINGS = ["small", 3, 64, 0.008, 0, 0, True, "digitcnn", True, "cpu"]


def test_visitor_sees_the_estimate_but_starts_no_trial(
    handlers: dict[str, Callable[..., Any]],
) -> None:
    assert "when the owner opens this tab" in handlers["estimate_time"](request(), "", *SETTINGS)[0]
    text, quick, start = handlers["estimate_time"](request(), TOKEN, *SETTINGS)
    assert text.startswith("About **")
    assert quick.value.startswith("Quick training (about ")
    assert start.value.startswith("Start training (about ")
    assert handlers["estimate_time"](request(), "", *SETTINGS)[0].startswith("About **")
    none = handlers["estimate_time"](request(), TOKEN, [], *SETTINGS[1:])
    assert none[0] == "Choose at least one digit set."


def test_trial_disturbed_by_a_training_is_dropped(cpu: Compute) -> None:
    stopwatch = Stopwatch()
    states = iter([True, False])
    config = TrainingConfig(batch_size=16)
    assert stopwatch.seconds(config, 480, cpu, undisturbed=lambda: next(states)) is None
    assert stopwatch.seconds(config, 480, cpu, may_try=False) is None
    measured = stopwatch.seconds(config, 480, cpu)
    assert measured is not None
    assert stopwatch.seconds(config, 480, cpu, may_try=False) == measured


def test_waiting_callers_share_one_trial(cpu: Compute) -> None:
    stopwatch = Stopwatch()
    asked: list[bool] = []
    found: list[float | None] = []

    def undisturbed() -> bool:
        """Asked once before and once after each trial."""
        asked.append(True)
        return True

    def measure() -> None:
        config = TrainingConfig(batch_size=16)
        found.append(stopwatch.seconds(config, 480, cpu, undisturbed=undisturbed))

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(asked) == 2


def test_damaged_mnist_stays_the_default_and_its_problem_is_shown(tmp_path: Path) -> None:
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / "data" / "mnist" / f"train-{kind}-ubyte").write_bytes(b"damaged")
    workspace = Workspace(
        tmp_path / "data", tmp_path / "o", tmp_path / "c", tmp_path / "f.sqlite3", "cpu"
    )
    assert default_set(workspace) == "mnist"
    assert ("mnist (damaged)", "mnist") in training_sets(workspace)
    estimate = TimeEstimate(workspace, Devices(workspace))
    problem = workspace.catalog.entry("mnist", "train").problem
    assert problem is not None
    assert estimate.text(TrainingConfig(), "cpu", may_try=True) == problem
    with pytest.raises(DigitSetError):
        workspace.job.start(TrainingConfig())
