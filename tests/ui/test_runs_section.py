"""The handlers of the Runs section and of the Train tab's clock, called as a plain POST would."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from coroutines import run_async

from digitcnn.errors import ConfigError
from digitcnn.network.device import Compute
from digitcnn.training.config import TrainingConfig
from digitcnn.training.estimate import Stopwatch
from digitcnn.training.events import EpochResult
from digitcnn.ui.access import Access
from digitcnn.ui.clock import Clock
from digitcnn.ui.train_tab import Devices, Watching, build_train_tab
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

    async def built() -> gr.Blocks:
        # Outside of a running loop Gradio makes loops of its own and leaves them open.
        with gr.Blocks(analytics_enabled=False) as page:
            clock = Clock()
            build_train_tab(workspace, access, gr.Textbox(), clock, page)
            clock.build(page)
        return page

    page = run_async(built())
    return {str(fn.name): fn.fn for fn in page.fns.values() if fn.fn is not None}


def request() -> Any:
    """A visitor's: a request without the token, from elsewhere."""
    return type("Request", (), {"headers": {"host": "example.org"}})()


@pytest.mark.parametrize("token", ["", "guess", None, 7])
def test_a_visitor_changes_nothing(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace, token: Any
) -> None:
    for name, values in {
        "go_on": ("mine",),
        "give_name": ("mine", "yours"),
        "remove": ("mine",),
    }.items():
        with pytest.raises(gr.Error, match="Only the owner"):
            handlers[name](request(), token, *values)
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_the_owner_renames_and_deletes(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    handlers["give_name"](request(), TOKEN, "mine", " yours ")
    assert [record.name for record in workspace.runs.records()] == ["yours"]
    _, question, doomed = handlers["ask"]("yours")
    assert "Delete the run **yours**" in question
    handlers["remove"](request(), TOKEN, doomed)
    assert workspace.runs.records() == []


def test_a_run_that_trains_is_not_deleted(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    with (
        workspace.runs.open("mine").held(),
        pytest.raises(gr.Error, match="is in use"),
    ):
        handlers["remove"](request(), TOKEN, "mine")
    assert [record.name for record in workspace.runs.records()] == ["mine"]


@pytest.mark.parametrize("odd", ODD)
def test_any_json_is_a_sentence_and_reaches_nothing(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace, odd: Any
) -> None:
    no_run = "There is no run" if odd else "No run is chosen"
    for name in ("take_settings", "ask"):
        with pytest.raises(gr.Error, match=no_run):
            handlers[name](odd)
    with pytest.raises(gr.Error, match="There is no run"):
        handlers["offer"](odd, "log.txt")
    if odd:
        with pytest.raises(gr.Error, match="has no file"):
            handlers["offer"]("mine", odd)
    handlers["choose"](odd)
    handlers["catch_up"](request(), Watching(), odd)
    for name, values in {"go_on": (odd,), "give_name": (odd, "x"), "remove": (odd,)}.items():
        with pytest.raises(gr.Error, match="There is no run" if name == "remove" else no_run):
            handlers[name](request(), TOKEN, *values)
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_a_file_is_offered_as_a_copy(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    offered = Path(handlers["offer"]("mine", "log.txt").value["path"])
    assert offered.read_text().endswith("a line\n")
    assert workspace.outputs not in offered.parents


def test_a_runs_settings_come_back_as_they_were(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    assert handlers["take_settings"]("mine") == ["small", 3, 256, 0.008, 5, 0, False]
    workspace.runs.create(TrainingConfig(digits="gone"), "other")
    with pytest.raises(gr.Error, match="digit set gone of run"):
        handlers["take_settings"]("other")


def test_the_chosen_run_stays_chosen_when_others_come(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    workspace.runs.create(CONFIG, "newer")
    updates = handlers["catch_up"](request(), Watching(), "mine")
    chosen = next(update for update in updates if isinstance(update, gr.Dropdown))
    assert {name for _, name in chosen.choices} == {"mine", "newer"}
    assert "value" not in chosen.constructor_args, "what is chosen is not sent back"
    assert "90.00% (76.95 to 96.04)" in updates[5]
    seen = updates[-1]
    assert handlers["catch_up"](request(), seen, "mine")[6] == gr.skip()


def test_the_run_that_is_started_is_chosen(
    handlers: dict[str, Callable[..., Any]], workspace: Workspace
) -> None:
    values = ["small", 1, 64, 0.004, 0, 64, False, "cpu"]
    updates = handlers["begin"](request(), TOKEN, "fresh", *values)
    workspace.job.shutdown(60)
    chosen = next(update for update in updates if isinstance(update, gr.Dropdown))
    assert chosen.constructor_args["value"] == "fresh"


def test_a_clock_that_fails_says_so_in_the_status_and_logs_it_once(
    handlers: dict[str, Callable[..., Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            updates = handlers["catch_up"](request(), None, "mine")  # no state of a page: it raises
            assert "cannot be shown" in updates[1]
    assert len(caplog.records) == 1
    handlers["catch_up"](request(), Watching(), "mine")
    with caplog.at_level(logging.ERROR):
        handlers["catch_up"](request(), None, "mine")
    assert len(caplog.records) == 2


def test_a_device_is_tried_once(workspace: Workspace) -> None:
    computes = Devices(workspace)
    assert computes.get("cpu") is computes.get("cpu")
    assert computes.get("auto") is workspace.compute
    with pytest.raises(ConfigError, match="abacus"):
        computes.get("abacus")


# The trial of the time estimate


SETTINGS = ["small", 3, 64, 0.008, 0, 0, True, "cpu"]


def test_a_visitor_sees_what_was_measured_but_starts_no_trial(
    handlers: dict[str, Callable[..., Any]],
) -> None:
    assert "when the owner asks" in handlers["guess"](request(), "", *SETTINGS)
    assert handlers["guess"](request(), TOKEN, *SETTINGS).startswith("About **")
    assert handlers["guess"](request(), "", *SETTINGS).startswith("About **")


def test_a_trial_beside_which_a_training_began_is_forgotten(cpu: Compute) -> None:
    stopwatch = Stopwatch()
    states = iter([True, False])
    config = TrainingConfig(batch_size=16)
    assert stopwatch.seconds(config, 480, cpu, undisturbed=lambda: next(states)) is None
    assert stopwatch.seconds(config, 480, cpu, may_try=False) is None
    measured = stopwatch.seconds(config, 480, cpu)
    assert measured is not None
    assert stopwatch.seconds(config, 480, cpu, may_try=False) == measured


def test_who_waits_for_a_trial_takes_its_result_instead_of_another(cpu: Compute) -> None:
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
