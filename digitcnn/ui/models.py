"""The models of the page: what the selector offers, and which one a tab works with."""

from __future__ import annotations

from typing import Any

import gradio as gr

from digitcnn.analysis.metrics import accuracy_text
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import SHIPPED, Workspace


class Models:
    """Finds the checkpoint that a page means by a name."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def get(self, name: str | None) -> Checkpoint:
        """The checkpoint of that name. Raises CheckpointError when there is none or it is bad."""
        if not name:
            raise CheckpointError("No model is chosen; train one, or choose one above the tabs.")
        return self._workspace.checkpoints.get(name)

    def choices(self) -> list[tuple[str, str]]:
        """Label and name of every usable checkpoint, newest first."""
        trained_here = self._workspace.runs.digests()
        return [
            (_label(found, trained_here=found.digest in trained_here), found.name)
            for found in self._workspace.checkpoints.list()
            if isinstance(found, Checkpoint)
        ]


def build_model_selector(workspace: Workspace, models: Models, page: gr.Blocks) -> gr.Dropdown:
    """The selector and its download button, inside ``page``."""
    choices = models.choices()
    with gr.Row(elem_classes="model-row"):
        select = gr.Dropdown(
            choices,
            value=_first_choice(choices),
            label="Model",
            info="answers on every tab",
            scale=5,
            elem_id="model-select",
        )
        download = gr.DownloadButton("Download", scale=1, min_width=120, elem_id="model-download")
    seen = gr.State(())

    @toasting
    def refresh(seen: tuple[str, ...], selected: str | None) -> tuple[Any, tuple[str, ...]]:
        """New files appear; the checkpoint of a run that ended since the last look is selected."""
        choices = models.choices()
        ended = workspace.job.view().ended
        trained = ended.checkpoint.stem if ended and ended.checkpoint else ""
        now = (trained, *(label for label, _ in choices))
        if now == seen:
            return gr.skip(), seen
        names = [name for _, name in choices]
        if trained in names and (not seen or seen[0] != trained):
            selected = trained
        elif selected not in names:
            selected = _first_choice(choices)
        return gr.Dropdown(choices, value=selected), now

    @toasting
    def offer(name: str | None) -> Any:
        path = models.get(name).path if name else None
        return gr.DownloadButton(value=path, interactive=path is not None)

    quiet: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "queue": False,
    }
    gr.Timer(1).tick(refresh, [seen, select], [select, seen], **quiet)
    page.load(refresh, [seen, select], [select, seen], **quiet)
    page.load(offer, select, download, **quiet)
    select.change(offer, select, download, **quiet)
    return select


def _first_choice(choices: list[tuple[str, str]]) -> str | None:
    names = [name for _, name in choices]
    return SHIPPED if SHIPPED in names else (names[0] if names else None)


def _label(found: Checkpoint, *, trained_here: bool) -> str:
    details = found.details
    parts = [found.name, f"trained on {details.digits}" if details.digits else "bare weights"]
    test = details.metrics.get(details.digits or "") or details.metrics.get("held_out")
    if test:
        which = "test" if details.digits in details.metrics else "held-out"
        claimed = "" if trained_here else " (claimed)"
        shown = accuracy_text(test["accuracy"], test["n"])
        parts.append(f"{shown} on {details.digits} {which}{claimed}")
    if details.state != "finished" and details.digits:
        parts.append(details.state)
    parts.append(found.digest[:8])
    return " · ".join(parts)
