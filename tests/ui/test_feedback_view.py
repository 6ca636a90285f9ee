"""The Feedback section on the server: what is listed, who may change what, the files."""

from __future__ import annotations

import base64
import csv
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from sample_feedback import sample
from scipy.stats import binomtest

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.own_set import read_own_set
from digitcnn.feedback.entry import visitor_alias
from digitcnn.feedback.store import FeedbackStore
from digitcnn.ui.access import Access
from digitcnn.ui.feedback import view

ANN, BOB, OWNER = "secret-of-ann", "secret-of-bob", "the owner's token"

EVERYBODY = {"whose": "everybody", "right": "any", "digit": "any", "model": "any", "page": 0}


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "outputs" / "feedback.sqlite3")


@pytest.fixture
def judged(store: FeedbackStore) -> FeedbackStore:
    """Of Ann a 7 as 7 and a 1 as 7; of Bob a scribble as 7."""
    store.record(sample(visitor=ANN, sketch_id="a"))
    store.record(sample(visitor=ANN, sketch_id="b", true_digit=1))
    store.record(sample(visitor=BOB, sketch_id="c", true_digit=None))
    return store


Call = Callable[..., dict[str, Any]]


def calls_of(store: FeedbackStore) -> Call:
    """Calls a function of the section by its name, as a page of ``visitor`` does."""
    access = Access(token=OWNER, local_is_owner=False, open_to_all=False)
    functions = {made.__name__: made for made in view.feedback_functions(store, access)}

    def call(name: str, visitor: str = ANN, owner: str = "", **sent: Any) -> dict[str, Any]:
        payload = {**EVERYBODY, "visitor": visitor, "owner": owner, **sent}
        return functions[f"feedback_{name}"](payload, gr.Request(headers={}))

    return call


@pytest.fixture
def call(judged: FeedbackStore) -> Call:
    return calls_of(judged)


def listed(reply: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(row["answer"], row["digit"]) for row in reply["rows"]]


def test_everybodys_feedback_is_listed_by_aliases(call: Call) -> None:
    reply = call("list")
    assert listed(reply) == [(7, None), (7, 1), (7, 7)]
    assert [row["alias"] for row in reply["rows"]] == [
        visitor_alias(BOB),
        visitor_alias(ANN),
        visitor_alias(ANN),
    ]
    assert [row["mine"] for row in reply["rows"]] == [False, True, True]
    assert "secret-of" not in str(reply)
    assert all(row["image"].startswith("data:image/png;base64,") for row in reply["rows"])
    assert (reply["total"], reply["page"], reply["pages"]) == (3, 0, 1)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"whose": "mine"}, [(7, 1), (7, 7)]),
        ({"right": "right"}, [(7, 7)]),
        ({"right": "wrong"}, [(7, None), (7, 1)]),
        ({"digit": "1"}, [(7, 1)]),
        ({"digit": "none"}, [(7, None)]),
        ({"model": "d" * 64, "whose": "mine", "right": "wrong"}, [(7, 1)]),
        ({"model": "e" * 64}, []),
    ],
)
def test_the_filters_select_matching_entries(call: Call, filters: Any, expected: Any) -> None:
    assert listed(call("list", **filters)) == expected


def test_a_page_holds_fifty_and_one_beyond_the_last_is_the_last(store: FeedbackStore) -> None:
    for index in range(51):
        store.record(sample(sketch_id=str(index)))
    call = calls_of(store)
    first, last, beyond = (call("list", page=page) for page in (0, 1, 10**9))
    assert (len(first["rows"]), len(last["rows"]), first["pages"]) == (50, 1, 2)
    assert beyond == last
    assert last["page"] == 1


def test_models_are_listed_by_name_and_digest(call: Call, judged: FeedbackStore) -> None:
    judged.record(sample(visitor=BOB, sketch_id="d", model_digest="e" * 64, model_name="<b>"))
    assert call("list")["models"] == [
        {"digest": "e" * 64, "name": "<b> (eeeeeeee)"},
        {"digest": "d" * 64, "name": "mnist-seed0 (dddddddd)"},
    ]
    assert [m["digest"] for m in call("list", whose="mine")["models"]] == ["d" * 64]


# --- Changes ------------------------------------------------------------------------------------


def test_a_visitor_may_change_their_own_and_the_owner_all(call: Call) -> None:
    assert [row["may_change"] for row in call("list")["rows"]] == [False, True, True]
    assert [row["may_change"] for row in call("list", owner=OWNER)["rows"]] == [True] * 3
    assert call("list", owner="guess")["rows"][0]["may_change"] is False


def test_a_correction_is_listed(call: Call) -> None:
    row = call("list")["rows"][1]
    assert call("correct", id=row["id"], digit=7) == {"done": "Corrected."}
    now = call("list")["rows"][1]
    assert (now["digit"], now["right"]) == (7, True)
    assert now["corrected"] is not None
    assert call("correct", id=row["id"], digit=None) == {"done": "Corrected."}
    assert call("list")["rows"][1]["digit"] is None


@pytest.mark.parametrize("change", [("correct", {"digit": 3}), ("erase", {})])
def test_another_visitors_feedback_stays_whatever_is_sent(
    call: Call, change: tuple[str, dict[str, Any]]
) -> None:
    name, sent = change
    before = call("list")
    bobs = before["rows"][0]
    for visitor in (ANN, "x", bobs["alias"]):
        for owner in ("", "guess", None, 5, ["x"]):
            reply = call(name, visitor=visitor, owner=owner, id=bobs["id"], **sent)
            assert reply["error"].startswith("Only its author or the owner")
    assert call("list") == before


def test_the_owner_corrects_and_erases_anothers(call: Call) -> None:
    bobs = call("list")["rows"][0]["id"]
    assert "done" in call("correct", owner=OWNER, id=bobs, digit=0)
    assert listed(call("list"))[0] == (7, 0)
    assert call("erase", owner=OWNER, id=bobs) == {"done": "Deleted."}
    assert listed(call("list")) == [(7, 1), (7, 7)]
    assert "no longer exists" in call("erase", owner=OWNER, id=bobs)["error"]


ODD: list[Any] = [None, True, -1, 1.5, 10**40, "", "x", "\ud800", [], {}, "x" * 10_000, math.nan]


@pytest.mark.parametrize("name", ["list", "numbers", "correct", "erase", "export"])
def test_anything_may_be_sent_and_gets_an_answer_or_a_sentence(
    judged: FeedbackStore, call: Call, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts = ("visitor", "owner", "whose", "right", "digit", "model", "page", "id", "kind")
    for part in parts:
        for value in ODD:
            reply = call(name, **{"id": 10**6, "kind": "list", part: value})
            if "error" in reply:
                assert reply["error"].endswith("."), (part, value)
                assert "Something went wrong" not in reply["error"], (part, value)
    for payload in (None, [], "x", 3, {}):
        access = Access(token=OWNER, local_is_owner=False, open_to_all=False)
        functions = {made.__name__: made for made in view.feedback_functions(judged, access)}
        assert functions[f"feedback_{name}"](payload, gr.Request(headers={}))["error"].endswith(".")
    assert judged.count() == 3
    assert caplog.records == []


# --- Numbers ------------------------------------------------------------------------------------


def test_accuracies_come_with_their_intervals(call: Call) -> None:
    numbers = call("numbers")
    one = binomtest(1, 1).proportion_ci(confidence_level=0.95, method="wilson")
    assert numbers["digits"] == [
        ["1", "0 of 1", "0.00% (0.00 to 79.35)"],
        ["7", "1 of 1", f"100.00% ({100 * one.low:.2f} to 100.00)"],
        ["not a digit", "0 of 1", "0.00% (0.00 to 79.35)"],
    ]
    third = binomtest(1, 3).proportion_ci(confidence_level=0.95, method="wilson")
    spread = f"({100 * third.low:.2f} to {100 * third.high:.2f})"
    assert numbers["models"] == [["mnist-seed0 (dddddddd)", "1 of 3", f"33.33% {spread}"]]
    assert numbers["bins"] == [["90% to 100%", "3", "91.0%", f"33.33% {spread}"]]
    assert numbers["calibration"].startswith("3 digit predictions: mean confidence 91.0%, 33.33%")
    assert f"expected calibration error {100 * (0.91 - 1 / 3):.2f}%." in numbers["calibration"]
    assert numbers["chart"].count("<circle") == 1


def test_numbers_follow_the_filters(call: Call) -> None:
    assert [row[0] for row in call("numbers", whose="mine")["digits"]] == ["1", "7"]
    none = call("numbers", model="e" * 64)
    assert (none["digits"], none["models"], none["bins"]) == ([], [], [])
    assert none["calibration"].startswith("No ratings yet")
    assert "<circle" not in none["chart"]


def test_confidence_is_counted_in_the_bin_it_belongs_to(store: FeedbackStore) -> None:
    generator = torch.Generator().manual_seed(1)
    shares = (0.35 + 0.65 * torch.rand(60, generator=generator, dtype=torch.float64)).tolist()
    for index, share in enumerate([*shares, 1.0]):
        rest = (1 - share) / 9
        store.record(
            sample(
                sketch_id=str(index),
                probabilities=[rest] * 7 + [share] + [rest] * 2,
                true_digit=7 if index % 3 else 1,
            )
        )
    bins = calls_of(store)("numbers")["bins"]
    for text, count, *_ in bins:
        low = int(text.split("%")[0]) / 100
        inside = [s for s in [*shares, 1.0] if low < s <= low + 0.1 + 1e-12]
        assert count == str(len(inside))
    assert sum(int(row[1]) for row in bins) == 61


# --- Files --------------------------------------------------------------------------------------


def content(reply: dict[str, Any]) -> bytes:
    return base64.b64decode(reply["content"])


def test_the_digit_set_can_be_read_back_as_ones_own(call: Call, tmp_path: Path) -> None:
    reply = call("export", owner=OWNER, kind="set")
    assert reply["name"] == "feedback-digits.zip"
    with zipfile.ZipFile(io.BytesIO(content(reply))) as archive:
        archive.extractall(tmp_path)
    own = read_own_set(tmp_path / "feedback", "theirs", "test", "none").digit_set
    assert own.labels.tolist() == [7, 1]
    assert torch.equal(own.images[0], sample().image)
    catalog = Catalog(tmp_path / "data")
    catalog.add(own)
    assert catalog.open("theirs", "test").fingerprint == own.fingerprint
    assert reply == call("export", owner=OWNER, kind="set")  # equal content, equal file


def test_the_list_is_a_table_that_spreadsheets_take_for_text(
    call: Call, judged: FeedbackStore
) -> None:
    judged.record(sample(visitor=BOB, sketch_id="d", model_name='=HYPERLINK("x"),1'))
    reply = call("export", owner=OWNER, kind="list")
    rows = list(csv.DictReader(io.StringIO(content(reply).decode())))
    assert [row["true_digit"] for row in rows] == ["7", "", "1", "7"]
    assert rows[0]["model"] == '\'=HYPERLINK("x"),1'
    assert (rows[2]["visitor"], rows[2]["right"]) == (visitor_alias(ANN), "0")
    assert float(rows[0]["confidence"]) == 0.91
    assert "secret-of" not in content(reply).decode()


def test_a_visitor_exports_only_their_own_feedback(call: Call, judged: FeedbackStore) -> None:
    own = content(call("export", visitor=BOB, kind="list")).decode()
    assert len(own.splitlines()) == 2
    assert visitor_alias(ANN) not in own
    assert "no digits to export yet" in call("export", visitor=BOB, kind="set")["error"]
    with zipfile.ZipFile(io.BytesIO(content(call("export", kind="set")))) as archive:
        assert archive.read("feedback/test-labels-idx1-ubyte")[-2:] == bytes([7, 1])


def test_the_wall_and_deleting_all_are_the_owners(call: Call, judged: FeedbackStore) -> None:
    assert listed(call("wall", owner=OWNER)) == [(7, None), (7, 1), (7, 7)]
    wall = call("wall", owner=OWNER)
    assert (wall["total"], wall["visitors"]) == (3, 1)
    for token in ("", "a guess"):
        assert call("wall", owner=token)["error"].startswith("Only the owner can see")
        assert call("erase_all", owner=token)["error"].startswith("Only the owner can delete all")
    assert judged.count() == 3
    assert call("erase_all", owner=OWNER) == {"done": "Deleted 3 sketches with their feedback."}
    assert judged.count() == 0
    assert call("erase_all", owner=OWNER) == {"done": "Deleted 0 sketches with their feedback."}
