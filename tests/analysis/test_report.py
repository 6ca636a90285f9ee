"""A run's page: whole, valid, escaped, of one file and not too large, whatever the run holds."""

from __future__ import annotations

import base64
import html
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from digitcnn.analysis.metrics import accuracy_text
from digitcnn.analysis.report import MAX_SIZE, RunFacts, command, report

VOID = {"meta", "img", "path", "circle", "polyline"}
HISTORY = [
    {
        "epoch": epoch,
        "loss": 1 / epoch,
        "training_accuracy": 0.5 + epoch / 10,
        "held_out_loss": 0.9 / epoch,
        "accuracy": 0.6 + epoch / 10,
        "held_out": 40,
        "learning_rate": 0.001,
        "seconds": 1.25,
    }
    for epoch in (1, 2, 3)
]
METRICS: dict[str, Any] = {
    "n": 100,
    "accuracy": 0.93,
    "nll": 0.25,
    "brier": 0.125,
    "ece": 0.015,
    "macro_f1": 0.92,
    "per_digit": [{"digit": 0, "support": 0, "precision": 0.5, "recall": None, "f1": None}],
}
FACTS = RunFacts(
    name="mine",
    state="finished",
    message="Finished 3 epochs.",
    created="2026-01-02T03:04:05+00:00",
    device="CPU, 2 threads, float32",
    config={"digits": "synthetic", "epochs": 3, "seed": 7, "train_images": None},
    versions={"torch": "2.14.1", "git": "ab" * 20},
    fingerprints={"training": "cd" * 32, "test": None},
    checkpoint="mine.pt",
    digest="ef" * 32,
    history=HISTORY,
    metrics={"held_out": {"n": 40, "accuracy": 0.9}, "synthetic": METRICS},
    stabilities=[
        {"masks": "shared", "passes": 3, "mean": 0.9, "std": 0.0123, "min": 0.85, "max": 0.95}
    ],
    figures={"05_conv_filters": b"\x89PNG of no size"},
    log="first\nlast",
)


class Page(HTMLParser):
    """Checks that every element is closed in order, and collects what the tests ask for."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_the_page_says_all_that_is_needed_to_cite_the_run() -> None:
    page = report(FACTS)
    words = Page(page).words()
    assert page.startswith("<!DOCTYPE html>")
    for said in [
        *("mine", "finished", "2026-01-02 03:04 UTC", "CPU, 2 threads, float32", "synthetic test"),
        *(accuracy_text(0.93, 100), accuracy_text(0.9, 40), "held-out images of synthetic"),
        *("0.2500", "0.1250", "1.50%", "92.00%", "2.14.1", "ab" * 20, "cd" * 32, "mine.pt"),
        *("ef" * 32, "shared", "1.230", "95.00%", "first last", "Loss per epoch (nats)"),
        "python -m digitcnn train --digits synthetic --epochs 3 --seed 7",
    ]:
        assert said in words


def test_undefined_is_a_dash() -> None:
    words = Page(report(FACTS)).words()
    assert "50.00% – –" in words
    assert "90.00% (76.95 to 96.04) – – – –" in words
    assert "nan" not in words.lower()
    assert "None" not in words


def test_nothing_is_fetched_and_nothing_runs() -> None:
    page = report(FACTS)
    found = Page(page)
    assert {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object"} == set()
    sources = [attributes["src"] for _, attributes in found.tags if "src" in attributes]
    expected = base64.b64encode(FACTS.figures["05_conv_filters"]).decode()
    assert sources == [f"data:image/png;base64,{expected}"]
    assert not re.search(r"(href|url\(|@import|http:)", page)
    policy = [a for tag, a in found.tags if tag == "meta" and "http-equiv" in a]
    assert "default-src 'none'" in str(policy[0]["content"])
    assert "prefers-color-scheme: dark" in page


def test_whatever_came_from_files_is_text() -> None:
    evil = "<script>alert('&')</script>\"'\ud800"
    facts = RunFacts(
        name=evil,
        state=evil,
        message=evil,
        created=evil,
        device=evil,
        config={"digits": evil, evil: evil},
        versions={evil: evil},
        fingerprints={evil: evil},
        checkpoint=evil,
        digest=evil,
        history=[{"epoch": evil, "loss": evil, "accuracy": evil, "held_out": evil}],
        metrics={evil: {"n": 5, "accuracy": evil, "per_digit": [{"digit": evil}]}},
        stabilities=[{"masks": evil, "mean": evil, "digits": evil, "passes": evil}],
        figures={evil: b"png"},
        log=evil,
    )
    page = report(facts)
    assert "<script" not in page
    page.encode("utf-8")
    found = Page(page)
    assert {name for _, attributes in found.tags for name in attributes} <= {
        *("lang", "charset", "name", "content", "http-equiv", "class", "scope", "alt", "src"),
        *("viewbox", "role", "aria-label", "x", "y", "d", "points", "cx", "cy", "r"),
    }
    assert found.words().count("<script>") > 10


ODD: list[Any] = [None, "text", 3, [], {}, [1], {"n": True}, math.inf, 10**400, [{"epoch": []}]]


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_leave_a_page(odd: Any) -> None:
    row = dict.fromkeys(HISTORY[0], odd)
    facts = RunFacts(
        name="mine",
        state="failed",
        history=[row, odd],
        metrics={"a": odd, "b": {"n": 3, "accuracy": odd, "per_digit": odd, "nll": odd}},
        stabilities=[odd, dict.fromkeys(("mean", "std", "min", "max", "passes", "masks"), odd)],
    )
    Page(report(facts))


def test_a_run_that_has_just_begun_has_a_page() -> None:
    words = Page(report(RunFacts(name="mine", state="running"))).words()
    assert "mine" in words
    assert "Stability" not in words
    assert "Results" not in words


def test_one_epoch_and_a_flat_curve_are_drawn() -> None:
    for history in (HISTORY[:1], [{**row, "loss": 0.5, "held_out_loss": 0.5} for row in HISTORY]):
        page = report(RunFacts(name="mine", state="finished", history=history))
        Page(page)
        places = [float(y) for y in re.findall(r'cy="([\d.]+)"', page)]
        assert places
        assert all(0 <= y <= 240 for y in places)


def test_curves_stand_where_their_values_are() -> None:
    page = report(FACTS)
    (losses, accuracies) = re.findall(r"<svg.*?</svg>", page, re.S)
    for chart, rising in ((losses, False), (accuracies, True)):
        points = re.findall(r'<polyline points="([^"]+)"', chart)
        assert len(points) == 2
        for line in points:
            heights = [float(point.split(",")[1]) for point in line.split()]
            assert len(heights) == 3
            assert heights == sorted(heights, reverse=rising)
    assert "changed training images, epoch 2: 0.5" in html.unescape(losses)


def test_the_page_stays_small_and_names_the_figures_that_did_not_fit() -> None:
    figures = {f"{i:02}_figure": bytes([i]) * 1_500_000 for i in range(4)}
    facts = RunFacts(
        name="mine", state="finished", figures=figures, log="x" * 1_000_000 + "\n" * 5_000
    )
    page = report(facts)
    assert len(page.encode()) < MAX_SIZE
    assert page.count("<img") == 2
    assert "02_figure.png, 03_figure.png" in Page(page).words()


def test_the_log_ends_where_the_run_ended() -> None:
    log = "\n".join(f"line {number}" for number in range(1_000))
    words = Page(report(RunFacts(name="mine", state="failed", log=log))).words()
    assert "The last 60 of 1,000 lines." in words
    assert "line 999" in words
    assert "line 939 " not in words


def test_the_command_trains_the_same_again() -> None:
    from digitcnn.training.config import TrainingConfig

    config = TrainingConfig(digits="my set", train_images=500, augmentation=False)
    assert command(config.to_json()) == (
        "python -m digitcnn train --digits 'my set' --epochs 12 --batch-size 256 "
        "--learning-rate 0.008 --seed 0 --train-images 500 --augmentation off"
    )
