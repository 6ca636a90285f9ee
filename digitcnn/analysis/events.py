"""Progress of an analysis, as typed events.

Computations call ``notify`` with one of these; the page and the command line each handle them in
one place. ``PassResult`` is one of them: a finished pass with dropout on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from digitcnn.analysis.stability import PassResult


@dataclass(frozen=True)
class ImagesProcessed:
    """Some images of a task are done.

    task: for people, such as ``digitcnn-mnist on usps test``. done, total: images.
    """

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class FigureStarted:
    """One of the nine figures is about to be drawn; ``number`` counts from 1."""

    name: str
    number: int


@dataclass(frozen=True)
class FigureDrawn:
    """One of the nine figures, as the bytes of a file: PNG unless another type was asked for."""

    name: str
    content: bytes


@dataclass(frozen=True)
class FigureUnavailable:
    """One of the nine figures cannot be drawn of this model; ``reason`` is one sentence."""

    name: str
    reason: str


Event = ImagesProcessed | PassResult | FigureStarted | FigureDrawn | FigureUnavailable
Notify = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing: the default of ``notify``."""
