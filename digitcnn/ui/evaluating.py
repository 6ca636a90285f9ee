"""One evaluation, from the press of the button to the last figure: what the page shows, in steps.

No component of the page is known here, only the names of what is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import torch

from digitcnn.analysis.figures import NAMES, Findings
from digitcnn.analysis.gap import own_kind_first
from digitcnn.analysis.metrics import evaluate, gap
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.shared_cache import Progress
from digitcnn.analysis.stability import Stability, passes
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import DigitSetError
from digitcnn.files import atomic_write
from digitcnn.options import MASKS, check_passes
from digitcnn.ui import evaluation_view as view
from digitcnn.ui.background import telling
from digitcnn.ui.confusion_cells import matrices
from digitcnn.ui.error_browser import ANY, DIGITS, tiles_of
from digitcnn.ui.figure_sheets import FigureSheets, figure_html
from digitcnn.ui.models import Models
from digitcnn.ui.parts import status_line
from digitcnn.ui.set_chooser import MOST_SETS
from digitcnn.ui.shown import Shown
from digitcnn.workspace import Workspace

R = TypeVar("R")

# Some of what is shown, by name; the rest stays as it is. "shown" is of type Shown, all else HTML:
# "status", the nine figures, and these.
Looks = dict[str, Any]
_TEXTS = ("table", "words", "per_digit", "matrices", "errors", "zip")
# What a section below showed of the evaluation before.
_SECTIONS = ("gap_status", "gap", "robustness_status", "robustness", "robustness_table")


class Evaluating:
    """One evaluation, from the press of the button to the last figure.

    name: of the checkpoint. chosen: names of test sets, from anybody. passes: of the stability
    figure. Raises a DigitCNNError for what cannot be evaluated.
    """

    def __init__(
        self,
        workspace: Workspace,
        models: Models,
        sheets: FigureSheets,
        name: str | None,
        chosen: Any,
        passes: Any,
    ) -> None:
        self._workspace, self._sheets = workspace, sheets
        self._passes = int(passes) if isinstance(passes, float) and passes.is_integer() else passes
        check_passes(self._passes)
        names = _set_names(chosen, [entry.name for entry in workspace.catalog.entries()])
        self.checkpoint = models.get(name)
        self.details = self.checkpoint.details
        self.digit_sets = [
            workspace.catalog.open(wanted, "test")
            for wanted in own_kind_first(names, self.details.digits)
        ]

    def steps(self, digit: Any, place: Any, *, keep: bool) -> Iterator[Looks]:
        """What the page shows, step by step. keep: write the figures into the run's folder."""
        example = example_of(self.digit_sets[0], digit, place)
        yield dict.fromkeys((*_TEXTS, *_SECTIONS, *NAMES), "")
        predictions = []
        for digit_set in self.digit_sets:
            predictions.append((yield from self._predicted(digit_set, features=False)))
        findings = self._findings(predictions, example)
        yield self._numbers(findings)
        yield from self._figures(findings, keep=keep)
        yield {"status": status_line(view.told(self.checkpoint, findings.evaluations))}

    def _predicted(
        self, digit_set: DigitSet, *, features: bool
    ) -> Generator[Looks, None, Predictions]:
        """The predictions, with what the page shows until they are there."""

        def work(progress: Progress) -> Predictions:
            return self._workspace.predict(
                self.checkpoint, digit_set, progress=progress, features=features
            )

        what = f"{digit_set.name} {digit_set.split}"
        return (yield from telling(work, what, lambda line: {"status": line}))

    def _figures(self, findings: Findings, *, keep: bool) -> Iterator[Looks]:
        """The nine; those that are kept from an earlier visit come at once."""
        folder = _run_folder(self._workspace, self.checkpoint.digest) if keep else None
        made: Looks = {}
        for number, name in enumerate(NAMES):
            if not self._is_kept(name, findings):
                yield {
                    **made,
                    "status": status_line(f"Drawing figure {number + 1} of 9.", number / 9),
                }
                made = {}
                if name == "09_stability_test":
                    findings = yield from self._with_stability(findings)
            png = self._png(name, findings)
            if folder is not None:
                _write(folder, name, png)
            made[name] = figure_html(name, png)
        yield made

    def feature_maps(self, digit: Any, place: Any) -> str:
        """Figure 6 of another image."""
        findings = self.findings(example_of(self.digit_sets[0], digit, place))
        name = "06_feature_maps"
        return figure_html(name, self._png(name, findings))

    def all_figures(self, digit: Any, place: Any) -> dict[str, bytes]:
        """The nine as PNG files; those that are kept are not drawn again."""
        findings = self.findings(example_of(self.digit_sets[0], digit, place))
        findings = _result(self._with_stability(findings))
        return {name: self._png(name, findings) for name in NAMES}

    def _png(self, name: str, findings: Findings) -> bytes:
        return self._sheets.png(name, findings, self.checkpoint.digest, self._passes)

    def _is_kept(self, name: str, findings: Findings) -> bool:
        return self._sheets.has(name, findings, self.checkpoint.digest, self._passes)

    def findings(self, example: int) -> Findings:
        """All that the figures show but the passes, of predictions that are kept or made now."""
        predictions = [
            self._workspace.predict(self.checkpoint, digit_set) for digit_set in self.digit_sets
        ]
        return self._findings(predictions, example)

    def _findings(self, predictions: Sequence[Predictions], example: int) -> Findings:
        scale = self.checkpoint.temperature
        return Findings(
            model=self.checkpoint.name,
            classifier=self.checkpoint.classifier,
            digit_sets=self.digit_sets,
            predictions=predictions,
            evaluations=[evaluate(found, scale) for found in predictions],
            stabilities=(),
            temperature=self.details.temperature,
            history=self.details.history,
            trained_on=self.details.digits,
            example=example,
        )

    def _numbers(self, findings: Findings) -> Looks:
        first, *others = findings.evaluations
        gaps = [gap(first, other) for other in others]
        names = [found.digits for found in findings.evaluations]
        now = Shown(self.checkpoint.name, self.checkpoint.digest, tuple(names))
        return {
            "table": view.evaluations_table(findings.evaluations, gaps),
            "words": f"<p>{escape(view.calibration_sentence(self.checkpoint))}</p>"
            + view.csv_links(findings.evaluations, gaps),
            "per_digit": view.per_digit_table(findings.evaluations),
            "matrices": matrices(findings.evaluations),
            "errors": tiles_of(self.digit_sets[0], findings.predictions[0], self.checkpoint),
            "shown": now,
        }

    def _with_stability(self, findings: Findings) -> Generator[Looks, None, Findings]:
        """Findings with the passes of figure 9 over the last set, which need its features."""
        if self._is_kept("09_stability_test", findings):
            return findings
        with_features = yield from self._predicted(self.digit_sets[-1], features=True)
        results: list[Stability] = []
        for masks in MASKS:
            for step in passes(
                findings.network, with_features, self._passes, masks=masks,
                temperature=self.checkpoint.temperature,
            ):  # fmt: skip
                if isinstance(step, Stability):
                    results.append(step)
                else:
                    share = step.index / step.passes
                    yield {"status": status_line(f"Pass {step.index} of {step.passes}.", share)}
        return dataclasses.replace(findings, stabilities=results)


def example_of(digit_set: DigitSet, digit: Any, place: Any) -> int:
    """The image that figure 6 follows: the ``place``-th, from 0, of a digit or of all images.

    Raises DigitSetError where there is none.
    """
    whole = int(place) if isinstance(place, (int, float)) and place == place // 1 else -1
    if digit == ANY:
        places = torch.arange(len(digit_set))
    elif digit in DIGITS:
        places = (digit_set.labels == int(digit)).nonzero().squeeze(1)
    else:
        raise DigitSetError(f"{str(digit)[:40]!r} is no digit to follow; choose one, or any.")
    if not 0 <= whole < len(places):
        which = "images" if digit == ANY else f"images of a {digit}"
        raise DigitSetError(
            f"{digit_set.name} has {len(places):,} {which}, counted from 0, so there is no number "
            f"{str(place)[:20]}; choose another to follow."
        )
    return int(places[whole])


def _set_names(chosen: Any, order: Sequence[str]) -> list[str]:
    """The names that are chosen, in that order, whichever was ticked first; others come last."""
    names = chosen if isinstance(chosen, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise DigitSetError("No test set is chosen; choose one or more.")
    if len(set(names)) > MOST_SETS:
        raise DigitSetError(
            f"{len(set(names))} test sets are chosen; choose up to {MOST_SETS} at a time."
        )
    places = {name: place for place, name in enumerate(order)}
    return sorted(names, key=lambda name: places.get(name, len(places)))


def _result(steps: Generator[Any, None, R]) -> R:
    """What a generator returns; what it yields is left out."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result


def _run_folder(workspace: Workspace, digest: str) -> Path | None:
    """Where the figures of the run that made this network go; None for a network of elsewhere."""
    for record in workspace.runs.records():
        if record.digest == digest:
            return workspace.runs.open(record.name).folder / "figures"
    return None


def _write(folder: Path, name: str, png: bytes) -> None:
    """Raises DigitSetError where the folder cannot be written."""
    try:
        folder.mkdir(exist_ok=True)
        with atomic_write(folder / f"{name}.png") as file:
            file.write(png)
    except OSError as error:
        raise DigitSetError(
            f"The figures cannot be written to {folder} ({error.strerror or error}); make room, or "
            "change its permissions."
        ) from error
