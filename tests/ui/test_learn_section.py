"""What the section 'It learns your hand' says, from what it is given."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import gradio as gr
import pytest
import torch
from sample_feedback import sample

from digitcnn.errors import FeedbackError
from digitcnn.feedback.store import FeedbackStore
from digitcnn.training.events import StepProgress
from digitcnn.training.finetune import FineTuningEnd
from digitcnn.training.finetune_job import FineTuningView
from digitcnn.training.finetune_verdict import ComparisonRow
from digitcnn.ui.learn_section import SketchCount, Watching, look, sketches_of, table_of

ROWS = (
    ComparisonRow("feedback, other half", True, 90, 0.9222, 0.9444, 2.22, -2.45, 7.71),
    ComparisonRow("mnist held-out", True, 5000, 0.995, 0.9944, -0.06, -0.2, 0.08),
    ComparisonRow("mnist test", False, 10_000, 0.9959, 0.996, 0.01, -0.05, 0.07),
)


def test_it_says_how_many_sketches_there_are_and_how_many_are_needed() -> None:
    status, _, _, start, stop, seen = look(FineTuningView(), 39, Watching())
    assert "39 sketches with their digit; 40 are needed, so 1 more." in status
    assert 'data-state="idle"' in status
    assert (start.interactive, stop.interactive) == (False, False)
    assert seen == Watching(0, 39)
    status, _, _, start, *_ = look(FineTuningView(), 40, Watching())
    assert "40 sketches with their digit." in status
    assert start.interactive


def test_nothing_is_sent_while_nothing_changes() -> None:
    updates = look(FineTuningView(version=3), 12, Watching(3, 12))
    assert updates == [gr.skip()] * 6
    # One more sketch changes the line and nothing below it.
    status, table, choice, *_ = look(FineTuningView(version=3), 13, Watching(3, 12))
    assert "13 sketches" in status
    assert table == choice == gr.skip()


def test_while_it_learns_the_line_says_of_what_and_how_far() -> None:
    view = FineTuningView(
        version=1,
        state="running",
        compute="CPU <1>",
        started=datetime.now(timezone.utc),
        phase="learning",
        base="<b>mine</b>",
        progress=StepProgress(2, 3, 30, 60, (), 1234.5, 20.0),
    )
    status, _, _, start, stop, _ = look(view, 50, Watching())
    assert "&lt;b&gt;mine&lt;/b&gt;" in status
    assert "CPU &lt;1&gt;" in status
    assert 'aria-valuenow="50"' in status
    assert "epoch 2 of 3 · 1,234 images per second · 20 s left" in status
    assert (start.interactive, stop.interactive) == (False, True)
    # It changes every second although the job's version may not.
    assert look(view, 50, Watching(1, 50))[0] != gr.skip()


def test_a_verdict_is_told_with_its_table_and_only_what_was_kept_can_be_chosen() -> None:
    kept = FineTuningEnd("finished", "Kept as mine-hand-1.", "mine", Path("mine-hand-1.pt"), ROWS)
    view = FineTuningView(
        version=5, state="finished", base="mine", message=kept.message, ended=kept
    )
    status, table, choice, *_ = look(view, 180, Watching())
    assert "Kept as mine-hand-1." in status
    assert choice.visible
    for text in (
        "mine before and after learning from feedback",
        "92.22% (84.81 to 96.18)",
        "94.44% (87.65 to 97.60)",
        "+2.22 (-2.45 to +7.71)",
        "mnist test (decides nothing)",
        "looks better on it than it is",
    ):
        assert text in table
    assert table.index("mnist held-out") < table.index("mnist test")
    refused = FineTuningEnd("finished", "Not saved, because.", "mine", None, ROWS)
    assert "looks better" not in table_of(refused)
    view = FineTuningView(
        version=6, state="finished", base="mine", message="Not kept.", ended=refused
    )
    assert not look(view, 180, Watching())[2].visible
    stopped = FineTuningEnd("stopped", "Stopped; nothing was saved.", "mine")
    assert table_of(stopped) == table_of(None) == ""


def test_the_store_is_counted_now_and_then_and_an_error_is_not_remembered() -> None:
    now, asked = [0.0], []

    def count() -> int:
        asked.append(now[0])
        if now[0] == 10:
            raise FeedbackError("it is locked")
        return len(asked)

    counted = SketchCount(count, lambda: now[0])
    assert [counted.now(), counted.now()] == [1, 1]
    now[0] = 1.9
    assert counted.now() == 1
    now[0] = 2.0
    assert counted.now() == 2
    now[0] = 10
    with pytest.raises(FeedbackError, match="locked"):
        counted.now()
    now[0] = 10.1
    assert counted.now() == 4


def test_sketches_that_show_no_digit_are_left_out(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite3")
    assert len(sketches_of(store)) == 0
    for number, true_digit in enumerate([3, None, 8]):
        store.record(
            sample(
                sketch_id=f"sketch-{number}",
                true_digit=true_digit,
                image=torch.full((28, 28), number + 1, dtype=torch.uint8),
            )
        )
    found = sketches_of(store)
    assert found.digits.tolist() == [3, 8]
    assert found.images[:, 0, 0].tolist() == [1, 3]
    assert len(set(found.visitors)) == 1
    assert "secret" not in found.visitors[0]
