"""Fine-tuning in a real browser: too few sketches, a fine-tuning, its result, both models."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from running_app import ROOT, App
from sample_feedback import sample

from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.idx import write_idx
from digitcnn.feedback.store import FeedbackStore
from digitcnn.network.checkpoint import load, save

pytestmark = [pytest.mark.browser, pytest.mark.long]


@pytest.fixture
def learning_app(tmp_path: Path, drawn: DigitSet) -> Iterator[App]:
    """An app with a model that predicts 7 too often, and its training images.

    1,600 held-out images: fewer could not rule out a loss.
    """
    data = tmp_path / "data" / "many"
    data.mkdir(parents=True)
    many = DigitSet(drawn.images.repeat(40, 1, 1), drawn.labels.repeat(40), "many", "train")
    write_idx(data / "train-images-idx3-ubyte.gz", many.images)
    write_idx(data / "train-labels-idx1-ubyte.gz", many.labels)
    training, held_out = split_held_out(many)
    training = training.take(slice(440))
    shipped = load(ROOT / "checkpoints" / "digitcnn-mnist.pt")
    shipped.network.output.bias[7] += 3
    details = dataclasses.replace(
        shipped.details,
        digits="many",
        config={**shipped.details.config, "digits": "many", "train_images": 440},
        fingerprints={"train": training.fingerprint, "held_out": held_out.fingerprint},
    )
    (tmp_path / "checkpoints").mkdir()
    save(tmp_path / "checkpoints" / "sevens.pt", shipped.network, details)
    running = App(tmp_path, tmp_path / "data")
    yield running
    running.end()


def draw(app: App, sketches: range) -> None:
    """Store sketches of three visitors in turn, labelled."""
    found = synthetic.draw("synthetic-other-writers", "test", images=60)
    store = FeedbackStore(app.folder / "outputs" / "feedback.sqlite3")
    for place in sketches:
        digit = int(found.labels[place])
        store.record(
            sample(
                visitor=f"the-secret-of-visitor-{place % 3}",
                sketch_id=f"sketch-{place}",
                true_digit=digit,
                image=found.images[place],
            )
        )


@pytest.mark.timeout(300)
def test_model_is_fine_tuned_and_both_can_be_chosen(browser: Any, learning_app: App) -> None:
    draw(learning_app, range(39))
    page = browser.new_page(viewport={"width": 360, "height": 760})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(learning_app.url)
    page.get_by_role("tab", name="Sketchpad").click()
    start, status = page.locator("#learn-start"), page.locator("#learn-status")
    expect(status).to_contain_text("39 of 40 labelled sketches")
    expect(start).to_be_disabled()

    draw(learning_app, range(39, 60))
    expect(status).to_contain_text("60 labelled sketches")
    expect(start).to_be_enabled()
    start.click()
    expect(status.locator("[data-state=running]")).to_be_visible()
    # Everyone sees the same; a visitor's page here is the owner's as well.
    other = browser.new_page()
    other.goto(learning_app.url)
    other.get_by_role("tab", name="Sketchpad").click()
    expect(other.locator("#learn-status")).to_contain_text("sevens")

    expect(status).to_contain_text(
        re.compile("Saved as sevens-hand-1, fine-tuned on 30 sketches of 3 visitors"),
        timeout=120_000,
    )
    table = page.locator("#learn-table table")
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(table).to_contain_text("many held-out in EMNIST framing")
    expect(other.locator("#learn-table table tbody tr")).to_have_count(3)

    selector = page.locator("#model-select input")
    page.locator("#learn-use-new").click()
    expect(selector).to_have_value(re.compile("^sevens-hand-1"))
    # The one on the other page stays what it was.
    expect(other.locator("#model-select input")).to_have_value(re.compile(r"^sevens ·"))
    page.locator("#learn-use-old").click()
    expect(selector).to_have_value(re.compile(r"^sevens ·"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert problems == []
    other.close()
    page.close()
