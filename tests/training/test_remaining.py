"""One bar and one remaining time across a run's epochs and the phases after them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from digitcnn.training.events import StepProgress
from digitcnn.training.remaining import AFTER_SECONDS, REFERENCE, remaining
from digitcnn.training.view import TrainingView

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def view(phase: str, left: float = 0.0, since: float = 0.0) -> TrainingView:
    return TrainingView(
        started=START,
        phase=phase,
        phase_started=START + timedelta(seconds=since),
        progress=StepProgress(1, 4, 10, 40, (0.5,), REFERENCE, left),
    )


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_while_it_trains_the_later_phases_are_part_of_the_time_left() -> None:
    share, left = remaining(view("training", left=30), at(10))
    assert left == pytest.approx(30 + AFTER_SECONDS)
    assert share == pytest.approx(10 / (40 + AFTER_SECONDS))


def test_a_slow_machine_takes_longer_after_training_as_well() -> None:
    slow = TrainingView(
        started=START, phase="training", progress=StepProgress(1, 4, 10, 40, (0.5,), 600.0, 30.0)
    )
    assert remaining(slow, at(10))[1] == pytest.approx(30 + 10 * AFTER_SECONDS)


def test_the_bar_grows_in_every_second_of_a_phase_and_is_never_full() -> None:
    phase = view("drawing figures, 2 of 9", since=60)
    shares = [remaining(phase, at(60 + second))[0] for second in range(40)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] < 1


def test_a_phase_that_takes_longer_than_usual_has_a_second_left() -> None:
    assert remaining(view("drawing figures, 9 of 9", since=0), at(500))[1] == 1


def test_before_the_first_progress_no_time_is_promised() -> None:
    assert remaining(TrainingView(started=START, phase="loading mnist"), at(3))[1] is None
