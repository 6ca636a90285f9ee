"""Handlers and progress that several tabs share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from digitcnn.analysis.events import Event, FigureStarted, ImagesProcessed, Notify
from digitcnn.errors import DigitSetError
from digitcnn.ui.background import events_of, status_update, updates_of
from digitcnn.ui.parts import status_line


def test_progress_is_thinned_and_other_events_are_all_shown() -> None:
    def work(notify: Notify) -> str:
        for done in range(1, 101):
            notify(ImagesProcessed("m on few test", done, 100))
        for number in range(1, 10):
            notify(FigureStarted(number))
        return "result"

    def collect() -> Iterator[dict[str, Any]]:
        result.append((yield from updates_of(work, status_update)))

    result: list[str] = []
    texts = [update["status"] for update in collect()]
    assert result == ["result"]
    assert "m on few test: 1 of 100 images." in texts[0]
    assert sum("images." in text for text in texts) < 100
    # Screen readers read out the start and the end, not the steps.
    assert all('aria-live="off"' in text for text in texts)
    assert 'aria-live="polite"' in status_line("Stopped.")
    assert [f"Drawing figure {n} of 9." in text for n, text in enumerate(texts[-9:], 1)] == [
        True
    ] * 9


def test_an_error_of_the_work_is_raised() -> None:
    def work(notify: Notify) -> None:
        raise DigitSetError("gone")

    with pytest.raises(DigitSetError, match="gone"):
        next(events_of(work))


def test_the_next_event_ends_the_work_of_a_closed_page() -> None:
    event: Event = FigureStarted(1)
    closed, ended = threading.Event(), threading.Event()
    went_on = []

    def work(notify: Notify) -> None:
        try:
            notify(event)
            assert closed.wait(30)
            notify(event)
            went_on.append(True)
        finally:
            ended.set()

    events = events_of(work)
    assert next(events) == event
    events.close()
    closed.set()
    assert ended.wait(30)
    assert not went_on
