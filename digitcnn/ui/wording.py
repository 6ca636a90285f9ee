"""Numbers as people read them."""

from __future__ import annotations

from digitcnn.intervals import wilson_interval


def accuracy_text(accuracy: float, n: int) -> str:
    """A fraction of ``n`` images as a percentage with its 95 % interval."""
    low, high = wilson_interval(round(accuracy * n), n)
    return f"{100 * accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def duration(seconds: float) -> str:
    """A duration for people: 40 s, 6 min 10 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
