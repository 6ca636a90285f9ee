"""How much of a run is left: one share and one time across its epochs and the phases after them.

The epochs' time follows from their own progress. The phases after the last epoch cannot be timed
before they begin, so each has a usual time, which is scaled by the speed of this run's training.
"""

from __future__ import annotations

from datetime import datetime

from digitcnn.training.view import TrainingView

# Seconds of the phases after the last epoch, by the start of their texts, in their order, where
# training runs at REFERENCE images per second: two cores, the default network.
PHASES = (
    ("evaluating the held-out", 4.0),
    ("evaluating", 4.0),
    ("running", 5.0),
    ("drawing", 9.0),
)
REFERENCE = 6000.0
AFTER_SECONDS = sum(seconds for _, seconds in PHASES)
# Before the first progress of a training is known.
_LOADING_SHARE = 0.01


def remaining(view: TrainingView, now: datetime) -> tuple[float, float | None]:
    """Return the share that is done, 0 to 1, and the seconds left; None where nothing is known.

    The share never shrinks while a phase lasts; the seconds count down to no less than one.
    """
    progress = view.progress
    if progress is None or view.started is None:
        return _LOADING_SHARE, None
    elapsed = (now - view.started).total_seconds()
    scale = REFERENCE / max(1.0, progress.images_per_second)
    after = [scale * seconds for _, seconds in PHASES]
    if view.phase == "training":
        left = progress.seconds_left + sum(after)
    else:
        place = _place(view.phase)
        in_phase = (now - (view.phase_started or now)).total_seconds()
        left = max(1.0, after[place] - in_phase) + sum(after[place + 1 :])
    return elapsed / (elapsed + left), left


def _place(phase: str) -> int:
    """Return which of PHASES a phase's text is; the first where none fits."""
    return next((i for i, (start, _) in enumerate(PHASES) if phase.startswith(start)), 0)
