"""A run's report: valid, escaped, self-contained and bounded in size, whatever the run holds."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from digitcnn.intervals import accuracy_text
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult
from digitcnn.training.report import report, training_command
from digitcnn.training.run_record import RunRecord

VOID = {"meta", "img"}
HISTORY = [
    EpochResult(
        epoch=epoch,
        loss=1 / epoch,
        training_accuracy=0.5 + epoch / 10,
        held_out_loss=0.9 / epoch,
        accuracy=0.6 + epoch / 10,
        held_out=40,
        learning_rate=0.001,
        seconds=1.25,
    )
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
STABILITY = {
    "masks": "shared", "passes": 3, "mean": 0.9, "std": 0.0123, "min": 0.85, "max": 0.95,
}  # fmt: skip
FIGURES = {"05_conv_filters": b"\x89PNG of no size"}


def record(**changes: Any) -> RunRecord:
    plain = RunRecord("mine", "finished", TrainingConfig(digits="synthetic"), created="")
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def page() -> str:
    mine = record(
        message="Finished 3 epochs.",
        created="2026-01-02T03:04:05+00:00",
        device="CPU, 2 threads, float32",
        config=TrainingConfig(digits="synthetic", epochs=3, seed=7),
        versions={"torch": "2.14.1", "git": "ab" * 20},
        fingerprint="cd" * 32,
        checkpoint="mine.pt",
        digest="ef" * 32,
    )
    metrics = {"held_out": {"n": 40, "accuracy": 0.9}, "synthetic": METRICS}
    return report(mine, HISTORY, metrics, [STABILITY], FIGURES, "first\nlast")


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


def test_the_report_leads_with_the_test_accuracy(page: str) -> None:
    test = f"{accuracy_text(METRICS['accuracy'], METRICS['n'])} on synthetic digits test"
    assert f'<p class="headline">{test}</p>' in page
    results = page[page.index("<h2>Results") :]
    assert results.index("synthetic digits test") < results.index("held-out images of")


def test_the_report_has_everything_needed_to_cite_the_run(page: str) -> None:
    words = Page(page).words()
    assert page.startswith("<!DOCTYPE html>")
    for expected in [
        *("mine", "finished", "2026-01-02 03:04 UTC", "CPU, 2 threads, float32"),
        "synthetic digits test",
        *(accuracy_text(0.93, 100), accuracy_text(0.9, 40), "held-out images of synthetic digits"),
        *("0.2500", "0.1250", "1.50%", "92.00%", "2.14.1", "ab" * 20, "cd" * 32, "mine.pt"),
        *("ef" * 32, "shared", "1.230", "95.00%", "first last", "Loss per epoch (nats)"),
        "python -m digitcnn train --digits synthetic --epochs 3 --batch-size 256",
    ]:
        assert expected in words


def test_undefined_values_are_dashes(page: str) -> None:
    words = Page(page).words()
    assert "50.00% – –" in words
    assert "90.00% (76.95 to 96.04) – – – –" in words
    assert not re.search(r"\bnan\b", words, re.I)
    assert "None" not in words


def test_the_report_fetches_nothing_and_runs_nothing(page: str) -> None:
    found = Page(page)
    assert {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object"} == set()
    sources = [attributes["src"] for _, attributes in found.tags if "src" in attributes]
    expected = base64.b64encode(FIGURES["05_conv_filters"]).decode()
    assert sources == [f"data:image/png;base64,{expected}"]
    assert not re.search(r"(href|url\(|@import|http:)", page)
    policy = [a for tag, a in found.tags if tag == "meta" and "http-equiv" in a]
    assert "default-src 'none'" in str(policy[0]["content"])
    assert "prefers-color-scheme: dark" in page


def test_every_value_is_escaped() -> None:
    evil = "<script>alert('&')</script>\"'\ud800"
    texts = ("name", "state", "message", "created", "device", "checkpoint", "digest", "fingerprint")
    page = report(
        record(
            **dict.fromkeys(texts, evil),
            config=TrainingConfig(digits=evil),
            versions={evil: evil},
        ),
        HISTORY,
        {evil: {"n": 5, "accuracy": 0.8}},
        [{**STABILITY, "masks": evil, "digits": evil}],
        {evil: b"png"},
        evil,
    )
    assert "<script" not in page
    page.encode("utf-8", "replace")
    found = Page(page)
    assert {name for _, attributes in found.tags for name in attributes} <= {
        *("lang", "charset", "name", "content", "http-equiv", "class", "scope", "alt", "src"),
        *("viewbox", "role", "aria-label", "x", "y", "d", "points", "cx", "cy", "r", "colspan"),
        *("width", "height", "style"),
    }
    assert found.words().count("<script>") > 10


def test_a_run_without_results_has_a_report() -> None:
    words = Page(report(record())).words()
    assert "mine" in words
    assert "Stability" not in words
    assert "Results" not in words


def test_one_epoch_and_a_flat_curve_are_drawn() -> None:
    flat = [dataclasses.replace(row, loss=0.5, held_out_loss=0.5) for row in HISTORY]
    for history in (HISTORY[:1], flat):
        page = report(record(), history)
        Page(page)
        places = [float(y) for y in re.findall(r'cy="([\d.]+)"', page)]
        assert places
        assert all(0 <= y <= 280 for y in places)


def test_curves_follow_their_values(page: str) -> None:
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
    page = report(record(), figures=figures, log="x" * 1_000_000 + "\n" * 5_000)
    assert len(page.encode()) < 5_000_000
    assert page.count("<img") == 2
    assert "02_figure.png, 03_figure.png" in Page(page).words()


def test_only_the_end_of_the_log_is_shown() -> None:
    log = "\n".join(f"line {number}" for number in range(1_000))
    words = Page(report(record(), log=log)).words()
    assert "The last 60 of 1,000 lines." in words
    assert "line 999" in words
    assert "line 939 " not in words


def test_the_command_line_has_every_setting() -> None:
    config = TrainingConfig(digits="my set", train_images=500, augmentation=False)
    assert training_command(config.to_json()) == (
        "python -m digitcnn train --digits 'my set' --epochs 12 --batch-size 256 "
        "--learning-rate 0.008 --seed 0 --train-images 500 --augmentation off "
        "--network digitcnn --dropout on"
    )
