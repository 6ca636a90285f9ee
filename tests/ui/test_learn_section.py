"""What the fine-tuning section of the Sketchpad tab shows."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import torch
from sample_feedback import sample

from digitcnn.feedback.store import FeedbackStore
from digitcnn.training.events import StepProgress
from digitcnn.training.finetune import ComparisonRow, FineTuningEnd
from digitcnn.training.finetune_job import FineTuningView
from digitcnn.training.finetune_training import Sketches
from digitcnn.ui.learn_section import comparison_table, result_updates, status_updates

ROWS = (
    ComparisonRow("feedback, other half", True, 90, 0.9222, 0.9444, 2.22, -2.45, 7.71),
    ComparisonRow("mnist held-out", True, 5000, 0.995, 0.9944, -0.06, -0.2, 0.08),
    ComparisonRow("mnist test", False, 10_000, 0.9959, 0.996, 0.01, -0.05, 0.07),
)


def test_status_counts_sketches_and_those_still_needed() -> None:
    status, start, stop = status_updates(FineTuningView(), 39)
    assert "39 of 40 labelled sketches needed to fine-tune." in status
    assert 'data-state="idle"' in status
    assert (start.interactive, stop.interactive) == (False, False)
    status, start, _ = status_updates(FineTuningView(), 40)
    assert "40 labelled sketches." in status
    assert start.interactive


def test_running_status_names_the_model_and_its_progress() -> None:
    view = FineTuningView(
        version=1,
        state="running",
        compute="CPU <1>",
        started=datetime.now(timezone.utc),
        phase="fine-tuning",
        base="<b>mine</b>",
        progress=StepProgress(2, 3, 30, 60, (), 1234.5, 20.0),
    )
    status, start, stop = status_updates(view, 50)
    assert "&lt;b&gt;mine&lt;/b&gt;" in status
    assert "CPU &lt;1&gt;" in status
    assert 'aria-valuenow="50"' in status
    assert "epoch 2 of 3 · 1,234 images per second · 20 s left" in status
    assert (start.interactive, stop.interactive) == (False, True)


def test_result_has_its_table_and_only_a_saved_model_can_be_chosen() -> None:
    saved = FineTuningEnd("finished", "Saved as mine-hand-1.", "mine", Path("mine-hand-1.pt"), ROWS)
    view = FineTuningView(
        version=5, state="finished", base="mine", message=saved.message, ended=saved
    )
    assert "Saved as mine-hand-1." in status_updates(view, 180)[0]
    table, choice = result_updates(view)
    assert choice.visible
    for text in (
        "mine before and after fine-tuning",
        "92.22% (84.81 to 96.18)",
        "94.44% (87.65 to 97.60)",
        "+2.22 (-2.45 to +7.71)",
        "mnist test (for information)",
        "looks better on it than it is",
    ):
        assert text in table
    assert table.index("mnist held-out") < table.index("mnist test")
    refused = FineTuningEnd("finished", "Not saved, because.", "mine", None, ROWS)
    assert "looks better" not in comparison_table(refused)
    view = FineTuningView(
        version=6, state="finished", base="mine", message="Not saved.", ended=refused
    )
    assert not result_updates(view)[1].visible
    stopped = FineTuningEnd("stopped", "Stopped; nothing was saved.", "mine")
    assert comparison_table(stopped) == comparison_table(None) == ""


def test_non_digits_are_left_out(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite3")
    assert len(Sketches(*store.labelled())) == 0
    for number, true_digit in enumerate([3, None, 8]):
        store.record(
            sample(
                sketch_id=f"sketch-{number}",
                true_digit=true_digit,
                image=torch.full((28, 28), number + 1, dtype=torch.uint8),
            )
        )
    found = Sketches(*store.labelled())
    assert found.digits.tolist() == [3, 8]
    assert found.images[:, 0, 0].tolist() == [1, 3]
    assert len(set(found.visitors)) == 1
    assert "secret" not in found.visitors[0]
