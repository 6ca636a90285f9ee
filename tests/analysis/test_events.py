from __future__ import annotations

from digitcnn.analysis.events import FigureDrawn, FigureStarted, ImagesProcessed, Step, step_of
from digitcnn.analysis.stability import PassResult


def test_events_of_progress_are_steps_and_results_are_not() -> None:
    assert [
        step_of(event)
        for event in (
            ImagesProcessed("mine on small test", 1_200, 4_000),
            PassResult("shared", 3, 12, 0.9),
            FigureStarted(2),
            FigureDrawn("02_sample_data", b""),
        )
    ] == [
        Step("mine on small test", "image", 1_200, 4_000,
             "mine on small test: 1,200 of 4,000 images."),
        Step("dropout passes", "pass", 3, 12, "Pass 3 of 12."),
        Step("drawing figures", "figure", 1, 9, "Drawing figure 2 of 9."),
        None,
    ]  # fmt: skip
