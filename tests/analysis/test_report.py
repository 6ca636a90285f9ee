"""A run's report: valid, escaped, self-contained and bounded in size, whatever the run holds."""

from __future__ import annotations

import base64
import html
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from digitcnn.analysis.report import MAX_SIZE, RunFacts, report, training_command
from digitcnn.intervals import accuracy_text

VOID = {"meta", "img"}
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


def test_the_report_leads_with_the_test_accuracy() -> None:
    page = report(FACTS)
    test = f"{accuracy_text(METRICS['accuracy'], METRICS['n'])} on synthetic digits test"
    assert f'<p class="headline">{test}</p>' in page
    results = page[page.index("<h2>Results") :]
    assert results.index("synthetic digits test") < results.index("held-out images of")


def test_the_report_has_everything_needed_to_cite_the_run() -> None:
    page = report(FACTS)
    words = Page(page).words()
    assert page.startswith("<!DOCTYPE html>")
    for expected in [
        *("mine", "finished", "2026-01-02 03:04 UTC", "CPU, 2 threads, float32"),
        "synthetic digits test",
        *(accuracy_text(0.93, 100), accuracy_text(0.9, 40), "held-out images of synthetic digits"),
        *("0.2500", "0.1250", "1.50%", "92.00%", "2.14.1", "ab" * 20, "cd" * 32, "mine.pt"),
        *("ef" * 32, "shared", "1.230", "95.00%", "first last", "Loss per epoch (nats)"),
        "python -m digitcnn train --digits synthetic --epochs 3 --seed 7",
    ]:
        assert expected in words


def test_undefined_values_are_dashes() -> None:
    words = Page(report(FACTS)).words()
    assert "50.00% – –" in words
    assert "90.00% (76.95 to 96.04) – – – –" in words
    assert not re.search(r"\bnan\b", words, re.I)
    assert "None" not in words


def test_the_report_fetches_nothing_and_runs_nothing() -> None:
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


def test_every_value_is_escaped() -> None:
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
        *("viewbox", "role", "aria-label", "x", "y", "d", "points", "cx", "cy", "r", "colspan"),
        *("width", "height", "style"),
    }
    assert found.words().count("<script>") > 10


HUGE: list[Any] = [math.inf, 1e308, -1e308, 1e-308, 10**400]
ODD: list[Any] = [None, "text", 3, [], {}, [1], {"n": True}, *HUGE, [{"epoch": []}]]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_malformed_values_do_not_prevent_a_report(odd: Any) -> None:
    row = dict.fromkeys(HISTORY[0], odd)
    facts = RunFacts(
        name="mine",
        state="failed",
        history=[row, odd],
        metrics={"a": odd, "b": {"n": 3, "accuracy": odd, "per_digit": odd, "nll": odd}},
        stabilities=[odd, dict.fromkeys(("mean", "std", "min", "max", "passes", "masks"), odd)],
    )
    Page(report(facts))


def test_a_run_without_results_has_a_report() -> None:
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
        assert all(0 <= y <= 280 for y in places)


def test_curves_follow_their_values() -> None:
    page = report(FACTS)
    (losses, accuracies) = re.findall(r"<svg.*?</svg>", page, re.S)
    for chart, rising in ((losses, False), (accuracies, True)):
        points = re.findall(r'<polyline [^>]*points="([^"]+)"', chart)
        assert len(points) == 2
        for line in points:
            heights = [float(point.split(",")[1]) for point in line.split()]
            assert len(heights) == 3
            assert heights == sorted(heights, reverse=rising)
    assert "Augmented images, epoch 2: 0.5" in html.unescape(losses)


def test_figures_that_do_not_fit_are_named() -> None:
    figures = {f"{i:02}_figure": bytes([i]) * 1_500_000 for i in range(4)}
    facts = RunFacts(
        name="mine", state="finished", figures=figures, log="x" * 1_000_000 + "\n" * 5_000
    )
    page = report(facts)
    assert len(page.encode()) < MAX_SIZE
    assert page.count("<img") == 2
    assert "02_figure.png, 03_figure.png" in Page(page).words()


def test_only_the_end_of_the_log_is_shown() -> None:
    log = "\n".join(f"line {number}" for number in range(1_000))
    words = Page(report(RunFacts(name="mine", state="failed", log=log))).words()
    assert "The last 60 of 1,000 lines." in words
    assert "line 999" in words
    assert "line 939 " not in words


def test_the_command_line_has_every_setting() -> None:
    from digitcnn.training.config import TrainingConfig

    config = TrainingConfig(digits="my set", train_images=500, augmentation=False)
    assert training_command(config.to_json()) == (
        "python -m digitcnn train --digits 'my set' --epochs 12 --batch-size 256 "
        "--learning-rate 0.008 --seed 0 --train-images 500 --augmentation off "
        "--network digitcnn --dropout on"
    )
