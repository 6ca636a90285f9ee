"""Progress of an analysis, as typed events.

Computations call ``notify`` with one of these. The page and the command line show ``step_of`` an
event. ``PassResult`` is one of them: a finished pass with dropout on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from digitcnn.analysis.stability import PassResult
from digitcnn.options import FIGURES


@dataclass(frozen=True)
class ImagesProcessed:
    """Some images of a task are done.

    task: for people, such as ``digitcnn-mnist on USPS test``. done, total: images.
    """

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class FigureStarted:
    """One of the nine figures is about to be drawn; ``number`` counts from 1."""

    number: int


@dataclass(frozen=True)
class FigureDrawn:
    """One of the nine figures, as the bytes of a file: PNG unless another type was requested."""

    name: str
    content: bytes


@dataclass(frozen=True)
class FigureUnavailable:
    """One of the nine figures cannot be drawn of this model; ``reason`` is one sentence."""

    name: str
    reason: str


Event = ImagesProcessed | PassResult | FigureStarted | FigureDrawn | FigureUnavailable
Notify = Callable[[Event], None]


@dataclass(frozen=True)
class Step:
    """How far an analysis is.

    task, unit: for people, such as ``dropout passes`` and ``pass``. text: the same as a sentence.
    """

    task: str
    unit: str
    done: int
    total: int
    text: str


def step_of(event: Event) -> Step | None:
    """Return an event of progress as a step; None for an event that carries a result."""
    match event:
        case ImagesProcessed(task, done, total):
            return Step(task, "image", done, total, f"{task}: {done:,} of {total:,} images.")
        case PassResult(index=index, passes=passes):
            return Step("dropout passes", "pass", index, passes, f"Pass {index} of {passes}.")
        case FigureStarted(number=number):
            text = f"Drawing figure {number} of {len(FIGURES)}."
            return Step("drawing figures", "figure", number - 1, len(FIGURES), text)
    return None


def ignore(event: Event) -> None:
    """Do nothing: the default of ``notify``."""
