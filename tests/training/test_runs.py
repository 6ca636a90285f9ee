"""Run folders: created, listed, renamed, deleted, their files and their report."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from digitcnn.errors import RunError
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult, Snapshot
from digitcnn.training.report import write_report
from digitcnn.training.run import Run
from digitcnn.training.run_record import FINISHED, INTERRUPTED, RUNNING, git_revision, versions
from digitcnn.training.runs import RunStore

CONFIG = TrainingConfig(digits="synthetic", epochs=2)
RESULT = EpochResult(1, 0.5, 0.8, 0.4, 0.9, 40, 0.001, 1.5)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "outputs")


def with_state(run: Run, state: str) -> None:
    values = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**values, "state": state}))


def test_default_name_is_digit_set_and_time_and_unique(store: RunStore) -> None:
    first, second = store.create(CONFIG), store.create(CONFIG)
    # Whatever the minute is when the second one is created.
    assert re.fullmatch(r"synthetic-\d{1,2}[A-Z][a-z]{2}-\d{4}", first.name)
    assert first.name != second.name
    names = {store.free_name("base", ["-seed0", "-seed1"])}
    store.create(CONFIG, "base-seed1")
    names.add(store.free_name("base", ["-seed0", "-seed1"]))
    assert names == {"base", "base-2"}


def test_existing_name_is_refused(store: RunStore) -> None:
    store.create(CONFIG, "mine")
    with pytest.raises(RunError, match="'mine' already exists"):
        store.create(CONFIG, "mine")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "x" * 61, "a\nb"])
def test_invalid_name_is_refused(store: RunStore, name: str) -> None:
    with pytest.raises(RunError, match="is not valid"):
        store.create(CONFIG, name)
    assert not store.folder.exists()


@pytest.mark.parametrize("name", ["nothing", "../outputs", ""])
def test_unknown_run_is_refused_with_the_available_ones(store: RunStore, name: str) -> None:
    store.create(CONFIG, "mine")
    with pytest.raises(RunError, match="available: mine"):
        store.open(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_write_permission_is_named(store: RunStore) -> None:
    store.folder.mkdir(mode=0o500)
    with pytest.raises(RunError, match="cannot be written"):
        store.create(CONFIG)


def test_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match="cannot be written"):
        RunStore(tmp_path / "file").create(CONFIG)


def test_snapshot_round_trips(store: RunStore) -> None:
    run = store.create(CONFIG)
    assert run.results.snapshot() is None
    kept = Snapshot(1, {"w": torch.ones(2)}, {"w": torch.zeros(2)}, {"state": {}}, (RESULT,))
    run.results.write_snapshot(kept)
    found = run.results.snapshot()
    assert found is not None
    assert found.history == (RESULT,)
    assert torch.equal(found.weights["w"], torch.ones(2))


def test_damaged_resume_state_is_a_run_error(store: RunStore) -> None:
    run = store.create(CONFIG)
    (run.folder / "resume.pt").write_bytes(b"half a fi")
    with pytest.raises(RunError, match="damaged; start the training again"):
        run.results.snapshot()


def test_a_running_run_with_a_free_lock_was_interrupted(store: RunStore) -> None:
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


@pytest.mark.long
def test_run_is_held_until_its_process_is_killed(store: RunStore) -> None:
    run = store.create(CONFIG)
    with_state(run, RUNNING)
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(run.folder, held))
    process.start()
    assert held.wait(60)
    assert run.record().state == RUNNING
    with pytest.raises(RunError, match="is in use"), run.held():
        pass
    process.kill()
    process.join()
    assert run.record().state == INTERRUPTED


def test_a_probe_delays_a_writer_and_never_refuses_it(store: RunStore) -> None:
    run = store.create(CONFIG)
    entered = threading.Event()

    def write() -> None:
        with run.held():
            entered.set()

    writer = threading.Thread(target=write)
    with FileLock(run.folder / "run.lock"):  # as a probe does
        writer.start()
        while not (run.folder / "use.lock").exists():
            time.sleep(0.001)
        assert not entered.is_set()
    writer.join(30)
    assert entered.is_set()


def test_a_second_writer_is_refused_at_once(store: RunStore) -> None:
    run = store.create(CONFIG)
    with run.held():
        began = time.monotonic()
        with pytest.raises(RunError, match="is in use"), Run(run.folder).held():
            pass
        assert time.monotonic() - began < 1


def test_other_folders_are_not_listed(store: RunStore) -> None:
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


def test_runs_of_the_same_second_are_listed_newest_first(store: RunStore) -> None:
    names = ["b", "d", "a", "e", "c"]
    for name in names:
        store.create(CONFIG, name)
    assert [record.name for record in store.records()] == names[::-1]


def test_renamed_folder_is_a_run_of_its_new_name(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    run.folder.rename(store.folder / "old")
    assert [record.name for record in store.records()] == ["old"]
    assert store.open("old").record().name == "old"


def test_watchers_never_mistake_each_other_for_a_training(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    with run.held():
        pass
    with_state(run, RUNNING)
    seen: list[str] = []

    def look() -> None:
        seen.extend(store.records()[0].state for _ in range(200))

    watchers = [threading.Thread(target=look) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(30)
    assert seen == [INTERRUPTED] * 800


@pytest.mark.parametrize("content", ["[", "[" * 100_000, "{}", '[{"epoch": 1}]'])
def test_damaged_history_is_empty(store: RunStore, content: str) -> None:
    run = store.create(CONFIG, "mine")
    run.results.write_history((RESULT,))
    (run.folder / "history.json").write_text(content)
    assert run.results.history() == ()


DAMAGED: list[Any] = [None, "text", [1], math.nan, -1, 10**400]


@pytest.mark.parametrize("odd", DAMAGED, ids=range(len(DAMAGED)))
def test_results_of_another_form_are_left_out(store: RunStore, odd: Any) -> None:
    run = store.create(CONFIG, "mine")
    good = {"n": 3, "accuracy": 0.5}
    row = dict.fromkeys(("digit", "support", "precision", "recall", "f1"))
    passes = {"masks": "shared", **dict.fromkeys(("passes", "mean", "std", "min", "max"), 1)}
    results = [
        *(("metrics", {"mnist": {**good, key: odd}}) for key in good),
        ("metrics", {"mnist": {**good, "per_digit": [{**row, "f1": [odd]}]}}),
        ("metrics", {"mnist": [odd]}),
        ("stability", {"shared": {**passes, "mean": [odd], "masks": odd}}),
        ("history", [{**vars(RESULT), "accuracy": odd}]),
    ]
    for name, content in results:
        (run.folder / f"{name}.json").write_text(json.dumps(content))
        assert not run.results.metrics()
        assert not run.results.stabilities()
        assert not run.results.history()
        (run.folder / f"{name}.json").unlink()
    write_report(run)


def test_nan_loss_round_trips(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    run.results.write_history((dataclasses.replace(RESULT, loss=math.nan), RESULT))
    first, second = run.results.history()
    assert math.isnan(first.loss)
    assert (first.accuracy, second) == (RESULT.accuracy, RESULT)


def test_renamed_run_keeps_checkpoint_history_and_resume_state(
    store: RunStore,
) -> None:
    run = store.create(CONFIG, "mine")
    run.results.write_history((RESULT,))
    (run.folder / "resume.pt").write_bytes(b"state")
    values = json.loads((run.folder / "run.json").read_text())
    kept = {"checkpoint": "mine.pt", "digest": "ab" * 32, "state": RUNNING}
    (run.folder / "run.json").write_text(json.dumps({**values, **kept}))
    renamed = store.rename("mine", "yours")
    assert [record.name for record in store.records()] == ["yours"]
    record = store.open("yours").record()
    assert (record.checkpoint, record.digest, record.state) == ("mine.pt", "ab" * 32, INTERRUPTED)
    assert json.loads((renamed.folder / "run.json").read_text())["name"] == "yours"
    assert renamed.results.history() == (RESULT,)
    assert (renamed.folder / "resume.pt").read_bytes() == b"state"
    assert "renamed from mine" in (renamed.folder / "log.txt").read_text()
    with renamed.held():
        pass
    assert store.create(CONFIG, "mine").name == "mine"


@pytest.mark.parametrize("new", ["../x", None])
def test_rename_refuses_an_invalid_name(store: RunStore, new: Any) -> None:
    store.create(CONFIG, "mine")
    with pytest.raises(RunError, match="is not valid"):
        store.rename("mine", new)
    assert [record.name for record in store.records()] == ["mine"]


def test_rename_refuses_an_existing_name(store: RunStore) -> None:
    store.create(CONFIG, "mine")
    (store.folder / "folder").mkdir()
    (store.folder / "file").write_text("")
    (store.folder / "nowhere").symlink_to("gone")
    for taken in ("mine", "folder", "file", "nowhere"):
        with pytest.raises(RunError, match="already exists"):
            store.rename("mine", taken)
    assert [record.name for record in store.records()] == ["mine"]


@pytest.mark.parametrize("name", ["nothing", "../outputs", None, ["mine"]])
def test_unknown_run_is_neither_renamed_nor_deleted(store: RunStore, name: Any) -> None:
    store.create(CONFIG, "mine")
    with pytest.raises(RunError, match="There is no run"):
        store.rename(name, "new")
    with pytest.raises(RunError, match="There is no run"):
        store.delete(name)


def test_run_in_use_is_neither_renamed_nor_deleted(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    with run.held():
        with pytest.raises(RunError, match="is in use"):
            store.rename("mine", "yours")
        with pytest.raises(RunError, match="is in use"):
            store.delete("mine")
    store.delete("mine")
    assert list(store.folder.iterdir()) == []


def test_deleted_run_frees_its_name(store: RunStore) -> None:
    store.create(CONFIG, "mine")
    other = store.create(CONFIG, "other")
    store.delete("mine")
    assert [record.name for record in store.records()] == ["other"]
    assert (other.folder / "run.json").is_file()
    store.create(CONFIG, "mine")


def test_deleting_a_linked_run_keeps_its_target(store: RunStore, tmp_path: Path) -> None:
    elsewhere = RunStore(tmp_path / "elsewhere").create(CONFIG, "real")
    store.create(CONFIG, "mine")
    (store.folder / "linked").symlink_to(elsewhere.folder)
    store.delete("linked")
    assert (elsewhere.folder / "run.json").is_file()
    assert [record.name for record in store.records()] == ["mine"]


@pytest.mark.long
def test_listing_is_safe_while_runs_come_and_go(store: RunStore) -> None:
    folders = [store.create(CONFIG, f"run{number}").folder for number in range(30)][:20]
    hidden = [folder.with_name(f".{folder.name}") for folder in folders]
    lists = itertools.count()
    failures: list[Exception] = []
    done = threading.Event()

    def list_runs() -> None:
        while not done.is_set():
            try:
                store.records()
            except Exception as error:
                failures.append(error)
                done.set()
            if next(lists) > 6000:
                done.set()

    threads = [threading.Thread(target=list_runs) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        while not done.is_set():
            for folder, other in zip(folders, hidden, strict=True):
                folder.rename(other)
            for folder, other in zip(folders, hidden, strict=True):
                other.rename(folder)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert len(store.records()) == 30


def test_listing_during_a_deletion_neither_fails_nor_restores_the_run(
    store: RunStore,
) -> None:
    done = threading.Event()
    failures: list[Exception] = []

    def look() -> None:
        while not done.is_set():
            try:
                store.records()
            except Exception as error:
                failures.append(error)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    for number in range(60):
        run = store.create(CONFIG, f"run{number}")
        with_state(run, RUNNING)
        with run.held():
            pass
        store.delete(run.name)
    done.set()
    for watcher in watchers:
        watcher.join(30)
    assert failures == []
    assert list(store.folder.iterdir()) == []


def test_deleted_run_is_not_held_and_not_created_again(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    store.delete("mine")
    with pytest.raises(RunError, match="was deleted"), run.held():
        pass
    with pytest.raises(RunError, match="no readable run"):
        run.record()
    assert list(store.folder.iterdir()) == []


def test_only_regular_files_of_the_run_are_listed_and_read(store: RunStore, tmp_path: Path) -> None:
    run = store.create(CONFIG, "mine")
    secret = tmp_path / "secret.txt"
    secret.write_text("private")
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "01_training_history.png").write_bytes(b"png")
    (run.folder / "figures" / "deeper").mkdir()
    (run.folder / "figures" / "deeper" / "x.png").write_bytes(b"png")
    (run.folder / "figures" / "link.png").symlink_to(secret)
    (run.folder / "link.txt").symlink_to(secret)
    (run.folder / "other").symlink_to(tmp_path)
    (run.folder / ".hidden").write_text("")
    os.mkfifo(run.folder / "pipe")
    with run.held():
        names = run.list_files()
    assert names == ["figures/01_training_history.png", "run.json"]
    assert run.read_file("figures/01_training_history.png") == b"png"
    for name in [
        *("link.txt", "figures/link.png", "other/secret.txt", "../../secret.txt", str(secret)),
        *("figures/../run.json", "run.lock", ".hidden", "pipe", "", "a\0b", None, 7, ["run.json"]),
    ]:
        with pytest.raises(RunError, match="has no file"):
            run.read_file(name)  # type: ignore[arg-type]


def test_linked_figures_folder_is_not_listed(store: RunStore, tmp_path: Path) -> None:
    run = store.create(CONFIG, "mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(b"png")
    (run.folder / "figures").symlink_to(tmp_path / "elsewhere")
    assert run.list_files() == ["run.json"]


def test_files_of_a_deleted_run_are_a_run_error(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    store.delete("mine")
    with pytest.raises(RunError, match="cannot be listed"):
        run.list_files()


def test_the_report_has_the_content_of_the_folder(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    run.results.write_history((RESULT,))
    run.results.write_metrics({"held_out": {"n": 40, "accuracy": 0.9}})
    run.log("epoch 1 & more")
    passes = {"passes": 3, "masks": "shared", "mean": 0.9, "std": 0.01, "min": 0.8, "max": 0.95}
    (run.folder / "stability.json").write_text(json.dumps({"shared": passes}))
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "05_conv_filters.png").write_bytes(b"\x89PNG")
    write_report(run)
    page = (run.folder / "report.html").read_text("utf-8")
    for part in (
        "90.00% (76.95 to 96.04)",
        "epoch 1 &amp; more",
        "iVBORw==",
        "shared",
        "synthetic",
    ):
        assert part in page
    assert "report.html" in run.list_files()
    renamed = store.rename("mine", "yours")
    assert "<h1>yours</h1>" in (renamed.folder / "report.html").read_text("utf-8")


def test_report_is_written_despite_damaged_files(store: RunStore) -> None:
    run = store.create(CONFIG, "mine")
    for name in ("history.json", "metrics.json", "stability.json"):
        (run.folder / name).write_text("[" * 100_000)
    (run.folder / "log.txt").write_bytes(b"\xff\xfe\n" * 200_000)
    write_report(run)
    assert (run.folder / "report.html").stat().st_size < 200_000


def test_revision_is_the_checked_out_commit(tmp_path: Path) -> None:
    def git(*arguments: str, folder: Path = tmp_path) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert git_revision(tmp_path) is None
    git("init", "-q")
    assert git_revision(tmp_path) is None
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert versions(tmp_path)["git"] == git("rev-parse", "HEAD")
    inside = tmp_path / "site-packages"
    inside.mkdir()
    assert "git" not in versions(inside)


def test_damaged_repository_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("nonsense")
    assert git_revision(tmp_path) is None
