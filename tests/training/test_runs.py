from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from digitcnn.errors import RunError
from digitcnn.training.config import TrainingConfig
from digitcnn.training.loop import EpochResult, Snapshot
from digitcnn.training.runs import FINISHED, INTERRUPTED, RUNNING, Run, RunStore

CONFIG = TrainingConfig(digits="synthetic", epochs=2)
RESULT = EpochResult(1, 0.5, 0.8, 0.4, 0.9, 40, 0.001, 1.5)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "outputs")


def with_state(run: Run, state: str) -> None:
    values = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**values, "state": state}))


def test_a_run_is_named_for_its_digits_and_time_and_never_twice(store: RunStore) -> None:
    first, second = store.create(CONFIG), store.create(CONFIG)
    assert first.name.startswith("synthetic-20")
    assert first.name != second.name


def test_a_name_that_is_taken_is_refused(store: RunStore) -> None:
    store.create(CONFIG, "mine")
    with pytest.raises(RunError, match="'mine' exists already"):
        store.create(CONFIG, "mine")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 61, "a\nb", "<b>"])
def test_a_name_that_is_no_plain_folder_name_is_refused(store: RunStore, name: str) -> None:
    with pytest.raises(RunError, match="cannot be a folder's"):
        store.create(CONFIG, name)
    assert not store.folder.exists()


@pytest.mark.parametrize("name", ["nothing", "../outputs", ""])
def test_a_run_that_does_not_exist_is_named_with_those_that_do(store: RunStore, name: str) -> None:
    store.create(CONFIG, "mine")
    with pytest.raises(RunError, match="there are: mine"):
        store.open(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_named(store: RunStore) -> None:
    store.folder.mkdir(mode=0o500)
    with pytest.raises(RunError, match="cannot be written"):
        store.create(CONFIG)


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match="cannot be written"):
        RunStore(tmp_path / "file").create(CONFIG)


def test_what_a_resume_needs_survives_the_file(store: RunStore) -> None:
    run = store.create(CONFIG)
    assert run.snapshot() is None
    kept = Snapshot(1, {"w": torch.ones(2)}, {"w": torch.zeros(2)}, {"state": {}}, (RESULT,))
    run.write_snapshot(kept)
    found = run.snapshot()
    assert found is not None
    assert found.history == (RESULT,)
    assert torch.equal(found.weights["w"], torch.ones(2))


def test_a_damaged_resume_state_is_a_sentence(store: RunStore) -> None:
    run = store.create(CONFIG)
    (run.folder / "resume.pt").write_bytes(b"half a fi")
    with pytest.raises(RunError, match="damaged; start the training again"):
        run.snapshot()


def test_a_run_that_nobody_holds_was_interrupted(store: RunStore) -> None:
    run = store.create(CONFIG)
    with_state(run, RUNNING)
    assert run.record().state == INTERRUPTED
    with run.held():
        assert run.record().state == RUNNING
        assert store.records()[0].state == RUNNING
    with_state(run, FINISHED)
    assert run.record().state == FINISHED


def _hold(folder: Path, held: Any) -> None:
    with Run(folder).held():
        held.set()
        signal.pause()


def test_a_run_of_another_process_is_held_until_that_process_is_killed(store: RunStore) -> None:
    run = store.create(CONFIG)
    with_state(run, RUNNING)
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(run.folder, held))
    process.start()
    assert held.wait(60)
    assert run.record().state == RUNNING
    with pytest.raises(RunError, match="is at work"), run.held():
        pass
    process.kill()
    process.join()
    assert run.record().state == INTERRUPTED


def test_folders_that_are_no_runs_are_not_listed(store: RunStore) -> None:
    store.create(CONFIG, "mine")
    (store.folder / "other").mkdir()
    (store.folder / "broken").mkdir()
    (store.folder / "broken" / "run.json").write_text("{")
    (store.folder / "strange").mkdir()
    (store.folder / "strange" / "run.json").write_text("[1]")
    (store.folder / "feedback.sqlite3").write_bytes(b"")
    odd = json.loads((store.folder / "mine" / "run.json").read_text())
    for name, change in (("newer", {"config": {"x": 1}}), ("typed", {"created": 3})):
        (store.folder / name).mkdir()
        (store.folder / name / "run.json").write_text(json.dumps({**odd, **change}))
    assert [record.name for record in store.records()] == ["mine"]


def test_a_renamed_folder_is_a_run_of_its_new_name(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    run.folder.rename(store.folder / "old")
    assert [record.name for record in store.records()] == ["old"]
    assert store.open("old").record().name == "old"
