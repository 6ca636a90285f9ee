"""What is asked of the feedback store and changed in it, the same in both databases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_feedback import NOON, SURE_OF_SEVEN, sample
from scipy.stats import binomtest

from digitcnn.errors import FeedbackError, NotOwnerError
from digitcnn.feedback import FeedbackFilter, FeedbackStore, Score, visitor_alias
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
def judged(store: FeedbackStore) -> FeedbackStore:
    """Five verdicts: of Ann 7 as 7, 7 as 7 and 1 as 7; of Bob no digit as 7, and 3 as 3 by a
    second model."""
    for index, (visitor, changes) in enumerate(
        [
            (ANN, {}),
            (ANN, {}),
            (ANN, {"true_digit": 1}),
            (BOB, {"true_digit": None}),
            (BOB, {"true_digit": 3, "answer": 3, "model_digest": "e" * 64, "model_name": "b"}),
        ]
    ):
        store.record(**sample(visitor=visitor, sketch_id=f"s{index}", **changes))
    return store


def sketches_of(store: FeedbackStore, wanted: FeedbackFilter) -> list[str]:
    return [row.sketch_id for row in store.rows(wanted)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
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
def test_the_filters_leave_what_they_say(
    judged: FeedbackStore, wanted: FeedbackFilter, expected: list[str]
) -> None:
    assert sketches_of(judged, wanted) == expected
    assert judged.count(wanted) == len(expected)


def test_pages_go_through_the_list_without_gap_or_repeat(judged: FeedbackStore) -> None:
    pages = [judged.rows(offset=offset, limit=2) for offset in (0, 2, 4, 6)]
    assert [[row.sketch_id for row in page] for page in pages] == [
        ["s4", "s3"],
        ["s2", "s1"],
        ["s0"],
        [],
    ]
    with pytest.raises(FeedbackError, match="ask for 0 or more"):
        judged.rows(offset=-1)


def test_a_row_has_its_image_and_no_secret(store: FeedbackStore) -> None:
    store.record(**sample())
    (row,) = store.rows()
    assert torch.equal(row.image, sample()["image"])
    assert (row.alias, row.confidence, row.time) == (visitor_alias(ANN), 0.91, NOON)
    assert ANN not in repr(row)


def test_scores_by_digit_and_model_are_those_of_a_hand_count(judged: FeedbackStore) -> None:
    by_digit = judged.scores_by_digit()
    assert [(digit, score.right, score.total) for digit, score in by_digit.items()] == [
        (1, 0, 1),
        (3, 1, 1),
        (7, 2, 2),
        (None, 0, 1),
    ]
    by_model = judged.scores_by_model()
    assert [(m.digest[0], m.name, m.score.right, m.score.total) for m in by_model] == [
        ("e", "b", 1, 1),
        ("d", "mnist-seed0", 2, 4),
    ]
    expected = binomtest(2, 4).proportion_ci(confidence_level=0.95, method="wilson")
    score = by_model[1].score
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert list(judged.scores_by_digit(FeedbackFilter(visitor=ANN))) == [1, 7]
    assert [m.name for m in judged.scores_by_model(FeedbackFilter(visitor=ANN))] == ["mnist-seed0"]


def test_a_model_goes_by_the_name_it_was_judged_under_last(judged: FeedbackStore) -> None:
    judged.record(**sample(sketch_id="s9", model_name="renamed"))
    assert [model.name for model in judged.scores_by_model()] == ["renamed", "b"]


def test_confidences_leave_out_answers_that_show_none(judged: FeedbackStore) -> None:
    judged.record(**sample(sketch_id="s5", answer=None, true_digit=None))
    judged.record(
        **sample(sketch_id="s6", probabilities=[0.3] + [0.0] * 6 + [0.7] + [0.0] * 2, answer=7)
    )
    confidence, right = judged.confidences()
    assert confidence.dtype == torch.float64
    assert sorted(zip(confidence.tolist(), right.tolist(), strict=True)) == [
        (0.7, True),
        (0.91, False),
        (0.91, False),
        (0.91, True),
        (0.91, True),
        (0.91, True),
    ]


def test_sketches_are_all_that_was_kept_in_the_order_they_came(store: FeedbackStore) -> None:
    store.record(**sample(visitor=BOB, sketch_id="first", strokes=None))
    store.record(**sample(sketch_id="second", true_digit=None))
    store.record(**sample(visitor=BOB, sketch_id="first", true_digit=2, strokes=None))
    first, second = store.sketches()
    assert first.id < second.id
    assert (first.true_digit, second.true_digit) == (2, None)
    assert (first.strokes, second.strokes) == (None, sample()["strokes"])
    assert first.visitor_hash != second.visitor_hash
    assert second.visitor_hash.startswith(visitor_alias(ANN))
    assert torch.equal(second.image, sample()["image"])
    assert (second.answer, second.model_digest, second.time) == (7, "d" * 64, NOON)
    assert second.probabilities == tuple(SURE_OF_SEVEN)
    assert [sketch.true_digit for sketch in store.sketches(FeedbackFilter(visitor=ANN))] == [None]


def test_only_sketches_of_a_digit_are_labelled(judged: FeedbackStore) -> None:
    images, labels = judged.labelled()
    assert labels.dtype == images.dtype == torch.uint8
    assert labels.tolist() == [7, 7, 1, 3]
    assert torch.equal(images[3], sample()["image"])
    assert judged.count_labelled() == 4
    assert judged.count_labelled(FeedbackFilter(visitor=BOB)) == 1


def test_before_the_first_verdict_every_answer_is_empty(store: FeedbackStore) -> None:
    assert store.rows() == []
    assert store.count() == store.count_labelled() == 0
    assert store.scores_by_digit() == {}
    assert store.scores_by_model() == []
    assert store.sketches() == []
    assert [len(part) for part in (*store.labelled(), *store.confidences())] == [0] * 4
    assert store.labelled()[0].shape == (0, 28, 28)
    assert not store.withdraw(ANN, "sketch-1")
    score = store.score(None)
    assert score.total == 0
    assert math.isnan(score.share)
    for change in (
        lambda: store.correct(1, 3, NOON, visitor=None),
        lambda: store.erase(1, visitor=ANN),
    ):
        with pytest.raises(FeedbackError, match="not there any more"):
            change()


# --- Changes ------------------------------------------------------------------------------------


def test_a_visitor_corrects_and_erases_what_is_their_own(judged: FeedbackStore) -> None:
    newest, *_ = judged.rows(FeedbackFilter(visitor=ANN))
    later = NOON + timedelta(hours=1)
    judged.correct(newest.id, 7, later, visitor=ANN)
    row, *_ = judged.rows(FeedbackFilter(visitor=ANN))
    assert (row.id, row.true_digit, row.right) == (newest.id, 7, True)
    assert (row.time, row.corrected) == (NOON, later)
    judged.correct(newest.id, 7, later + timedelta(hours=1), visitor=ANN)  # nothing new
    assert judged.rows(FeedbackFilter(visitor=ANN))[0].corrected == later
    judged.correct(newest.id, None, later, visitor=ANN)
    assert judged.rows(FeedbackFilter(visitor=ANN))[0].true_digit is None
    judged.erase(newest.id, visitor=ANN)
    assert sketches_of(judged, FeedbackFilter()) == ["s4", "s3", "s1", "s0"]


def test_nobody_changes_anothers_verdict_but_the_owner_does(judged: FeedbackStore) -> None:
    row, *_ = judged.rows(FeedbackFilter(visitor=BOB))
    for visitor in (ANN, row.alias, "x"):
        for change in (
            lambda visitor=visitor: judged.correct(row.id, 0, NOON, visitor=visitor),
            lambda visitor=visitor: judged.erase(row.id, visitor=visitor),
        ):
            with pytest.raises(NotOwnerError, match="Only whoever gave a verdict"):
                change()
    assert judged.rows(FeedbackFilter(visitor=BOB))[0].true_digit == 3
    judged.correct(row.id, 5, NOON, visitor=None)
    assert judged.rows(FeedbackFilter(visitor=BOB))[0].true_digit == 5
    judged.erase(row.id, visitor=None)
    assert sketches_of(judged, FeedbackFilter(visitor=BOB)) == ["s3"]


@pytest.mark.parametrize("row_id", [0, -1, 2**63, 10**40, 999, "1", None])
def test_a_row_that_is_none_is_named(judged: FeedbackStore, row_id: Any) -> None:
    with pytest.raises(FeedbackError, match="not there any more"):
        judged.erase(row_id, visitor=None)
    assert judged.count() == 5


def test_a_correction_to_no_digit_at_all_is_refused(judged: FeedbackStore) -> None:
    row, *_ = judged.rows()
    for digit in (10, True, "7"):
        with pytest.raises(FeedbackError, match="true digit is"):
            judged.correct(row.id, digit, NOON, visitor=None)  # type: ignore[arg-type]


def test_the_number_of_an_erased_row_is_never_given_again(judged: FeedbackStore) -> None:
    newest, *_ = judged.rows()
    judged.erase(newest.id, visitor=None)
    judged.record(**sample(sketch_id="after"))
    assert judged.rows()[0].id > newest.id


# --- Many at once -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "each", [5, pytest.param(50, marks=pytest.mark.long)], ids=["a hundred", "a thousand"]
)
def test_all_verdicts_of_twenty_writers_are_there_once(
    place: Path | str, store: FeedbackStore, each: int
) -> None:
    with (
        closing(FeedbackStore(place)) as other,  # as another process of the app would have it
        ThreadPoolExecutor(20) as pool,
    ):

        def write(writer: int) -> None:
            for index in range(each):
                mine = store if (writer + index) % 2 else other
                mine.record(**sample(visitor=f"writer-{writer}", sketch_id=str(index)))

        list(pool.map(write, range(20)))
    assert store.count() == 20 * each
    assert [store.score(f"writer-{writer}").total for writer in range(20)] == [each] * 20


def test_verdicts_on_one_sketch_sent_at_once_make_one_row(store: FeedbackStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda digit: store.record(**sample(true_digit=digit)), range(8)))
    (row,) = store.rows()
    assert row.true_digit in range(8)


# --- The digit set ------------------------------------------------------------------------------


def test_feedback_is_a_digit_set_from_its_first_digit_on(
    store: FeedbackStore, tmp_path: Path
) -> None:
    catalog = catalog_with_feedback(tmp_path / "data", store)
    assert "feedback" not in [entry.name for entry in catalog.entries()]
    store.record(**sample(true_digit=None))
    assert not catalog.has("feedback", "test")
    store.record(**sample(sketch_id="2"))
    assert catalog.has("feedback", "test")
    (entry,) = [entry for entry in catalog.entries() if entry.name == "feedback"]
    assert (entry.split, entry.n, entry.present, entry.path) == ("test", 1, True, None)
    before = catalog.open("feedback", "test")
    assert torch.equal(before.images[0], sample()["image"])
    store.record(**sample(sketch_id="3", true_digit=1))
    after = catalog.open("feedback", "test")
    assert after.labels.tolist() == [7, 1]
    assert after.fingerprint != before.fingerprint
    assert catalog.open("feedback", "test").fingerprint == after.fingerprint


def right_of(score: Score) -> tuple[int, int]:
    return score.right, score.total


def test_both_databases_give_the_same_answers(postgres: Any, tmp_path: Path) -> None:
    stores = [FeedbackStore(tmp_path / "a.sqlite"), FeedbackStore(postgres.fresh())]
    generator = torch.Generator().manual_seed(0)
    for index in range(60):
        said = torch.randint(0, 11, (2,), generator=generator).tolist()
        probabilities = torch.rand(10, generator=generator, dtype=torch.float64)
        changes = {
            "visitor": f"v{index % 3}",
            "sketch_id": f"s{index % 40}",
            "answer": None if said[0] == 10 else said[0],
            "true_digit": None if said[1] == 10 else said[1],
            "probabilities": (probabilities / probabilities.sum()).tolist(),
            "model_digest": str(index % 2) * 8,
        }
        for store in stores:
            store.record(**sample(**changes))
    questions: list[Callable[[FeedbackStore], Any]] = [
        lambda s: [(r.sketch_id, r.alias, r.answer, r.true_digit, r.right) for r in s.rows()],
        lambda s: [(r.confidence, r.time, r.corrected, r.model_digest) for r in s.rows()],
        lambda s: {d: right_of(score) for d, score in s.scores_by_digit().items()},
        lambda s: [(m.digest, right_of(m.score)) for m in s.scores_by_model(FeedbackFilter("v1"))],
        lambda s: right_of(s.score("v2")),
        lambda s: sorted(zip(*(part.tolist() for part in s.confidences()), strict=True)),
        lambda s: s.labelled()[1].tolist(),
        lambda s: [(k.visitor_hash, k.probabilities, k.strokes) for k in s.sketches()],
    ]
    for question in questions:
        assert question(stores[0]) == question(stores[1])
    stores[1].close()
