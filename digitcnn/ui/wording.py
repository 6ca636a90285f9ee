"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase


def rough_duration(seconds: float) -> str:
    """Return a duration that is only estimated: 20 s, 4 min, 2 h."""
    if seconds < 55:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"


def duration(seconds: float) -> str:
    """Return a duration for people: 40 s, 6 min 10 s, 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 image``, ``2,007 images``. many: default ``one`` + s."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def lettered(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of compared models, each with the letter of its slot: ``new (A)``."""
    return tuple(f"{name} ({letter})" for name, letter in zip(names, ascii_uppercase, strict=False))


def shortened(name: str, most: int = 32) -> str:
    """Cut the middle out of a long name: its start and end distinguish it from others."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
