"""The handlers of the Runs section and of the Train tab's clock, called as a plain POST would."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import itertools
import re
import threading
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from tab_handlers import TOKEN, Handlers, Part, request

from digitcnn.errors import ConfigError, DigitSetError
from digitcnn.network.checkpoint import save
from digitcnn.network.details import Details
from digitcnn.network.device import Compute
from digitcnn.network.filenames import safe_filename
from digitcnn.network.model import DigitCNN
from digitcnn.training.config import TrainingConfig
from digitcnn.training.estimate import Stopwatch
from digitcnn.training.events import EpochResult, StepProgress
from digitcnn.training.run_record import FINISHED, STOPPED
from digitcnn.training.view import TrainingView
from digitcnn.ui.access import Access
from digitcnn.ui.job_status import busy_status, training_status
from digitcnn.ui.runs_section import RunsSection, manager
from digitcnn.ui.set_chooser import set_choices, usual_set
from digitcnn.ui.train_settings import Devices, TimeEstimate
from digitcnn.ui.train_tab import build_train_tab
from digitcnn.workspace import Workspace

CONFIG = TrainingConfig(digits="small", epochs=3, seed=5, augmentation=False)
# The inputs of a refresh, which are those of the Experiments section.
EXPERIMENTS = ("luck", False, "luck", False, True)
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
def tab(workspace: Workspace) -> Part:
    """The Train tab."""
    return Part(workspace, build_train_tab)


@pytest.fixture
def handlers(tab: Part) -> Handlers:
    return tab.handlers


@pytest.fixture
def manage(workspace: Workspace) -> Callable[..., dict[str, Any]]:
    """Call what the menus of the runs call."""
    access = Access.from_settings(public=True, token=TOKEN, open_to_all=False)
    function = manager(workspace, access)
    return lambda payload: function(payload, request())


def test_visitor_changes_nothing(
    manage: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    for token, action in itertools.product(
        ["", "estimate_time", None, 7], ["resume", "rename", "delete"]
    ):
        reply = manage({"owner": token, "run": "mine", "action": action, "name": "yours"})
        assert reply["error"].startswith(f"Only the owner can {action} a run"), token
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_owner_renames_and_deletes(
    manage: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    rename = {"owner": TOKEN, "run": "mine", "action": "rename"}
    assert manage({**rename, "name": " yoür's / "}) == {"run": "your-s"}
    assert safe_filename("Größe Łódź", "") == "Grosse-Lodz"
    for nothing in ("///", "七", None):
        assert "no letters" in manage({**rename, "run": "your-s", "name": nothing})["error"]
    assert manage({**rename, "run": "your-s", "name": "your-s"}) == {"run": "your-s"}
    assert [record.name for record in workspace.runs.records()] == ["your-s"]
    assert manage({"owner": TOKEN, "run": "your-s", "action": "delete"}) == {"run": ""}
    assert workspace.runs.records() == []


def give_model(workspace: Workspace, run: str, file: str, seed: int = 0) -> Path:
    """Give a run a model as if it had been trained, and return its file."""
    path = workspace.checkpoints.folder / file
    path.parent.mkdir(exist_ok=True)
    network = DigitCNN(generator=torch.Generator().manual_seed(seed)).eval()
    digest = save(path, network, Details())
    record = workspace.runs.open(run).record()
    workspace.runs.open(run).write(dataclasses.replace(record, checkpoint=file, digest=digest))
    return path


def test_the_model_of_a_deleted_run_stays_unless_it_is_deleted_too(
    manage: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    workspace.runs.create(CONFIG, "other")
    delete = {"owner": TOKEN, "action": "delete"}
    stays = give_model(workspace, "mine", "mine.pt")
    goes = give_model(workspace, "other", "other.pt")
    assert manage({**delete, "run": "mine", "with_model": "yes"}) == {"run": ""}
    assert manage({**delete, "run": "other", "with_model": True}) == {"run": ""}
    assert (stays.exists(), goes.exists()) == (True, False)
    assert workspace.runs.records() == []


def test_only_what_the_run_saved_is_deleted_with_it(
    manage: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    path = give_model(workspace, "mine", "mine.pt")
    delete = {"owner": TOKEN, "action": "delete", "run": "mine", "with_model": True}
    twin = workspace.runs.create(CONFIG, "twin")
    twin.write(dataclasses.replace(twin.record(), checkpoint="mine.pt"))
    assert "is also the model of run 'twin'" in manage(delete)["error"]
    workspace.runs.delete("twin")
    path.unlink()
    save(path, DigitCNN(generator=torch.Generator().manual_seed(1)).eval(), Details())
    assert "is no longer the model" in manage(delete)["error"]
    assert path.exists()
    path.unlink()
    assert manage(delete) == {"run": ""}


def test_run_in_use_is_not_deleted(
    manage: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    with workspace.runs.open("mine").held():
        reply = manage({"owner": TOKEN, "run": "mine", "action": "delete"})
    assert "is in use" in reply["error"]
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_unexpected_json_is_refused_in_one_sentence(
    manage: Callable[..., dict[str, Any]],
    handlers: Handlers,
    workspace: Workspace,
) -> None:
    for odd in ODD:
        for action in ("resume", "rename", "delete", "report"):
            reply = manage({"owner": TOKEN, "run": odd, "action": action, "name": "x"})
            assert "There is no run" in reply["error"], odd
        reply = manage({"owner": TOKEN, "run": "mine", "action": odd})
        assert reply == {"error": "This action is unknown; reload the page."}, odd
        assert "error" in manage(odd), odd
        for event in ({"run": odd}, odd):
            with pytest.raises(gr.Error, match="There is no run"):
                handlers["reuse_settings"](gr.EventData(None, event))
    assert [record.name for record in workspace.runs.records()] == ["mine"]


def test_nothing_to_resume_is_one_sentence(
    manage: Callable[..., dict[str, Any]], handlers: Handlers
) -> None:
    manage({"owner": TOKEN, "run": "mine", "action": "delete"})  # on another page
    with pytest.raises(gr.Error, match="No run can be resumed now"):
        handlers["resume_training"](request(), TOKEN)


def test_files_of_a_run_are_offered(
    manage: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    file = manage({"run": "mine", "action": "files"})
    assert file["name"] == "mine.zip"
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(file["content"]))) as archive:
        assert archive.read("log.txt").endswith(b"a line\n")
        assert "run.lock" not in archive.namelist()
    assert "has no report" in manage({"run": "mine", "action": "report"})["error"]
    assert "has no model" in manage({"run": "mine", "action": "model"})["error"]


def test_settings_of_a_run_are_reused(handlers: Handlers, workspace: Workspace) -> None:
    assert handlers["reuse_settings"](gr.EventData(None, {"run": "mine"})) == [
        ["small"], 3, 256, 0.008, 5, 0, False, "digitcnn", True
    ]  # fmt: skip
    workspace.runs.create(TrainingConfig(digits="gone"), "other")
    with pytest.raises(gr.Error, match="Digit set gone of run"):
        handlers["reuse_settings"](gr.EventData(None, {"run": "other"}))


def test_table_is_sent_only_when_it_has_changed(tab: Part, workspace: Workspace) -> None:
    _, shown, updates = tab.refresh(*EXPERIMENTS)
    assert "90.00% <br>(76.95 to 96.04)" in updates["runs-table"]
    assert updates["train-resume"].interactive, "an interrupted run can be resumed at once"
    assert "Run mine can be resumed." in updates["train-status"]
    assert tab.refresh(*EXPERIMENTS, shown=shown)[2] == {}
    workspace.runs.create(dataclasses.replace(CONFIG, batch_size=32), "newer")
    table = tab.refresh(*EXPERIMENTS, shown=shown)[2]["runs-table"]
    assert 'data-run="newer"' in table
    assert "Batch size" in table


def test_while_an_experiment_runs_the_tab_says_so_and_starts_nothing(
    tab: Part, workspace: Workspace
) -> None:
    buttons = [f"train-{name}" for name in ("start", "quick", "stop", "resume")]
    idle_version, shown, idle = tab.refresh(*EXPERIMENTS)
    assert "The next run appears here" in idle["train-status"]
    assert idle["train-start"].interactive
    sentences = ["Experiment luck has been running since 12:00:00"]
    workspace.job.exclusive.register(lambda: sentences[0])
    version, shown, updates = tab.refresh(*EXPERIMENTS, shown=shown)
    assert "<strong>busy</strong>" in updates["train-status"]
    assert sentences[0] in updates["train-status"]
    assert [updates[name].interactive for name in buttons] == [False] * 4
    assert version != idle_version, "the page would not be refreshed"
    sentences[0] = ""
    _, _, later = tab.refresh(*EXPERIMENTS, shown=shown)
    assert "The next run appears here" in later["train-status"]
    assert [later[name].interactive for name in buttons] == [True, True, False, True]


def test_table_is_offered_as_csv(tab: Part, workspace: Workspace) -> None:
    workspace.runs.create(dataclasses.replace(CONFIG, train_images=64), "newer")
    table = tab.refresh(*EXPERIMENTS)[2]["runs-table"]
    address = re.search(r'download="runs.csv" href="data:[^,]+,([^"]+)"', table)
    assert address
    lines = io.StringIO(base64.b64decode(address[1]).decode())
    rows = {row["Run"]: row for row in csv.DictReader(lines)}
    assert rows["newer"]["Training images"] == "64"
    assert rows["mine"]["Training images"] == "all"
    assert rows["mine"]["Held-out accuracy (95%)"] == "0.9"


def test_previous_run_is_the_last_finished_one_before_and_of_no_experiment(
    workspace: Workspace,
) -> None:
    stored = [("first", FINISHED, ""), ("second", STOPPED, ""), ("luck-1", FINISHED, "luck")]
    stored += [("third", FINISHED, ""), ("fourth", FINISHED, "")]
    for hour, (name, state, group) in enumerate(stored):
        run = workspace.runs.create(CONFIG, name, group=group)
        created = f"2026-01-01T0{hour}:00:00+00:00"
        run.write(dataclasses.replace(run.record(), state=state, created=created))
    sections: list[RunsSection] = []
    Part(workspace, lambda context: sections.append(RunsSection(context, [])))
    for run, before in (("third", "first"), ("fourth", "third"), ("mine", "fourth")):
        record, _ = sections[0].previous(run)
        assert record is not None
        assert record.name == before
    for run in ("first", "deleted", ""):
        assert sections[0].previous(run) == (None, ())


def test_a_name_that_cannot_name_a_run_is_made_safe(
    handlers: Handlers, workspace: Workspace
) -> None:
    values = ["small", 1, 64, 0.004, 0, 64, False, "lenet", True, "cpu"]
    handlers["start_training"](request(), TOKEN, " my first / run! ", *values)
    workspace.job.shutdown(60)
    assert workspace.job.view().run == "my-first-run"


def test_device_is_tried_once(workspace: Workspace) -> None:
    computes = Devices(workspace)
    assert computes.get("cpu") is computes.get("cpu")
    assert computes.get("auto") is workspace.compute
    with pytest.raises(ConfigError, match="abacus"):
        computes.get("abacus")


SETTINGS = ["small", 3, 64, 0.008, 0, 0, True, "digitcnn", True, "cpu"]


def test_visitor_sees_the_estimate_but_starts_no_trial(
    handlers: Handlers,
) -> None:
    assert handlers["estimate_time"](request(), "", *SETTINGS)[1].value == "Quick training"
    text, quick, start = handlers["estimate_time"](request(), TOKEN, *SETTINGS)
    first, second = text.splitlines()
    assert re.fullmatch(
        r"\*\*Quick training\*\*: .* images, 8 epochs, batches of 64; other settings as below *",
        first,
    )
    assert re.match(r"\*\*Start training\*\*: .* images, 3 epochs, batches of 64", second)
    assert quick.value.startswith("Quick training (about ")
    assert start.value.startswith("Start training (about ")
    assert handlers["estimate_time"](request(), "", *SETTINGS)[0] == text
    none = handlers["estimate_time"](request(), TOKEN, [], *SETTINGS[1:])
    assert none[0] == "Choose at least one digit set."
    text, quick, start = handlers["estimate_time"](
        request(), TOKEN, "small", 999, 64, 7, 0, -5, *SETTINGS[6:]
    )
    assert text.startswith("Correct the marked setting to see an estimate.")
    assert 'class="field-problem epochs">The number of epochs is 999;' in text
    assert 'class="field-problem learning-rate">The learning rate is 7;' in text
    assert "training images is -5; choose a whole number from 0, for all, to 10,000,000." in text
    assert (quick.value, start.value) == ("Quick training", "Start training")


def test_trial_disturbed_by_a_training_is_dropped(cpu: Compute) -> None:
    stopwatch = Stopwatch()
    states = iter([True, False])
    config = TrainingConfig(batch_size=16)
    assert stopwatch.images_per_second(config, cpu, undisturbed=lambda: next(states)) is None
    assert stopwatch.images_per_second(config, cpu, may_try=False) is None
    measured = stopwatch.images_per_second(config, cpu)
    assert measured is not None
    assert stopwatch.images_per_second(config, cpu, may_try=False) == measured


def test_estimates_for_all_batch_sizes_follow_from_what_was_measured(cpu: Compute) -> None:
    stopwatch = Stopwatch()

    def learn(batch_size: int, speed: float) -> None:
        progress = StepProgress(1, 1, 1, 2, (), images_per_second=speed, seconds_left=1)
        config = TrainingConfig(batch_size=batch_size)
        stopwatch.learn(TrainingView(config=config, compute=str(cpu), progress=progress))

    def rates() -> list[float | None]:
        configs = [TrainingConfig(batch_size=size) for size in (64, 128, 256)]
        return [stopwatch.images_per_second(each, cpu, may_try=False) for each in configs]

    learn(128, 5000)
    assert rates() == [2500, 5000, 5000]
    learn(64, 100)  # on a busy machine
    assert rates() == [100, 200, 200]


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
        found.append(stopwatch.images_per_second(config, cpu, undisturbed=undisturbed))

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
    assert usual_set(workspace, "train") == "mnist"
    assert ("MNIST (damaged)", "mnist") in set_choices(workspace, "train")
    estimate = TimeEstimate(workspace, Devices(workspace))
    problem = workspace.catalog.entry("mnist", "train").problem
    assert problem is not None
    assert estimate.texts(TrainingConfig(), "cpu", may_try=True) == (problem, ("", ""))
    with pytest.raises(DigitSetError):
        workspace.job.start(TrainingConfig())


def test_another_job_makes_the_last_runs_end_no_news() -> None:
    began = datetime.now(timezone.utc)
    view = TrainingView(state=FINISHED, run="mine", message="Done.", started=began, config=CONFIG)
    statuses = training_status(view, "CPU"), busy_status("Fine-tuning", None, view, [], "")
    spoken = [re.findall('data-text="(.*?)"', status) for status in statuses]
    assert spoken == [["Training mine: Done."]] * 2
