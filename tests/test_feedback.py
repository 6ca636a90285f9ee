"""The feedback store: what it stores, answers and changes, the same in both databases."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_feedback import CONFIDENT_SEVEN, NOON, sample
from scipy.stats import binomtest
from sqlalchemy import select

from digitcnn.errors import ConfigError, FeedbackError, NotOwnerError
from digitcnn.feedback.database import ENTRIES
from digitcnn.feedback.entry import MAX_STROKES_BYTES, FeedbackFilter, visitor_alias
from digitcnn.feedback.store import FeedbackStore
from digitcnn.workspace import catalog_with_feedback

ANN, BOB = "secret-of-ann", "secret-of-bob"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "feedback.sqlite"
    return str(request.getfixturevalue("postgres").fresh())


@pytest.fixture
def store(place: Path | str) -> Iterator[FeedbackStore]:
    with closing(FeedbackStore(place)) as opened:
        yield opened


@pytest.fixture
def filled(store: FeedbackStore) -> FeedbackStore:
    """Five entries: Ann's 7, 7 and 1, Bob's non-digit, all read as 7; Bob's 3, read by model b."""
    by_b = {"answer": 3, "model_digest": "e" * 64, "model_name": "b"}
    for index, (visitor, true_digit, changes) in enumerate(
        [(ANN, 7, {}), (ANN, 7, {}), (ANN, 1, {}), (BOB, None, {}), (BOB, 3, by_b)]
    ):
        changes = {"sketch_id": f"s{index}", "true_digit": true_digit, **changes}
        store.record(sample(visitor=visitor, **changes))
    return store


def sketches(store: FeedbackStore, which: FeedbackFilter | None = None) -> list[str]:
    return [entry.sketch_id for entry in store.entries(which or FeedbackFilter())]


def assert_one_sentence(error: BaseException) -> None:
    text = str(error)
    assert text.endswith(".")
    assert len(text) < 400
    assert "\n" not in text


# --- What is stored -----------------------------------------------------------------------------


def test_the_table_holds_all_that_a_digit_set_needs(store: FeedbackStore) -> None:
    image = sample().image.t()  # a view with other strides is stored as it looks
    store.record(sample(true_digit=1, image=image))
    with store._database.reading() as connection:
        assert connection is not None
        row = connection.execute(select(ENTRIES)).one()
    assert (row.model_digest, row.model_name, row.answer) == ("d" * 64, "mnist-seed0", 7)
    assert row.probabilities == str(CONFIDENT_SEVEN)
    assert (row.true_digit, row.strokes) == (1, "[[[1.5,2.0,0],[3.0,4.0,16]]]")
    assert row.image == bytes(int(value) for line in image for value in line)


def test_an_entry_has_image_confidence_and_time_and_no_secret(store: FeedbackStore) -> None:
    in_delhi = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    store.record(sample(now=in_delhi, strokes=None))
    (entry,) = store.entries()
    assert torch.equal(entry.image, sample().image)
    assert (entry.confidence, entry.model_name, entry.model_digest) == (
        0.91,
        "mnist-seed0",
        "d" * 64,
    )
    assert entry.time == NOON
    assert entry.time.utcoffset() == timedelta(0)
    assert entry.alias == visitor_alias(ANN) != visitor_alias(BOB)
    assert re.fullmatch("[0-9a-f]{8}", entry.alias)
    assert ANN not in repr(entry)
    assert entry.visitor_hash not in repr(entry)


def test_later_feedback_on_a_sketch_replaces_the_first(store: FeedbackStore) -> None:
    store.record(sample(true_digit=7))
    later = NOON + timedelta(minutes=1)
    store.record(sample(true_digit=1, now=later))
    (entry,) = store.entries()
    assert (entry.true_digit, entry.right) == (1, False)
    assert (entry.time, entry.corrected) == (NOON, later)
    store.record(sample(true_digit=1, model_digest="e" * 64, model_name="other", answer=1))
    (entry,) = store.entries()
    assert (entry.model_name, entry.model_digest, entry.right) == ("other", "e" * 64, True)


def test_repeated_feedback_is_stored_once_and_is_not_a_correction(store: FeedbackStore) -> None:
    store.record(sample())
    store.record(sample(now=NOON + timedelta(seconds=1)))
    (entry,) = store.entries()
    assert (entry.time, entry.corrected) == (NOON, None)


def test_two_visitors_may_use_the_same_sketch_id(store: FeedbackStore) -> None:
    store.record(sample())
    store.record(sample(visitor=BOB, true_digit=1))
    scores = [store.score(which) for which in (FeedbackFilter(ANN), FeedbackFilter(BOB))]
    assert [(score.right, score.total) for score in scores] == [(1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("answer", "true_digit", "right"),
    [(7, 7, True), (7, 1, False), (7, None, False), (None, 7, False), (None, None, True)],
)
def test_not_a_digit_is_a_prediction_like_the_ten(
    store: FeedbackStore, answer: int | None, true_digit: int | None, right: bool
) -> None:
    store.record(sample(answer=answer, true_digit=true_digit))
    (entry,) = store.entries()
    assert (entry.answer, entry.true_digit, entry.right) == (answer, true_digit, right)
    assert store.score().right == int(right)


def test_queries_of_a_store_without_feedback_are_empty(store: FeedbackStore) -> None:
    assert store.entries() == []
    assert store.count() == store.count_labelled() == 0
    assert store.scores_by_digit() == {}
    assert store.scores_by_model() == []
    assert [len(part) for part in (*store.labelled(), *store.confidences())] == [0] * 5
    assert store.labelled()[0].shape == (0, 28, 28)
    score = store.score()
    assert score.total == 0
    assert all(math.isnan(value) for value in (score.share, score.low, score.high))
    for change in (
        lambda: store.correct(1, 3, NOON, visitor=None),
        lambda: store.erase(1, visitor=ANN),
    ):
        with pytest.raises(FeedbackError, match="no longer exists"):
            change()


# --- Invalid feedback ---------------------------------------------------------------------------

DEEP: list[Any] = []
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
        ({"true_digit": -1}, "true digit is -1"),
        ({"true_digit": "7"}, "true digit is '7'"),
        ({"true_digit": True}, "true digit is True"),
        ({"true_digit": 10**400}, "true digit is 1000"),
        ({"strokes": "drawn"}, "not a list"),
        ({"strokes": [[math.inf, 0.0]]}, "finite coordinates"),
        ({"strokes": DEEP}, "cannot be stored as JSON"),
        ({"strokes": ["x" * MAX_STROKES_BYTES]}, "fewer strokes"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_invalid_feedback_is_refused_in_one_sentence_and_nothing_is_stored(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(FeedbackError, match=sentence) as refused:
        FeedbackStore(tmp_path / "feedback.sqlite").record(sample(**changes))
    assert_one_sentence(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_the_largest_sketch_allowed_is_stored(store: FeedbackStore) -> None:
    store.record(sample(strokes=["x" * (MAX_STROKES_BYTES - 4)]))
    assert store.count() == 1


@pytest.mark.parametrize(
    "address",
    [
        "mysql://lab:hidden@host/db",
        "sqlite://",
        "no address: hidden",
        "postgresql://lab:hidden@h:x/",
    ],
)
def test_an_invalid_address_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="DIGITCNN_FEEDBACK_URL") as refused:
        FeedbackStore(address)
    assert_one_sentence(refused.value)
    assert "hidden" not in str(refused.value)


# --- Questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (FeedbackFilter(), ["s4", "s3", "s2", "s1", "s0"]),
        (FeedbackFilter(visitor=ANN), ["s2", "s1", "s0"]),
        (FeedbackFilter(right=True), ["s4", "s1", "s0"]),
        (FeedbackFilter(right=False), ["s3", "s2"]),
        (FeedbackFilter(true_digit=7), ["s1", "s0"]),
        (FeedbackFilter(true_digit="none"), ["s3"]),
        (FeedbackFilter(model="e" * 64), ["s4"]),
        (FeedbackFilter(visitor=BOB, right=False, true_digit="none", model="d" * 64), ["s3"]),
        (FeedbackFilter(visitor="secret-of-nobody"), []),
    ],
)
def test_a_filter_selects_matching_entries(
    filled: FeedbackStore, which: FeedbackFilter, expected: list[str]
) -> None:
    assert sketches(filled, which) == expected
    assert filled.count(which) == len(expected)


def test_pages_cover_the_list_without_gap_or_repeat(filled: FeedbackStore) -> None:
    pages = [filled.entries(offset=offset, limit=2) for offset in (0, 2, 4, 6)]
    assert [[entry.sketch_id for entry in page] for page in pages] == [
        ["s4", "s3"],
        ["s2", "s1"],
        ["s0"],
        [],
    ]


def test_a_clock_that_goes_backwards_does_not_change_the_order(store: FeedbackStore) -> None:
    store.record(sample(sketch_id="first"))
    store.record(sample(sketch_id="second", now=NOON - timedelta(days=400)))
    store.record(sample(sketch_id="first", true_digit=1, now=NOON - timedelta(days=800)))
    assert sketches(store) == ["second", "first"]


def test_scores_by_digit_and_model_match_a_hand_count(filled: FeedbackStore) -> None:
    by_digit = filled.scores_by_digit()
    assert [(digit, score.right, score.total) for digit, score in by_digit.items()] == [
        (1, 0, 1),
        (3, 1, 1),
        (7, 2, 2),
        (None, 0, 1),
    ]
    by_model = filled.scores_by_model()
    assert [(m.digest[0], m.name, m.score.right, m.score.total) for m in by_model] == [
        ("e", "b", 1, 1),
        ("d", "mnist-seed0", 2, 4),
    ]
    expected = binomtest(2, 4).proportion_ci(confidence_level=0.95, method="wilson")
    score = by_model[1].score
    assert score.share == 0.5
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert list(filled.scores_by_digit(FeedbackFilter(visitor=ANN))) == [1, 7]
    assert [m.name for m in filled.scores_by_model(FeedbackFilter(visitor=ANN))] == ["mnist-seed0"]


def test_a_model_has_the_name_of_its_latest_feedback(filled: FeedbackStore) -> None:
    filled.record(sample(sketch_id="s9", model_name="renamed"))
    assert [model.name for model in filled.scores_by_model()] == ["renamed", "b"]


def test_confidences_leave_out_non_digits(filled: FeedbackStore) -> None:
    filled.record(sample(sketch_id="s5", answer=None, true_digit=None))
    seventy = [0.3] + [0.0] * 6 + [0.7] + [0.0] * 2
    filled.record(sample(sketch_id="s6", probabilities=seventy))
    confidence, right = filled.confidences()
    assert confidence.dtype == torch.float64
    pairs = sorted(zip(confidence.tolist(), right.tolist(), strict=True))
    assert pairs == [(0.7, True)] + [(0.91, False)] * 2 + [(0.91, True)] * 3


def test_only_sketches_of_a_digit_are_labelled(filled: FeedbackStore) -> None:
    images, labels, _ = filled.labelled()
    assert labels.dtype == images.dtype == torch.uint8
    assert labels.tolist() == [7, 7, 1, 3]
    assert torch.equal(images[3], sample().image)
    assert filled.count_labelled() == 4
    assert filled.count_labelled(FeedbackFilter(visitor=BOB)) == 1


# --- Changes ------------------------------------------------------------------------------------


def test_visitors_correct_and_erase_their_own(filled: FeedbackStore) -> None:
    newest, *_ = filled.entries(FeedbackFilter(visitor=ANN))
    later = NOON + timedelta(hours=1)
    filled.correct(newest.id, 7, later, visitor=ANN)
    entry, *_ = filled.entries(FeedbackFilter(visitor=ANN))
    assert (entry.id, entry.true_digit, entry.right) == (newest.id, 7, True)
    assert (entry.time, entry.corrected) == (NOON, later)
    filled.correct(newest.id, 7, later + timedelta(hours=1), visitor=ANN)  # nothing new
    assert filled.entries(FeedbackFilter(visitor=ANN))[0].corrected == later
    filled.correct(newest.id, None, later, visitor=ANN)
    assert filled.entries(FeedbackFilter(visitor=ANN))[0].true_digit is None
    filled.erase(newest.id, visitor=ANN)
    assert sketches(filled) == ["s4", "s3", "s1", "s0"]


def test_only_the_owner_changes_anothers_entry(filled: FeedbackStore) -> None:
    entry, *_ = filled.entries(FeedbackFilter(visitor=BOB))
    for visitor in (ANN, entry.alias, "x"):
        for change in (
            lambda visitor=visitor: filled.correct(entry.id, 0, NOON, visitor=visitor),
            lambda visitor=visitor: filled.erase(entry.id, visitor=visitor),
        ):
            with pytest.raises(NotOwnerError, match="Only its author or the owner"):
                change()
    assert filled.entries(FeedbackFilter(visitor=BOB))[0].true_digit == 3
    filled.correct(entry.id, 5, NOON, visitor=None)
    assert filled.entries(FeedbackFilter(visitor=BOB))[0].true_digit == 5
    filled.erase(entry.id, visitor=None)
    assert sketches(filled, FeedbackFilter(visitor=BOB)) == ["s3"]


def test_an_invalid_entry_or_digit_is_refused(filled: FeedbackStore) -> None:
    for entry_id in (0, -1, 2**63, 10**40, 999, "1", None):
        with pytest.raises(FeedbackError, match="no longer exists"):
            filled.erase(entry_id, visitor=None)  # type: ignore[arg-type]
    for digit in (10, True, "7"):
        with pytest.raises(FeedbackError, match="true digit is"):
            filled.correct(filled.entries()[0].id, digit, NOON, visitor=None)  # type: ignore[arg-type]
    assert filled.count() == 5


def test_the_number_of_an_erased_entry_is_never_reused(filled: FeedbackStore) -> None:
    newest, *_ = filled.entries()
    filled.erase(newest.id, visitor=None)
    filled.record(sample(sketch_id="after"))
    assert filled.entries()[0].id > newest.id


# --- Many at once -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "each", [5, pytest.param(50, marks=pytest.mark.long)], ids=["a hundred", "a thousand"]
)
def test_concurrent_writers_keep_all_entries(
    place: Path | str, store: FeedbackStore, each: int
) -> None:
    with (
        closing(FeedbackStore(place)) as other,  # as another process of the app would have it
        ThreadPoolExecutor(20) as pool,
    ):

        def write(writer: int) -> None:
            for index in range(each):
                mine = store if (writer + index) % 2 else other
                mine.record(sample(visitor=f"writer-{writer}", sketch_id=str(index)))

        list(pool.map(write, range(20)))
    assert store.count() == 20 * each
    totals = [store.count(FeedbackFilter(f"writer-{writer}")) for writer in range(20)]
    assert totals == [each] * 20


def test_feedback_sent_at_once_on_one_sketch_makes_one_entry(store: FeedbackStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda digit: store.record(sample(true_digit=digit)), range(8)))
    (entry,) = store.entries()
    assert entry.true_digit in range(8)


# --- The digit set ------------------------------------------------------------------------------


def test_feedback_is_a_digit_set_from_its_first_digit_on(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    catalog = catalog_with_feedback(tmp_path / "data", store)
    assert "feedback" not in [entry.name for entry in catalog.entries()]
    store.record(sample(true_digit=None))
    assert not catalog.has("feedback", "test")
    store.record(sample(sketch_id="2"))
    assert catalog.has("feedback", "test")
    (entry,) = [entry for entry in catalog.entries() if entry.name == "feedback"]
    assert (entry.split, entry.n, entry.present, entry.path) == ("test", 1, True, None)
    before = catalog.open("feedback", "test")
    assert torch.equal(before.images[0], sample().image)
    store.record(sample(sketch_id="3", true_digit=1))
    after = catalog.open("feedback", "test")
    assert after.labels.tolist() == [7, 1]
    assert after.fingerprint != before.fingerprint
    assert catalog.open("feedback", "test").fingerprint == after.fingerprint
