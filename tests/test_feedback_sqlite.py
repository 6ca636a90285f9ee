"""Feedback in a file: stores of earlier versions, other processes, faults of disk and database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sample_feedback import NOON, sample
from test_feedback import assert_one_sentence
from warm_process import WarmProcess, context

from digitcnn.errors import FeedbackError
from digitcnn.feedback.entry import FeedbackFilter
from digitcnn.feedback.file_format import SCHEMA_VERSION
from digitcnn.feedback.store import FeedbackStore

# What the version before SQLAlchemy's one store wrote: tables, marks, journal mode.
EARLIER = """
PRAGMA journal_mode = WAL;
CREATE TABLE verdicts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    visitor_hash TEXT NOT NULL,
    sketch_id TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    model_name TEXT NOT NULL,
    answer SMALLINT CHECK (answer BETWEEN 0 AND 9),
    probabilities TEXT NOT NULL,
    confidence DOUBLE NOT NULL,
    true_digit SMALLINT CHECK (true_digit BETWEEN 0 AND 9),
    strokes TEXT,
    image BLOB NOT NULL CHECK (length(image) = 784),
    recorded_at TEXT NOT NULL,
    corrected_at TEXT,
    UNIQUE (visitor_hash, sketch_id)
);
CREATE INDEX verdicts_counted ON verdicts (visitor_hash, answer, true_digit);
PRAGMA application_id = 1145261646;
PRAGMA user_version = 2;
INSERT INTO verdicts VALUES (
    3, '1f0bd9aa', 'old', 'd', 'mnist-seed0', 7, '[0.1]', 0.91, NULL, NULL, zeroblob(784),
    '2026-03-01T12:00:00.000000+00:00', '2026-03-01T13:00:00.000000+00:00'
);
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.sqlite"


@pytest.fixture
def store(path: Path) -> FeedbackStore:
    return FeedbackStore(path)


def execute(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Run statements without the store; return the rows of the last."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def refused(error: pytest.ExceptionInfo[FeedbackError], path: Path) -> str:
    """Return the text after checking that a visitor may read it."""
    assert_one_sentence(error.value)
    assert str(path.parent) not in str(error.value)
    return str(error.value)


# --- The file -----------------------------------------------------------------------------------


def test_a_store_of_an_earlier_version_opens_and_accepts_feedback(
    path: Path, store: FeedbackStore
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(EARLIER)
    (old,) = store.entries()
    assert (old.id, old.sketch_id, old.answer, old.true_digit) == (3, "old", 7, None)
    assert (old.time, old.corrected) == (NOON, NOON.replace(hour=13))
    store.correct(old.id, 7, NOON, visitor=None)
    store.record(sample())
    store.record(sample(true_digit=1))
    assert [(entry.id, entry.true_digit) for entry in store.entries()] == [(4, 1), (3, 7)]
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_new_file_has_the_earlier_versions_format(path: Path, store: FeedbackStore) -> None:
    store.record(sample())
    store.record(sample(sketch_id="2"))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(EARLIER)
        query = "SELECT name, type, \"notnull\", pk FROM pragma_table_info('verdicts')"
        assert execute(path, query) == connection.execute(query).fetchall()
        for pragma in ("application_id", "user_version"):
            expected = connection.execute(f"PRAGMA {pragma}").fetchall()
            assert execute(path, f"PRAGMA {pragma}") == expected
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]
    assert execute(path, "SELECT name FROM sqlite_master WHERE name = 'verdicts_counted'")


def test_reading_an_empty_store_creates_no_file(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "50% of #1? é" / "feed back.sqlite")
    assert store.entries() == []
    with pytest.raises(FeedbackError, match="no longer exists"):
        store.erase(1, visitor=None)
    assert list(tmp_path.iterdir()) == []
    assert store.public_location == "feed back.sqlite on the computer running this app"
    store.record(sample())
    assert (tmp_path / "50% of #1? é" / "feed back.sqlite").is_file()
    assert store.count() == 1


def test_an_address_may_name_a_file(path: Path) -> None:
    FeedbackStore(f"sqlite:///{path}").record(sample())
    assert FeedbackStore(path).count() == 1


def test_erased_sketches_and_secrets_are_not_in_the_file(path: Path, store: FeedbackStore) -> None:
    store.record(sample(sketch_id="stays"))
    store.record(sample(sketch_id="goes", strokes=["a stroke to regret"] * 500))
    store.erase(store.entries()[0].id, visitor="secret-of-ann")
    assert [entry.sketch_id for entry in store.entries()] == ["stays"]
    for file in path.parent.iterdir():
        assert b"a stroke to regret" not in file.read_bytes()
        assert b"secret-of-ann" not in file.read_bytes()


# --- Other processes ----------------------------------------------------------------------------


def test_a_file_that_another_process_is_just_creating_reads_as_empty(
    path: Path, store: FeedbackStore
) -> None:
    path.touch()
    assert store.entries() == []
    store.record(sample())
    assert store.count() == 1
    assert store.notice is None


def test_the_first_feedback_waits_for_another_process_that_is_creating_the_file(
    path: Path,
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor() as pool:
            saved = pool.submit(FeedbackStore(path, busy_seconds=60).record, sample())
            with pytest.raises(TimeoutError):
                saved.result(timeout=0.3)
            other.execute("COMMIT")
            saved.result(timeout=60)
    assert FeedbackStore(path).count() == 1


def test_readers_continue_while_others_write(store: FeedbackStore) -> None:
    store.record(sample())

    def write() -> None:
        for index in range(40):
            store.record(sample(sketch_id=f"s{index}"))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        totals = [store.count()]
        while not writing.done():
            totals.append(store.count())
        writing.result()
    assert totals == sorted(totals)
    assert store.count() == 41


def write(path: Path, visitor: str, sketches: Connection) -> None:
    """Record an entry for each sketch received, and reply when it is saved."""
    store = FeedbackStore(path, busy_seconds=60)
    sketches.send("ready")
    while True:
        store.record(sample(visitor=visitor, sketch_id=sketches.recv()))
        sketches.send("saved")


@contextmanager
def writing_process(path: Path, visitor: str) -> Iterator[tuple[WarmProcess, Connection]]:
    ours, theirs = context().Pipe()
    process = WarmProcess(
        write,
        path,
        visitor,
        theirs,
        folder=path.parent,
        environment=os.environ,
        output=path.parent / f"{visitor}.log",
    )
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        ours.close()
        theirs.close()


@pytest.mark.long
def test_two_processes_lose_no_entry_even_if_one_is_killed(path: Path) -> None:
    with (
        writing_process(path, "one") as (process, one),
        writing_process(path, "two") as (_, two),
    ):
        assert [one.recv(), two.recv()] == ["ready", "ready"]
        for index in range(25):
            one.send(f"s{index}")
            two.send(f"s{index}")
        assert {writer.recv() for writer in (one, two) for _ in range(25)} == {"saved"}
        one.send("last")
        assert one.recv() == "saved"
        process.kill()  # SIGKILL: nothing of it runs after this
        process.wait()
        store = FeedbackStore(path)
        assert store.entries(FeedbackFilter("one"), limit=1)[0].sketch_id == "last"
        assert [store.count(FeedbackFilter(visitor)) for visitor in ("one", "two")] == [26, 25]
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_locked_file_is_waited_for_and_then_reported(path: Path) -> None:
    hasty, patient = (FeedbackStore(path, busy_seconds=seconds) for seconds in (0.05, 30))
    hasty.record(sample())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FeedbackError, match=r"could not be saved .*try again in") as error:
            hasty.record(sample(sketch_id="2"))
        assert hasty.count() == 1  # reading goes on
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patient.record, sample(sketch_id="3"))
            other.execute("COMMIT")
            waiting.result()
    refused(error, path)
    assert [entry.sketch_id for entry in hasty.entries()] == ["3", "sketch-1"]


# --- Damage -------------------------------------------------------------------------------------


def test_a_file_that_is_not_a_database_is_moved_away_whole(path: Path) -> None:
    for text in (b"first", b"second"):
        path.write_bytes(text * 400)
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
        store = FeedbackStore(path)
        assert store.notice is None
        assert store.entries() == []
        assert not path.exists()
    stem = path.with_name("feedback.damaged-20260301T120000Z")
    assert Path(f"{stem}.sqlite").read_bytes() == b"first" * 400
    assert Path(f"{stem}-2.sqlite").read_bytes() == b"second" * 400
    assert store.notice is not None
    assert f"{stem.name}-2.sqlite" in store.notice
    store.record(sample())
    assert store.count() == 1
    assert FeedbackStore(path).notice is None


def damage_pages(path: Path) -> None:
    """Overwrite all pages after the first."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_a_damaged_database_is_moved_away_with_its_log(path: Path) -> None:
    for index in range(50):
        FeedbackStore(path).record(sample(sketch_id=str(index)))
    damage_pages(path)
    path.with_name(f"{path.name}-wal").write_bytes(b"")
    again = FeedbackStore(path)
    again.record(sample())
    assert again.count() == 1
    assert again.notice is not None
    assert len(list(path.parent.glob("feedback.damaged-*.sqlite"))) == 1


def test_damage_while_the_app_runs_is_reported_once_and_then_a_new_file_starts(
    path: Path, store: FeedbackStore
) -> None:
    for index in range(50):
        store.record(sample(sketch_id=str(index)))
    damage_pages(path)
    with pytest.raises(FeedbackError, match="try again to start a new file") as error:
        store.record(sample(sketch_id="51"))
    refused(error, path)
    store.record(sample(sketch_id="51"))
    assert [entry.sketch_id for entry in store.entries()] == ["51"]
    assert store.notice is not None


# --- Files of others ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, SCHEMA_VERSION - 1])
def test_another_format_is_refused_and_left_as_it_is(path: Path, version: int) -> None:
    FeedbackStore(path).record(sample())
    execute(path, f"PRAGMA user_version = {version}")
    store = FeedbackStore(path)
    for call in (
        lambda: store.record(sample(sketch_id="2")),
        lambda: store.score(),
        lambda: store.erase(1, visitor=None),
    ):
        with pytest.raises(FeedbackError, match=rf"another format \({version}; expec") as error:
            call()
        assert "move it away or choose another output folder" in refused(error, path)
    assert execute(path, "SELECT sketch_id FROM verdicts") == [("sketch-1",)]


def test_the_database_of_another_program_is_refused_and_left_as_it_is(
    path: Path, store: FeedbackStore
) -> None:
    execute(path, "CREATE TABLE accounts (name)")
    before = path.read_bytes()
    for call in (lambda: store.record(sample()), lambda: store.count()):
        with pytest.raises(FeedbackError, match="another program") as error:
            call()
        refused(error, path)
    assert path.read_bytes() == before


# --- Faults of the disk -------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    store = FeedbackStore(tmp_path / "outputs" / "feedback.sqlite")
    assert store.entries() == []
    for broken in (store, FeedbackStore(tmp_path)):
        with pytest.raises(FeedbackError, match="choose another output folder") as error:
            broken.record(sample())
        refused(error, tmp_path / "outputs")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_a_folder_without_write_permission_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir(mode=0o500)
    store = FeedbackStore(folder / "feedback.sqlite")
    assert store.count() == 0
    with pytest.raises(FeedbackError, match="choose another output folder") as error:
        store.record(sample())
    refused(error, folder)


def test_a_full_disk_is_reported_and_loses_nothing(path: Path, store: FeedbackStore) -> None:
    resource = pytest.importorskip("resource", reason="limits of the file size are Unix only")
    store.record(sample())
    large = sample(sketch_id="large", strokes=["x" * 200_000])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(FeedbackError, match="Feedback could not be saved") as error:
            store.record(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    refused(error, path)
    assert [entry.sketch_id for entry in store.entries()] == ["sketch-1"]
    store.record(large)
    assert store.count() == 2
    assert store.notice is None
