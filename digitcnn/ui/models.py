"""The page's models: access to checkpoints by name, and their labels in lists."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from cachetools import LRUCache, cachedmethod

from digitcnn.analysis.drawing_check import DrawingCheck, check_drawings
from digitcnn.digits.names import listed
from digitcnn.errors import CheckpointError
from digitcnn.folders import FIRST_CHOICES, SHIPPED_FOLDER
from digitcnn.intervals import percent
from digitcnn.network.checkpoint import Checkpoint, load
from digitcnn.network.details import Details
from digitcnn.options import MOST_COMPARED
from digitcnn.training.run_record import FINISHED
from digitcnn.ui.dropped import PREFIX, DroppedFile, DroppedModels
from digitcnn.workspace import Workspace

WARNINGS_HELD = 64


class Models:
    """Finds a checkpoint by name: in the folder, or among those dropped on the page."""

    def __init__(
        self, workspace: Workspace, check: Callable[[Checkpoint], DrawingCheck] = check_drawings
    ) -> None:
        self._workspace, self._check = workspace, check
        self.dropped = DroppedModels(digits=workspace.scoring_digits)
        self._warnings: LRUCache[tuple[str, str], str] = LRUCache(WARNINGS_HELD)
        self._checked = threading.Condition()
        self._run_names: dict[tuple[str, str | None], str] = {}

    @property
    def default(self) -> str | None:
        """The name that a new page selects."""
        return self.first_choice(self.choices())

    def first_choice(self, choices: list[tuple[str, str]]) -> str | None:
        """Return what a new page selects among ``choices``: a shipped model, else the newest."""
        names = self.own_names(choices)
        return next((name for name in (*FIRST_CHOICES, *names) if name in names), None)

    def own_names(self, choices: list[tuple[str, str]], selected: Any = None) -> list[str]:
        """Return the names in ``choices`` without the models of experiments but ``selected``."""
        grouped = self._workspace.runs.grouped_checkpoints() - {str(selected)}
        return [name for _, name in choices if name not in grouped]

    def get(self, name: Any) -> Checkpoint:
        """Return the checkpoint of that name; an unchecked value of any type.

        Raises CheckpointError where there is none or it is unusable.
        """
        if not isinstance(name, str) or not name:
            raise CheckpointError("No model is chosen; choose one in the header or train one.")
        if name.startswith(PREFIX):
            dropped = self.dropped.get(name)
            if dropped is None:
                raise CheckpointError("This dropped model has expired; drop the file again.")
            return dropped
        return self._named(self._workspace.checkpoints.get(name))

    def _named(self, checkpoint: Checkpoint) -> Checkpoint:
        """Give a model the name of its run, which may have been renamed since its file was written.

        As of the latest ``choices``, which the page's clock asks for every second.
        """
        name = self._run_names.get((checkpoint.name, checkpoint.digest), checkpoint.name)
        return checkpoint if name == checkpoint.name else replace(checkpoint, name=name)

    def details(self, name: str) -> Details:
        """Return what a model's file says about it, without its network. Raises as ``get``."""
        if name.startswith(PREFIX):
            return self.get(name).details
        return self._workspace.checkpoints.find(name).details

    @property
    def just_trained(self) -> str:
        """The model of the latest finished run since the app started; empty without one."""
        ended = self._workspace.job.view().ended
        finished = ended is not None and ended.state == FINISHED
        return ended.checkpoint.stem if ended and finished and ended.checkpoint else ""

    def drawing_warning(self, name: str | None) -> str:
        """Return a warning if a model misreads too many built-in sketches, else "".

        Checked once per network; concurrent callers wait. Raises CheckpointError as ``get``.
        """
        return self._warning(self.get(name))

    @cachedmethod(
        lambda self: self._warnings,
        key=lambda self, checkpoint: (checkpoint.name, checkpoint.digest),
        condition=lambda self: self._checked,
    )
    def _warning(self, checkpoint: Checkpoint) -> str:
        return self._check(checkpoint).warning

    def choices(self, session: str | None = None) -> list[tuple[str, str]]:
        """Return label and name of every usable checkpoint, newest first, experiments' last.

        session: a page's, whose dropped files come first.
        """
        trusted = self._workspace.runs.digests()
        grouped = self._workspace.runs.grouped_checkpoints()
        self._run_names = self._workspace.runs.names_of_models()
        own = self.dropped.of(session) if session else []
        return [(f"{_label(dropped)} · this page only", key) for key, dropped in own] + [
            (_label(self._named(one), trusted=one.digest in trusted or _is_shipped(one)), one.name)
            for one in sorted(
                (one for one in self._workspace.checkpoints.list() if isinstance(one, Checkpoint)),
                key=lambda one: one.name in grouped,
            )
        ]

    def receive(self, paths: Sequence[Path], session: str) -> Iterator[DroppedFile]:
        """Read the files that a page sent. Raises CheckpointError at once for too many."""
        if len(paths) > MOST_COMPARED:
            raise CheckpointError(
                f"{len(paths)} files were dropped; drop up to {MOST_COMPARED} at a time."
            )
        return self.dropped.receive(paths, session)


_SHIPPED = [SHIPPED_FOLDER / f"{name}.pt" for name in FIRST_CHOICES]


def _is_shipped(checkpoint: Checkpoint) -> bool:
    """Return whether a model is one of those that come with digitcnn, or a copy of it."""
    return checkpoint.path in _SHIPPED or checkpoint.digest in _shipped_digests()


@cache
def _shipped_digests() -> set[str]:
    """Read the shipped models for their digests."""
    return {load(file).digest for file in _SHIPPED if file.is_file()}


def _label(checkpoint: Checkpoint, *, trusted: bool = False) -> str:
    """Return the name and one accuracy; the rest is in the model's details.

    trusted: whether the accuracy was measured by digitcnn rather than claimed by a file.
    """
    details = checkpoint.details
    if not details.digits:
        return f"{checkpoint.name} · no training details"
    parts = [checkpoint.name]
    which, where = details.first_result
    test = details.metrics.get(which)
    if test:
        claimed = "" if trusted else " (claimed)"
        parts.append(f"{percent(test['accuracy'])} on {where}{claimed}")
    else:
        parts.append(f"trained on {listed(details.digits)}")
    if details.state not in ("", "finished"):
        parts.append(details.state)
    return " · ".join(parts)
