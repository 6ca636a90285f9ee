"""What only PostgreSQL brings: other processes, a server that is away, a database of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres_server import PASSWORD, PostgresServer
from sample_feedback import sample
from sqlalchemy import text

from digitcnn.errors import ConfigError, FeedbackError
from digitcnn.feedback import FeedbackStore
from digitcnn.folders import feedback_place

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(postgres: PostgresServer) -> str:
    return postgres.fresh()


@pytest.fixture
def store(place: str) -> Iterator[FeedbackStore]:
    with closing(FeedbackStore(place, busy_seconds=2)) as opened:
        yield opened


def one_sentence(error: Exception) -> str:
    said = str(error)
    assert said.endswith(".")
    assert len(said) < 400
    assert "\n" not in said
    assert PASSWORD not in said
    return said


def test_the_place_is_told_without_the_password(store: FeedbackStore) -> None:
    assert store.location == "postgres on 127.0.0.1"
    assert store.public_location == "the database of whoever runs this app"
    assert store.notice is None


def test_reading_makes_no_table(store: FeedbackStore, place: str) -> None:
    assert store.count() == 0
    with psycopg.connect(place) as connection:
        assert connection.execute("SELECT to_regclass('verdicts')").fetchone() == (None,)
    store.record(**sample())
    assert store.count() == 1


def test_a_table_that_somebody_has_just_made_is_not_taken_for_another_programs(
    store: FeedbackStore, place: str
) -> None:
    database = store._database
    engine = database._engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as connection, closing(FeedbackStore(place)) as other:
        connection.execute(text("SELECT 1"))  # from here on it sees the state of this moment
        other.record(**sample())
        assert not database._is_ready(connection)
    assert store.count() == 1


def test_a_commit_waits_for_the_disk_whatever_the_server_does_for_others(
    store: FeedbackStore, place: str
) -> None:
    with psycopg.connect(place) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with store._database.writing() as connection:
        assert connection is not None
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"


# Each process makes its store, waits for a line, and keeps its verdicts at once with the others.
WRITER = """
import sys
from datetime import datetime, timezone
import torch
from digitcnn.feedback import FeedbackStore

store = FeedbackStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for index in range(25):
    for sketch in (f"{sys.argv[2]}-{index}", f"shared-{index}"):
        store.record(
            visitor="one", sketch_id=sketch, model_digest="d", model_name="m", answer=3,
            probabilities=[0.1] * 10, true_digit=index % 10, strokes=None,
            image=torch.zeros(28, 28, dtype=torch.uint8), now=datetime.now(timezone.utc),
        )
"""


def test_app_processes_that_begin_together_lose_and_double_nothing(
    store: FeedbackStore, place: str
) -> None:
    command = [sys.executable, "-c", WRITER, place]
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    processes = [subprocess.Popen([*command, name], cwd=ROOT, **pipes) for name in ("a", "b")]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    kept = sorted(row.sketch_id for row in store.rows())
    assert kept == sorted(f"{who}-{i}" for who in ("a", "b", "shared") for i in range(25))


def test_a_server_that_is_away_is_named_and_found_again(
    postgres: PostgresServer, store: FeedbackStore
) -> None:
    store.record(**sample())
    postgres.stop()
    try:
        for call, done in (
            (lambda: store.record(**sample(sketch_id="2")), "kept"),
            (lambda: store.score(None), "read"),
        ):
            with pytest.raises(FeedbackError, match=f"could not be {done} in the database") as said:
                call()
            assert "127.0.0.1" not in one_sentence(said.value)  # a visitor may read it
            assert "start the server, or correct DIGITCNN_FEEDBACK_URL" in one_sentence(said.value)
    finally:
        postgres.start()
    store.record(**sample(sketch_id="2"))
    assert store.count() == 2


def test_a_wrong_password_is_refused_without_telling_any(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        closing(FeedbackStore(place.replace("secret", "wrong"))) as store,
        pytest.raises(FeedbackError, match="does not let the app in") as said,
    ):
        store.count()
    assert "password authentication failed" in caplog.text  # the server's words, for the owner
    for told in (one_sentence(said.value), caplog.text):
        assert "wrong" not in told
    assert "127.0.0.1" not in str(said.value)


def test_a_table_that_others_hold_is_waited_for_and_then_named(
    store: FeedbackStore, place: str
) -> None:
    store.record(**sample())
    with closing(FeedbackStore(place, busy_seconds=0.2)) as hasty, psycopg.connect(place) as other:
        other.execute("LOCK TABLE verdicts IN EXCLUSIVE MODE")
        with pytest.raises(FeedbackError, match="try again in a moment") as said:
            hasty.record(**sample(sketch_id="2"))
        one_sentence(said.value)
        assert store.count() == 1  # reading goes on
    store.record(**sample(sketch_id="2"))
    assert store.count() == 2


def test_the_table_of_another_program_is_left_alone(store: FeedbackStore, place: str) -> None:
    with psycopg.connect(place) as connection:
        connection.execute("CREATE TABLE verdicts (by_the_jury text)")
    for call in (lambda: store.record(**sample()), lambda: store.count()):
        with pytest.raises(FeedbackError, match="another program's; choose another"):
            call()


def test_a_table_of_another_format_is_refused(store: FeedbackStore, place: str) -> None:
    store.record(**sample())
    with psycopg.connect(place) as connection:
        connection.execute("COMMENT ON TABLE verdicts IS 'digitcnn feedback, format 99'")
    with (
        closing(FeedbackStore(place)) as fresh,
        pytest.raises(FeedbackError, match=r"written by another digitcnn .*format 99") as said,
    ):
        fresh.record(**sample())
    one_sentence(said.value)


def test_a_table_that_was_dropped_meanwhile_is_made_anew(store: FeedbackStore, place: str) -> None:
    store.record(**sample())
    with psycopg.connect(place) as connection:
        connection.execute("DROP TABLE verdicts")
    with pytest.raises(FeedbackError, match="the table is made anew") as said:
        store.record(**sample())
    one_sentence(said.value)
    store.record(**sample())
    assert store.count() == 1


def test_a_database_that_may_only_be_read_is_named(store: FeedbackStore, place: str) -> None:
    store.record(**sample())
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        with closing(FeedbackStore(place)) as fresh:
            with pytest.raises(FeedbackError, match="let the app write") as said:
                fresh.record(**sample(sketch_id="2"))
            one_sentence(said.value)
            assert fresh.count() == 1
    finally:
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


# --- The address ---------------------------------------------------------------------------------


def test_the_address_comes_from_the_environment_and_else_a_file_is_taken(tmp_path: Path) -> None:
    assert feedback_place(tmp_path, {}) == tmp_path / "feedback.sqlite3"
    assert feedback_place(tmp_path, {"DIGITCNN_FEEDBACK_URL": ""}) == tmp_path / "feedback.sqlite3"
    address = "postgresql://lab@host/feedback"
    assert feedback_place(tmp_path, {"DIGITCNN_FEEDBACK_URL": address}) == address


def test_an_address_may_also_name_a_file(tmp_path: Path) -> None:
    store = FeedbackStore(f"sqlite:///{tmp_path}/elsewhere.sqlite3")
    store.record(**sample())
    assert store.location == f"{tmp_path}/elsewhere.sqlite3"
    assert FeedbackStore(tmp_path / "elsewhere.sqlite3").count() == 1


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_usual_ways_to_write_an_address_are_taken(scheme: str, place: str) -> None:
    with closing(FeedbackStore(place.replace("postgresql", scheme, 1))) as store:
        assert store.count() == 0


@pytest.mark.parametrize(
    "address",
    [
        "mysql://lab:hidden@host/db",
        "sqlite://",
        "no address: hidden",
        "postgresql://lab:hidden@h:x/",
    ],
)
def test_an_address_that_is_none_of_ours_is_refused_without_being_told(address: str) -> None:
    with pytest.raises(ConfigError, match="DIGITCNN_FEEDBACK_URL") as said:
        FeedbackStore(address)
    assert "hidden" not in one_sentence(said.value)
