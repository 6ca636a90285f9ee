"""Feedback in PostgreSQL: other processes, a server that is down, a database of others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psycopg
import pytest
from postgres_server import PASSWORD, PostgresServer
from sample_feedback import sample
from sqlalchemy import text
from test_feedback import assert_one_sentence
from warm_process import WarmProcess, context

from digitcnn.errors import FeedbackError
from digitcnn.feedback.store import FeedbackStore
from digitcnn.folders import feedback_place


@pytest.fixture
def place(postgres: PostgresServer) -> str:
    return postgres.fresh()


@pytest.fixture
def store(place: str) -> Iterator[FeedbackStore]:
    with closing(FeedbackStore(place, busy_seconds=2)) as opened:
        yield opened


def refusal(error: pytest.ExceptionInfo[Exception]) -> str:
    """Return the text after checking that a visitor may read it."""
    assert_one_sentence(error.value)
    assert PASSWORD not in str(error.value)
    assert "127.0.0.1" not in str(error.value)
    return str(error.value)


def test_the_place_is_named_without_password_or_host(store: FeedbackStore) -> None:
    assert store._database.location == "postgres on 127.0.0.1"  # for the log
    assert store.public_location == "the app owner's database"
    assert store.notice is None


def test_reading_creates_no_table(store: FeedbackStore, place: str) -> None:
    assert store.count() == 0
    with psycopg.connect(place) as connection:
        assert connection.execute("SELECT to_regclass('verdicts')").fetchone() == (None,)
    store.record(sample())
    assert store.count() == 1


def test_a_table_that_is_just_being_created_reads_as_empty(
    store: FeedbackStore, place: str
) -> None:
    with closing(FeedbackStore(place)) as other:
        with other._database.writing() as connection:
            assert connection is not None
            assert store.count() == 0
        other.record(sample())
    assert store.count() == 1


def test_a_commit_waits_for_the_disk_whatever_the_server_does_for_others(
    store: FeedbackStore, place: str
) -> None:
    with psycopg.connect(place) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with store._database.writing() as connection:
        assert connection is not None
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"


def write(place: str, name: str, together: Barrier) -> None:
    """Open a store, wait for the other process, and store feedback at once with it."""
    store = FeedbackStore(place)
    together.wait(60)
    for index in range(25):
        for sketch in (f"{name}-{index}", f"shared-{index}"):
            store.record(sample(sketch_id=sketch, true_digit=index % 10))


@pytest.mark.long
def test_app_processes_that_start_together_lose_and_double_nothing(
    store: FeedbackStore, place: str, tmp_path: Path
) -> None:
    together = context().Barrier(2)
    outputs = {name: tmp_path / name for name in ("a", "b")}
    processes = [
        WarmProcess(
            write, place, name, together, folder=tmp_path, environment=os.environ, output=output
        )
        for name, output in outputs.items()
    ]
    for process, output in zip(processes, outputs.values(), strict=True):
        assert process.wait(60) == 0, output.read_text()
    stored = sorted(entry.sketch_id for entry in store.entries())
    assert stored == sorted(f"{who}-{i}" for who in ("a", "b", "shared") for i in range(25))


def test_a_server_that_is_down_is_reported_and_used_again_later(
    postgres: PostgresServer, store: FeedbackStore
) -> None:
    store.record(sample())
    postgres.stop()
    try:
        for call, done in (
            (lambda: store.record(sample(sketch_id="2")), "saved"),
            (lambda: store.score(), "read"),
        ):
            with pytest.raises(FeedbackError, match=f"could not be {done} .the database") as error:
                call()
            assert "start the server, or correct DIGITCNN_FEEDBACK_URL" in refusal(error)
    finally:
        postgres.start()
    store.record(sample(sketch_id="2"))
    assert store.count() == 2


def test_a_wrong_password_is_refused_without_being_shown(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        closing(FeedbackStore(place.replace("secret", "wrong"))) as store,
        pytest.raises(FeedbackError, match="refuses the login") as error,
    ):
        store.count()
    assert "password authentication failed" in caplog.text  # the server's words, for the owner
    assert "wrong" not in refusal(error) + caplog.text


def test_a_locked_table_is_waited_for_and_then_reported(store: FeedbackStore, place: str) -> None:
    store.record(sample())
    with closing(FeedbackStore(place, busy_seconds=0.2)) as hasty, psycopg.connect(place) as other:
        other.execute("LOCK TABLE verdicts IN EXCLUSIVE MODE")
        with pytest.raises(FeedbackError, match="try again in a moment") as error:
            hasty.record(sample(sketch_id="2"))
        refusal(error)
        assert store.count() == 1  # reading goes on
    store.record(sample(sketch_id="2"))
    assert store.count() == 2


def test_the_table_of_another_program_is_left_alone(store: FeedbackStore, place: str) -> None:
    with psycopg.connect(place) as connection:
        connection.execute("CREATE TABLE verdicts (by_the_jury text)")
    for call in (lambda: store.record(sample()), lambda: store.count()):
        with pytest.raises(FeedbackError, match="another program; choose another database"):
            call()


def test_a_table_of_another_format_is_refused(store: FeedbackStore, place: str) -> None:
    store.record(sample())
    with psycopg.connect(place) as connection:
        connection.execute("COMMENT ON TABLE verdicts IS 'digitcnn feedback, format 99'")
    with (
        closing(FeedbackStore(place)) as fresh,
        pytest.raises(FeedbackError, match=r"another format \(99; expected 2\)") as error,
    ):
        fresh.record(sample())
    refusal(error)


def test_a_table_that_was_dropped_is_created_again(store: FeedbackStore, place: str) -> None:
    store.record(sample())
    with psycopg.connect(place) as connection:
        connection.execute("DROP TABLE verdicts")
    assert store.count() == 0
    store.record(sample())
    assert store.count() == 1


def test_a_read_only_database_is_reported(store: FeedbackStore, place: str) -> None:
    store.record(sample())
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        with closing(FeedbackStore(place)) as fresh:
            with pytest.raises(FeedbackError, match="give the app write access") as error:
                fresh.record(sample(sketch_id="2"))
            refusal(error)
            assert fresh.count() == 1
    finally:
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


# --- The address ---------------------------------------------------------------------------------


def test_the_address_comes_from_the_environment_else_a_file_is_used(tmp_path: Path) -> None:
    assert feedback_place(tmp_path, {}) == tmp_path / "feedback.sqlite3"
    assert feedback_place(tmp_path, {"DIGITCNN_FEEDBACK_URL": ""}) == tmp_path / "feedback.sqlite3"
    address = "postgresql://lab@host/feedback"
    assert feedback_place(tmp_path, {"DIGITCNN_FEEDBACK_URL": address}) == address


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_usual_schemes_are_accepted(scheme: str, place: str) -> None:
    with closing(FeedbackStore(place.replace("postgresql", scheme, 1))) as store:
        assert store.count() == 0
