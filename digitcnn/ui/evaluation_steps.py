"""One evaluation as updates of the page, from the press of the button to the last figure.

Updates name the page's components; the components themselves are not used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from digitcnn.analysis.events import Event, FigureDrawn, FigureUnavailable
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.gap import own_kind_first
from digitcnn.analysis.metrics import gap
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import written
from digitcnn.errors import DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.evaluation import FigureCache, draw_figures, evaluate, write_figure
from digitcnn.ui import evaluation_view as view
from digitcnn.ui.background import progress_line, status_update, updates_of
from digitcnn.ui.error_browser import ANY, DIGITS, error_tiles
from digitcnn.ui.models import Models
from digitcnn.ui.parts import ViewUpdate, status_line
from digitcnn.ui.passes import checked_passes
from digitcnn.ui.set_chooser import MOST_SETS
from digitcnn.ui.subject import Subject
from digitcnn.workspace import Workspace

# Names of the components that are emptied when an evaluation starts, besides the figures.
_TEXTS = ("summary", "bars", "worst", "table", "words", "per_digit", "matrices", "errors")
# Errors shown at a glance.
WORST = 6


def evaluation_subject(workspace: Workspace, models: Models, name: Any, chosen: Any) -> Subject:
    """Check a page's choice of a model and test sets, of any type; the model's own kind is first.

    Raises DigitCNNError for what cannot be evaluated.
    """
    names = _set_names(chosen, [entry.name for entry in workspace.catalog.entries()])
    trained_on = models.get(name).details.digits
    return Subject.of(workspace, models, [name], own_kind_first(names, trained_on))


@dataclass(frozen=True, eq=False)
class EvaluationRequest:
    """What to evaluate, checked.

    passes: per mask type, for figure 9. example: index of the image of the first set that figure 6
    follows.
    """

    checkpoint: Checkpoint
    digit_sets: list[DigitSet]
    passes: int
    example: int

    @classmethod
    def check(
        cls,
        workspace: Workspace,
        models: Models,
        subject: Subject,
        passes: Any,
        digit: Any = ANY,
        place: Any = 0,
    ) -> EvaluationRequest:
        """Open a model and its test sets, and check a page's further input, of any type.

        digit, place: as ``example_of``. Raises DigitCNNError for what cannot be evaluated.
        """
        passes = checked_passes(passes)
        (checkpoint,) = subject.checkpoints(models)
        digit_sets = [workspace.catalog.open(set_name, "test") for set_name in subject.sets]
        return cls(checkpoint, digit_sets, passes, example_of(digit_sets[0], digit, place))


def evaluation_steps(
    workspace: Workspace, cache: FigureCache, request: EvaluationRequest, *, save: bool
) -> Iterator[ViewUpdate]:
    """Yield what the page shows, step by step; ``figures`` are PNG files by their names.

    save: write the figures into the folder of the run that trained the model, where there is one.
    Raises DigitCNNError where the figures cannot be written.
    """
    yield {**dict.fromkeys((*_TEXTS, "figures_note"), ""), "figures": {}}
    findings = yield from updates_of(
        lambda notify: evaluate(
            request.checkpoint,
            request.digit_sets,
            predict=workspace.predict,
            example=request.example,
            notify=notify,
        ),
        status_update,
    )
    yield _numbers(request, findings)
    folder = _run_folder(workspace, request.checkpoint.digest) if save else None
    pngs: dict[str, bytes] = {}
    missing: dict[str, str] = {}

    def figures() -> ViewUpdate:
        return {"figures": dict(pngs), "figures_note": view.figures_note(missing)}

    def show(event: Event) -> ViewUpdate | None:
        if isinstance(event, FigureUnavailable):
            missing[event.name] = event.reason
        if isinstance(event, FigureDrawn):
            pngs[event.name] = event.content
            if folder is not None:
                write_figure(event.name, event.content, folder)
        line = progress_line(event)
        # Figures from the cache come at once, with the next status.
        return None if line is None else {**figures(), "status": line}

    yield from updates_of(
        lambda notify: draw_figures(
            findings,
            request.checkpoint,
            request.passes,
            predict=workspace.predict,
            cache=cache,
            notify=notify,
        ),
        show,
    )
    summary = view.summary_line(request.checkpoint, findings.evaluations)
    yield {**figures(), "status": status_line(summary)}


def _numbers(request: EvaluationRequest, findings: Findings) -> ViewUpdate:
    checkpoint = request.checkpoint
    first, *others = findings.evaluations
    gaps = [gap(first, other) for other in others]
    worst = error_tiles(request.digit_sets[0], findings.predictions[0], checkpoint, most=WORST)
    return {
        "summary": view.summary(findings.evaluations, gaps),
        "bars": view.digit_errors(findings.evaluations),
        "worst": worst,
        "table": view.evaluations_table(findings.evaluations, gaps),
        "words": view.words(checkpoint, findings.evaluations, gaps),
        "per_digit": view.per_digit_table(findings.evaluations),
        "matrices": view.matrices(findings.evaluations),
        "errors": error_tiles(request.digit_sets[0], findings.predictions[0], checkpoint),
    }


def example_of(digit_set: DigitSet, digit: Any, place: Any) -> int:
    """Return the index of an image: the ``place``-th, from 0, of a digit or of all images.

    Raises DigitSetError where there is none.
    """
    whole = int(place) if isinstance(place, (int, float)) and place == place // 1 else -1
    if digit == ANY:
        indices = torch.arange(len(digit_set))
    elif digit in DIGITS:
        indices = (digit_set.labels == int(digit)).nonzero().squeeze(1)
    else:
        raise DigitSetError(f"{str(digit)[:40]!r} is not a digit; choose 0 to 9, or Any.")
    if not 0 <= whole < len(indices):
        images = "images" if digit == ANY else f"images of a {digit}"
        raise DigitSetError(
            f"{written(digit_set.name)} has {len(indices):,} {images}, numbered from 0, so there "
            f"is no image {str(place)[:20]}; choose another.",
            field="example",
        )
    return int(indices[whole])


def _set_names(chosen: Any, order: Sequence[str]) -> list[str]:
    """Return the chosen names in that order, whichever was ticked first; others come last."""
    names = chosen if isinstance(chosen, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise DigitSetError("No test set is chosen; choose one or more.", field="digits")
    if len(set(names)) > MOST_SETS:
        raise DigitSetError(
            f"{len(set(names))} test sets are chosen; choose up to {MOST_SETS} at a time.",
            field="digits",
        )
    places = {name: place for place, name in enumerate(order)}
    return sorted(names, key=lambda name: places.get(name, len(places)))


def _run_folder(workspace: Workspace, digest: str) -> Path | None:
    """Return the figures' folder of the run that trained a network; None for any other network."""
    for record in workspace.runs.records():
        if record.digest == digest:
            return workspace.runs.open(record.name).folder / "figures"
    return None
