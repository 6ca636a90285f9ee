"""How much of a run is left: one share and one time across its epochs and the phases after them."""

from __future__ import annotations

from datetime import datetime

from digitcnn.training.view import TrainingView

# Before the first progress of a training is known.
_LOADING_SHARE = 0.01


def remaining(view: TrainingView, now: datetime) -> tuple[float, float | None]:
    """Return the share that is done, 0 to 1, and the seconds left; None where nothing is known.

    The share is at least ``view.least_share``; the seconds count down to no less than one.
    """
    progress = view.progress
    if progress is None or view.started is None:
        return max(_LOADING_SHARE, view.least_share), None
    elapsed = (now - view.started).total_seconds()
    after = view.work.seconds_after(progress.images_per_second)
    if view.phase == "training":
        left = progress.seconds_left + sum(after.values())
    else:
        place = next((i for i, start in enumerate(after) if view.phase.startswith(start)), 0)
        current, *later = list(after.values())[place:]
        in_phase = (now - (view.phase_started or now)).total_seconds()
        left = max(0.0, current - in_phase)
        if view.phase_done:  # a phase that takes longer than usual goes on as slowly
            left = max(left, in_phase * (1 / view.phase_done - 1))
        left += sum(later)
    left = max(1.0, left)
    return max(elapsed / (elapsed + left), view.least_share), left
