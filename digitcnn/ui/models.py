"""The page's models: the selector above the tabs, and access to checkpoints by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from cachetools import LRUCache, cachedmethod
from markupsafe import Markup

from digitcnn.analysis.drawing_check import DrawingCheck, check_drawings
from digitcnn.analysis.metrics import accuracy_text
from digitcnn.digits.names import listed
from digitcnn.errors import CheckpointError
from digitcnn.folders import SHIPPED
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.training.run_record import FINISHED
from digitcnn.ui.clock import Clock, News
from digitcnn.ui.dropped import PREFIX, DroppedFile, DroppedModels
from digitcnn.ui.gradio_private import save_file_to_cache
from digitcnn.ui.toasts import toasting
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# As many as Compare takes.
MOST_FILES = 8
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

    @property
    def default(self) -> str | None:
        """The name that a new page selects: the shipped model, else the newest."""
        return _first_choice(self.choices())

    def get(self, name: Any) -> Checkpoint:
        """Return the checkpoint of that name; an unchecked value of any type.

        Raises CheckpointError where there is none or it is unusable.
        """
        if not isinstance(name, str) or not name:
            raise CheckpointError("No model is chosen; choose one above the tabs or train one.")
        if name.startswith(PREFIX):
            dropped = self.dropped.get(name)
            if dropped is None:
                raise CheckpointError("This dropped model has expired; drop the file again.")
            return dropped
        return self._workspace.checkpoints.get(name)

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
        """Return label and name of every usable checkpoint, newest first.

        session: a page's, whose dropped files come first.
        """
        trained_here = self._workspace.runs.digests()
        mine = self.dropped.of(session) if session else []
        return [(f"{_label(dropped)} · this page only", key) for key, dropped in mine] + [
            (_label(one, trained_here=one.digest in trained_here), one.name)
            for one in self._workspace.checkpoints.list()
            if isinstance(one, Checkpoint)
        ]

    def receive(self, files: Any, session: str) -> list[DroppedFile]:
        """Read the files that a page sent. Raises CheckpointError for too many at a time."""
        paths = [Path(file) for file in files or []]
        if len(paths) > MOST_FILES:
            raise CheckpointError(
                f"{len(paths)} files were dropped; drop up to {MOST_FILES} at a time."
            )
        return self.dropped.receive(paths, session)


def dropped_files_html(files: list[DroppedFile]) -> str:
    """Return a line per dropped file, accepted or refused."""
    return render("models/dropped_files.html", files=files) if files else ""


@dataclass(frozen=True)
class SelectorView:
    """What the selector shows. trained: the checkpoint of the latest finished run, or ""."""

    trained: str = ""
    labels: tuple[str, ...] = ()


def build_model_selector(
    workspace: Workspace, models: Models, clock: Clock, page: gr.Blocks
) -> gr.Dropdown:
    """Build the selector with its buttons to open and download files, inside ``page``."""
    choices = models.choices()
    with gr.Row(elem_classes=["model-row", "takes-files"]):
        select = gr.Dropdown(
            choices,
            value=_first_choice(choices),
            label="Model",
            info="Used on every tab",
            scale=5,
            elem_id="model-select",
        )
        add = gr.UploadButton(
            "Open file", file_count="multiple", scale=1, min_width=120, elem_id="model-drop"
        )
        download = gr.DownloadButton("Download", scale=1, min_width=120, elem_id="model-download")
    outcome = gr.HTML(elem_id="model-verdicts")
    warning = gr.HTML(elem_id="model-check")
    view = gr.State(SelectorView())

    def view_of(choices: list[tuple[str, str]]) -> SelectorView:
        ended = workspace.job.view().ended
        finished = ended is not None and ended.state == FINISHED
        trained = ended.checkpoint.stem if ended and finished and ended.checkpoint else ""
        return SelectorView(trained, tuple(label for label, _ in choices))

    def refresh(
        request: gr.Request, view: SelectorView, selected: str | None
    ) -> tuple[Any, SelectorView]:
        """Offer new files, and select the checkpoint of a run that has just finished."""
        choices = models.choices(request.session_hash)
        latest = view_of(choices)
        if latest == view:
            return gr.skip(), view
        names = [name for _, name in choices]
        if latest.trained in names and latest.trained != view.trained:
            return gr.Dropdown(choices, value=latest.trained), latest
        if selected not in names:
            return gr.Dropdown(choices, value=_first_choice(choices)), latest
        # Without a value: a choice made meanwhile stays.
        return gr.Dropdown(choices), latest

    @toasting
    def receive(files: Any, request: gr.Request) -> list[Any]:
        """Select the last good file, on this page alone."""
        session = request.session_hash or ""
        results = models.receive(files, session)
        keys = [result.key for result in results if result.key is not None]
        chosen = gr.Dropdown(models.choices(session), value=keys[-1]) if keys else gr.skip()
        return [dropped_files_html(results), chosen]

    @toasting
    def offer_download(name: str | None) -> Any:
        try:
            path = models.get(name).path if name else None
        except CheckpointError:
            path = None  # the selector follows within a second
        if path is None:
            return gr.DownloadButton(value=None, interactive=False)
        # Only a copy is served: the checkpoint folder stays private.
        copy = save_file_to_cache(path, download.GRADIO_CACHE)
        return gr.DownloadButton(value=copy, interactive=True)

    def warn(name: str | None) -> str:
        try:
            text = models.drawing_warning(name)
        except CheckpointError:
            return ""  # the tabs say so
        return Markup("<p>{}</p>").format(text) if text else ""

    def close(request: gr.Request) -> None:
        models.dropped.forget(request.session_hash or "")

    clock.watch(
        refresh,
        [view, select],
        [select, view],
        news=lambda: News((view_of(models.choices()), models.dropped.changes)),
    )
    quiet: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "queue": False,
    }
    for event in (page.load, select.change):
        event(offer_download, select, download, **quiet)
        event(warn, select, warning, **quiet)
    add.upload(receive, add, [outcome, select], api_visibility="private", show_progress="minimal")
    page.unload(close)
    return select


def _first_choice(choices: list[tuple[str, str]]) -> str | None:
    names = [name for _, name in choices]
    return SHIPPED if SHIPPED in names else (names[0] if names else None)


def _label(checkpoint: Checkpoint, *, trained_here: bool = False) -> str:
    details = checkpoint.details
    parts = [
        checkpoint.name,
        f"trained on {listed(details.digits)}" if details.digits else "weights only",
    ]
    which, where = details.first_result
    test = details.metrics.get(which)
    if test:
        claimed = "" if trained_here else " (claimed)"
        accuracy = accuracy_text(test["accuracy"], test["n"])
        parts.append(f"{accuracy} on {where}{claimed}")
    if details.state != "finished" and details.digits:
        parts.append(details.state)
    parts.append(checkpoint.digest[:8])
    return " · ".join(parts)
