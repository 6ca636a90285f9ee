"""The feedback store: what it keeps, for how long, and what it says when it cannot."""

from __future__ import annotations

import itertools
import math
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_feedback import NOON, sample
from scipy.stats import binomtest

from digitcnn.errors import FeedbackError
from digitcnn.feedback import (
    MAX_STROKES_BYTES,
    SCHEMA_VERSION,
    FeedbackStore,
    Score,
    visitor_alias,
)


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "feedback.sqlite")


def rows_in(path: Path, columns: str) -> list[tuple]:
    """What is in the file, read without the store."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM verdicts ORDER BY id").fetchall()


# --- What is kept -------------------------------------------------------------------------------


def test_everything_a_digit_set_needs_is_in_the_file(store: FeedbackStore, tmp_path: Path) -> None:
    store.record(**sample(true_digit=1))
    columns = "model_digest, model_name, answer, probabilities, true_digit, strokes, image"
    ((*plain, image),) = rows_in(tmp_path / "feedback.sqlite", columns)
    assert plain == [
        "d" * 64,
        "mnist-seed0",
        7,
        "[0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.91, 0.01, 0.01]",
        1,
        "[[[1.5,2.0,0],[3.0,4.0,16]]]",
    ]
    assert image == bytes(index % 256 for index in range(28 * 28))


def test_an_image_that_is_a_transposed_view_is_kept_as_it_looks(
    store: FeedbackStore, tmp_path: Path
) -> None:
    image = sample()["image"]
    store.record(**sample(image=image.t()))
    ((kept,),) = rows_in(tmp_path / "feedback.sqlite", "image")
    assert kept == bytes(int(image[column, row]) for row in range(28) for column in range(28))


def test_a_second_verdict_on_the_same_sketch_corrects_the_first(store: FeedbackStore) -> None:
    store.record(**sample(true_digit=7))
    later = NOON + timedelta(minutes=1)
    store.record(**sample(true_digit=1, now=later))
    (row,) = store.recent(None, 10)
    assert (row.true_digit, row.right) == (1, False)
    assert (row.time, row.corrected) == (NOON, later)
    assert (store.score(None).right, store.score(None).total) == (0, 1)


def test_the_same_verdict_twice_is_counted_once_and_is_no_correction(store: FeedbackStore) -> None:
    store.record(**sample())
    store.record(**sample(now=NOON + timedelta(seconds=1)))
    (row,) = store.recent(None, 10)
    assert row.corrected is None
    assert store.score(None).total == 1


def test_a_verdict_on_another_answer_to_the_same_sketch_replaces_the_first(
    store: FeedbackStore,
) -> None:
    store.record(**sample())
    store.record(**sample(model_digest="e" * 64, model_name="other", answer=1))
    (row,) = store.recent(None, 10)
    assert (row.model_name, row.model_digest, row.answer) == ("other", "e" * 64, 1)
    assert row.corrected is not None


def test_two_visitors_may_use_the_same_sketch_id(store: FeedbackStore) -> None:
    store.record(**sample())
    store.record(**sample(visitor="secret-of-bob", true_digit=1))
    assert (store.score("secret-of-ann").right, store.score("secret-of-ann").total) == (1, 1)
    assert (store.score("secret-of-bob").right, store.score("secret-of-bob").total) == (0, 1)
    assert (store.score(None).right, store.score(None).total) == (1, 2)


@pytest.mark.parametrize(
    ("answer", "true_digit", "right"),
    [
        (7, 7, True),
        (7, 1, False),
        (7, None, False),
        (None, 7, False),
        (None, None, True),
        (0, 0, True),
    ],
)
def test_no_digit_is_an_answer_like_the_ten(
    store: FeedbackStore, answer: int | None, true_digit: int | None, right: bool
) -> None:
    store.record(**sample(answer=answer, true_digit=true_digit))
    (row,) = store.recent(None, 1)
    assert (row.answer, row.true_digit, row.right) == (answer, true_digit, right)
    assert store.score(None).right == int(right)


def test_the_score_carries_its_wilson_interval(store: FeedbackStore) -> None:
    for index in range(10):
        store.record(**sample(sketch_id=str(index), true_digit=7 if index < 8 else 1))
    score = store.score(None)
    expected = binomtest(8, 10).proportion_ci(confidence_level=0.95, method="wilson")
    assert (score.right, score.total, score.share) == (8, 10, 0.8)
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_newest_sketch_is_listed_first_and_no_more_than_asked_for(
    store: FeedbackStore,
) -> None:
    for index in range(5):
        store.record(**sample(sketch_id=f"s{index}"))
    assert [row.sketch_id for row in store.recent(None, 3)] == ["s4", "s3", "s2"]
    assert store.recent(None, 0) == []
    assert store.recent("secret-of-bob", 3) == []
    with pytest.raises(FeedbackError, match="ask for 0 or more"):
        store.recent(None, -1)


def test_a_row_shows_the_confidence_and_when(store: FeedbackStore) -> None:
    in_delhi = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    store.record(**sample(now=in_delhi))
    (row,) = store.recent("secret-of-ann", 1)
    assert (row.confidence, row.model_name, row.model_digest) == (0.91, "mnist-seed0", "d" * 64)
    assert row.time == NOON
    assert row.time.utcoffset() == timedelta(0)


def test_a_clock_that_goes_backwards_changes_no_order(store: FeedbackStore) -> None:
    store.record(**sample(sketch_id="first"))
    store.record(**sample(sketch_id="second", now=NOON - timedelta(days=400)))
    store.record(**sample(sketch_id="first", true_digit=1, now=NOON - timedelta(days=800)))
    assert [row.sketch_id for row in store.recent(None, 9)] == ["second", "first"]


def test_a_visitors_secret_is_neither_listed_nor_in_the_file(
    store: FeedbackStore, tmp_path: Path
) -> None:
    store.record(**sample())
    (row,) = store.recent(None, 1)
    assert "secret-of-ann" not in repr(row)
    assert b"secret-of-ann" not in (tmp_path / "feedback.sqlite").read_bytes()
    assert row.alias == visitor_alias("secret-of-ann")
    assert row.alias != visitor_alias("secret-of-bob")
    assert re.fullmatch("[0-9a-f]{8}", row.alias)


def test_a_withdrawn_sketch_is_gone_from_the_file(store: FeedbackStore, tmp_path: Path) -> None:
    store.record(**sample(sketch_id="kept"))
    store.record(**sample(sketch_id="regretted", strokes=["a stroke to regret"] * 500))
    assert not store.withdraw("secret-of-bob", "regretted")
    assert store.withdraw("secret-of-ann", "regretted")
    assert not store.withdraw("secret-of-ann", "regretted")
    assert [row.sketch_id for row in store.recent(None, 9)] == ["kept"]
    for file in tmp_path.iterdir():
        assert b"a stroke to regret" not in file.read_bytes()


# --- Nothing there yet --------------------------------------------------------------------------


def test_asking_an_empty_store_makes_no_file(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "not yet" / "feedback.sqlite")
    score = store.score("secret-of-ann")
    assert (score.right, score.total) == (0, 0)
    assert all(math.isnan(value) for value in (score.share, score.low, score.high))
    assert store.recent(None, 9) == []
    assert not store.withdraw("secret-of-ann", "sketch-1")
    assert list(tmp_path.iterdir()) == []
    assert store.location == str(tmp_path / "not yet" / "feedback.sqlite")
    store.record(**sample())
    assert store.score("secret-of-ann").total == 1


def test_a_file_that_another_process_is_just_making_reads_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    path.touch()
    store = FeedbackStore(path)
    assert store.recent(None, 9) == []
    store.record(**sample())
    assert store.score(None).total == 1
    assert store.notice is None


def test_a_path_with_characters_that_mean_something_in_an_address_works(tmp_path: Path) -> None:
    path = tmp_path / "50% of #1? é" / "feed back.sqlite"
    FeedbackStore(path).record(**sample())
    assert path.is_file()
    assert FeedbackStore(path).score(None).total == 1


# --- What is refused ----------------------------------------------------------------------------

DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"visitor": ""}, "visitor id is ''"),
        ({"visitor": "v" * 129}, "visitor id is"),
        ({"visitor": "\ud800"}, "visitor id is"),
        ({"visitor": None}, "visitor id is None"),
        ({"sketch_id": "a b"}, "sketch id is 'a b'"),
        ({"sketch_id": "a\n"}, "sketch id is"),
        ({"sketch_id": 3}, "sketch id is 3"),
        ({"model_digest": ""}, "model digest is ''"),
        ({"model_name": ""}, "model's name is ''"),
        ({"model_name": "two\nlines"}, "rename the checkpoint"),
        ({"answer": 10}, "answer is 10"),
        ({"answer": True}, "answer is True"),
        ({"true_digit": -1}, "true digit is -1"),
        ({"true_digit": "7"}, "true digit is '7'"),
        ({"true_digit": 10**400}, "true digit is 1000"),
        ({"probabilities": [0.1] * 9}, "10 numbers"),
        ({"probabilities": [0.2] * 10}, "add up to 1"),
        ({"probabilities": [math.nan] * 10}, "add up to 1"),
        ({"probabilities": [2.0, -1.0] + [0.0] * 8}, "add up to 1"),
        ({"probabilities": ["a"] * 10}, "10 numbers"),
        ({"probabilities": [10**400] * 10}, "10 numbers"),
        ({"probabilities": None}, "10 numbers"),
        ({"strokes": "drawn"}, "not a list"),
        ({"strokes": [[math.inf, 0.0]]}, "finite coordinates"),
        ({"strokes": [object()]}, "cannot be kept as JSON"),
        ({"strokes": DEEP}, "cannot be kept as JSON"),
        ({"strokes": ["x" * MAX_STROKES_BYTES]}, "fewer strokes"),
        ({"image": torch.zeros(28, 28)}, "float32"),
        ({"image": torch.zeros(1, 28, 28, dtype=torch.uint8)}, r"\[1, 28, 28\]"),
        ({"image": b"\0" * 784}, "uint8 tensor"),
        ({"now": NOON.replace(tzinfo=None)}, "a time with its zone"),
        ({"now": "noon"}, "a time with its zone"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_verdict_that_is_off_is_refused_in_one_sentence_and_nothing_is_kept(
    store: FeedbackStore, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(FeedbackError, match=sentence) as refused:
        store.record(**sample(**changes))
    assert_one_sentence(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_the_largest_sketch_allowed_is_kept(store: FeedbackStore, tmp_path: Path) -> None:
    store.record(**sample(strokes=["x" * (MAX_STROKES_BYTES - 4)]))
    ((length,),) = rows_in(tmp_path / "feedback.sqlite", "length(strokes)")
    assert length == MAX_STROKES_BYTES


def test_a_verdict_without_strokes_is_kept(store: FeedbackStore, tmp_path: Path) -> None:
    store.record(**sample(strokes=None))
    assert rows_in(tmp_path / "feedback.sqlite", "strokes") == [(None,)]


def assert_one_sentence(error: FeedbackError) -> None:
    text = str(error)
    assert text.endswith(".")
    assert len(text) < 400
    assert "\n" not in text


# --- Many at once -------------------------------------------------------------------------------


def test_eight_threads_writing_at_once_keep_every_row(store: FeedbackStore) -> None:
    def write(writer: int) -> None:
        for index in range(40):
            store.record(**sample(visitor=f"writer-{writer}", sketch_id=str(index)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert store.score(None).total == 8 * 40
    assert [store.score(f"writer-{writer}").total for writer in range(8)] == [40] * 8


def test_readers_see_whole_verdicts_while_others_write(store: FeedbackStore) -> None:
    store.record(**sample())
    done = threading.Event()

    def read() -> list[Score]:
        seen = [store.score(None)]
        while not done.is_set():
            seen.append(store.score(None))
        return seen

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for index in range(40):
            store.record(**sample(sketch_id=f"s{index}", true_digit=index % 10))
        done.set()
        totals = [score.total for score in reading.result()]
    assert totals == sorted(totals)
    assert totals[-1] <= 41


def test_the_first_verdict_waits_for_another_program_that_is_making_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "feedback.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor() as pool:
            kept = pool.submit(FeedbackStore(path, busy_seconds=60).record, **sample())
            with pytest.raises(TimeoutError):
                kept.result(timeout=0.3)
            other.execute("COMMIT")
            kept.result(timeout=60)
    assert FeedbackStore(path).score(sample()["visitor"]).total == 1


# Records one verdict per line that it reads, and says so when record has returned.
WRITER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
import torch
from digitcnn.feedback import FeedbackStore

store = FeedbackStore(Path(sys.argv[1]), busy_seconds=60)
print("ready", flush=True)
for line in sys.stdin:
    store.record(
        visitor=sys.argv[2], sketch_id=line.strip(), model_digest="d", model_name="m", answer=3,
        probabilities=[0.1] * 10, true_digit=3, strokes=None,
        image=torch.zeros(28, 28, dtype=torch.uint8), now=datetime.now(timezone.utc),
    )
    print("kept", flush=True)
"""


@contextmanager
def writing_process(path: Path, visitor: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), visitor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_keep_every_row_and_what_one_acknowledged_survives_its_kill(
    tmp_path: Path,
) -> None:
    path = tmp_path / "feedback.sqlite"
    with writing_process(path, "one") as one, writing_process(path, "two") as two:
        assert [read_line(one), read_line(two)] == ["ready", "ready"]
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("".join(f"s{index}\n" for index in range(25)))
            process.stdin.flush()
        assert {read_line(process) for process, _ in itertools.product((one, two), range(25))} == {
            "kept"
        }
        assert one.stdin is not None
        one.stdin.write("last\n")
        one.stdin.flush()
        assert read_line(one) == "kept"
        one.kill()  # SIGKILL: nothing of it runs after this
        one.wait()
        store = FeedbackStore(path)
        assert store.recent("one", 1)[0].sketch_id == "last"
        assert (store.score("one").total, store.score("two").total) == (26, 25)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- Faults of disk and database ----------------------------------------------------------------


def test_a_locked_database_is_waited_for_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = FeedbackStore(path, busy_seconds=0.05)
    store.record(**sample())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FeedbackError, match="try again in a moment") as refused:
            store.record(**sample(sketch_id="2"))
        assert store.score(None).total == 1  # reading goes on
        patient = FeedbackStore(path, busy_seconds=30)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patient.record, **sample(sketch_id="3"))
            other.execute("COMMIT")
            waiting.result()
    assert_one_sentence(refused.value)
    assert [row.sketch_id for row in store.recent(None, 9)] == ["3", "sketch-1"]


def test_a_file_that_is_no_database_is_set_aside_whole_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    path.write_bytes(b"this was a database once\n" * 400)
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    store = FeedbackStore(path)
    assert store.notice is None
    assert store.recent(None, 9) == []
    aside = tmp_path / "feedback.damaged-20260301T120000Z.sqlite"
    assert aside.read_bytes() == b"this was a database once\n" * 400
    assert store.notice is not None
    assert aside.name in store.notice
    assert not path.exists()
    store.record(**sample())
    assert store.score(None).total == 1
    assert FeedbackStore(path).notice is None


def test_a_second_damaged_file_of_the_same_time_takes_another_name(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    for text in (b"first", b"second"):
        path.write_bytes(text * 100)
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
        FeedbackStore(path).recent(None, 1)
    assert (tmp_path / "feedback.damaged-20260301T120000Z.sqlite").read_bytes() == b"first" * 100
    assert (tmp_path / "feedback.damaged-20260301T120000Z-2.sqlite").read_bytes() == b"second" * 100


def overwrite_pages_after_the_first(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_a_database_with_damaged_pages_is_set_aside_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = FeedbackStore(path)
    for index in range(50):
        store.record(**sample(sketch_id=str(index)))
    overwrite_pages_after_the_first(path)
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(b"")
    again = FeedbackStore(path)
    again.record(**sample())
    assert again.score(None).total == 1
    assert again.notice is not None
    assert len(list(tmp_path.glob("feedback.damaged-*.sqlite"))) == 1


def test_damage_while_the_app_runs_is_said_once_and_then_a_new_file_begins(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    store = FeedbackStore(path)
    for index in range(50):
        store.record(**sample(sketch_id=str(index)))
    assert store.score(None).total == 50
    overwrite_pages_after_the_first(path)
    with pytest.raises(FeedbackError, match="try again, and a new file is begun") as said:
        store.record(**sample(sketch_id="51"))
    assert_one_sentence(said.value)
    store.record(**sample(sketch_id="51"))
    assert [row.sketch_id for row in store.recent(None, 9)] == ["51"]
    assert store.notice is not None


def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    FeedbackStore(path).record(**sample())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    store = FeedbackStore(path)
    for call in (
        lambda: store.record(**sample(sketch_id="2")),
        lambda: store.score(None),
        lambda: store.withdraw("secret-of-ann", "sketch-1"),
    ):
        with pytest.raises(FeedbackError, match="written by a newer digitcnn") as refused:
            call()
        assert_one_sentence(refused.value)
    assert rows_in(path, "sketch_id") == [("sketch-1",)]


def test_an_older_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    FeedbackStore(path).record(**sample())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    with pytest.raises(FeedbackError, match=r"written by an older digitcnn .* move the") as refused:
        FeedbackStore(path).record(**sample(sketch_id="2"))
    assert_one_sentence(refused.value)
    assert rows_in(path, "sketch_id") == [("sketch-1",)]


def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (name)")
    before = path.read_bytes()
    with pytest.raises(FeedbackError, match="another program"):
        FeedbackStore(path).record(**sample())
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    store = FeedbackStore(tmp_path / "outputs" / "feedback.sqlite")
    assert store.recent(None, 9) == []
    with pytest.raises(FeedbackError, match="choose another output folder") as refused:
        store.record(**sample())
    assert_one_sentence(refused.value)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="choose another output folder"):
        FeedbackStore(tmp_path).record(**sample())


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_a_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir(mode=0o500)
    store = FeedbackStore(folder / "feedback.sqlite")
    assert store.score(None).total == 0
    with pytest.raises(FeedbackError, match="choose another output folder") as refused:
        store.record(**sample())
    assert_one_sentence(refused.value)


def test_a_full_disk_is_named_and_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of the file size are Unix only")
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    store.record(**sample())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(FeedbackError, match="Feedback could not be kept") as refused:
            store.record(**sample(sketch_id="large", strokes=["x" * 200_000]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_one_sentence(refused.value)
    assert [row.sketch_id for row in store.recent(None, 9)] == ["sketch-1"]
    store.record(**sample(sketch_id="large", strokes=["x" * 200_000]))
    assert store.score(None).total == 2
    assert store.notice is None
