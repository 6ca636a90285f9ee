"""One bar and one remaining time across a run's epochs and the phases after them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from digitcnn.digits.catalog import Catalog
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import StepProgress
from digitcnn.training.run_work import RunWork
from digitcnn.training.view import TrainingView

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
# A quick training on MNIST, as recorded on two busy cores: 3,000 images, 8 epochs of 46 steps.
QUICK = RunWork(3_000, 5_000, 10_000, 0, 5_000, 8 * 2 * 10_000, 9)
SPEED = 2_860.0
TRAINED, TOTAL = 13.7, 18.6  # seconds
PHASES = (
    (13.7, "evaluating the held-out and test images"),
    (15.4, "fitting the OOD detector's threshold"),
    (16.2, "running 8 dropout passes per mask type"),
    (16.7, "drawing figures, 1 of 9"),
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def view_at(seconds: float, work: RunWork = QUICK) -> TrainingView:
    """The view of that training after so many seconds."""
    begun = [(start, text) for start, text in PHASES if start <= seconds]
    start, phase = begun[-1] if begun else (0.0, "training")
    done = min(1.0, (seconds - 1.5) / (TRAINED - 1.5))
    step = round(368 * done)
    progress = StepProgress(1, 8, step, 368, (0.5,), SPEED, (1 - done) * (TRAINED - 1.5))
    return TrainingView(
        started=START, phase=phase, phase_started=at(start), progress=progress, work=work
    )


@pytest.mark.parametrize("seconds", [2, 5, 9, 13, 14, 15.5, 16.5, 18])
def test_the_time_left_is_what_a_recorded_quick_training_then_took(seconds: float) -> None:
    left = view_at(seconds).remaining(at(seconds))[1]
    assert left is not None
    actual = TOTAL - seconds
    assert abs(left - actual) < max(actual / 3, 2)


def test_neither_the_bar_shrinks_nor_the_time_grows_from_phase_to_phase() -> None:
    moments = [view_at(second / 4).remaining(at(second / 4)) for second in range(8, 75)]
    shares, lefts = [share for share, _ in moments], [left or 0 for _, left in moments]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert all(later < earlier + 0.5 for earlier, later in pairwise(lefts))


def test_the_start_button_promises_what_the_run_then_takes() -> None:
    assert QUICK.seconds(8, SPEED) == pytest.approx(TOTAL, rel=1 / 3)


def test_only_the_images_that_are_there_count(tmp_path: Path, data_dir: Path) -> None:
    config = TrainingConfig(digits="small", train_images=10, epochs=3)
    catalog = Catalog(data_dir)
    whole = RunWork.of(config, PostTrainingConfig(), catalog)
    assert whole.images == 10
    assert (whole.figures, whole.fitted) == (9, whole.held_out)
    assert whole.passes == 3 * 2 * (whole.others or whole.tested)
    nothing = PostTrainingConfig(
        figures=False, stability=False, ood_detector=False, test_sets=False
    )
    bare = RunWork.of(config, nothing, catalog)
    assert sum(bare.seconds_after(100).values()) == pytest.approx(bare.held_out / 300)


def test_the_bar_does_not_shrink_when_a_run_becomes_slower() -> None:
    view = replace(view_at(9), least_share=0.9)
    assert view.remaining(at(9))[0] == 0.9


def test_slow_figures_are_followed_by_slow_figures() -> None:
    slow = replace(view_at(18), phase="drawing figures, 4 of 9", phase_done=1 / 3)
    assert slow.remaining(at(16.7 + 10))[1] == pytest.approx(20)


def test_a_phase_that_takes_longer_than_usual_has_a_second_left() -> None:
    assert view_at(18).remaining(at(500))[1] == 1


def test_before_the_first_progress_no_time_is_promised() -> None:
    assert TrainingView(started=START, phase="loading mnist").remaining(at(3))[1] is None
