"""The page: the model selector above the tabs, and what all tabs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.access import HEAD_SCRIPT, Access
from digitcnn.ui.sketchpad_tab import build_sketchpad_tab
from digitcnn.ui.toasts import toasting
from digitcnn.ui.train_tab import build_train_tab
from digitcnn.ui.wording import accuracy_text
from digitcnn.workspace import SHIPPED, Workspace

STYLE = Path(__file__).with_name("page.css")

# System fonts only: nothing is fetched from elsewhere.
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.blue,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    radius_size=gr.themes.sizes.radius_md,
)


def launch_options() -> dict[str, Any]:
    """What ``launch`` needs besides addresses: looks, and the script that keeps the token."""
    return {"theme": THEME, "css": STYLE.read_text("utf-8"), "head": HEAD_SCRIPT}


def build_page(workspace: Workspace, access: Access) -> gr.Blocks:
    """The whole page, not launched."""
    with gr.Blocks(title="digitcnn", analytics_enabled=False) as page:
        gr.HTML(
            "<h1>digitcnn</h1><p>A handwritten-digit lab: train a network, test it elsewhere, "
            "draw for it.</p>",
            elem_classes="masthead",
        )
        owner_token = gr.Textbox(visible="hidden", elem_id="owner-token", show_label=False)
        model_select = _build_model_selector(workspace, page)
        with gr.Tabs():
            with gr.Tab("Train", id="train"):
                build_train_tab(workspace, access, owner_token, page)
            with gr.Tab("Sketchpad", id="sketchpad"):
                build_sketchpad_tab(workspace, model_select)
    return page


def _build_model_selector(workspace: Workspace, page: gr.Blocks) -> gr.Dropdown:
    choices = _model_choices(workspace)
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
        choices = _model_choices(workspace)
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
        path = workspace.checkpoint(name).path if name else None
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


def _model_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """Label and name of every usable checkpoint, newest first."""
    return [
        (_label(found), found.name)
        for found in workspace.checkpoints.list()
        if isinstance(found, Checkpoint)
    ]


def _label(found: Checkpoint) -> str:
    details = found.details
    parts = [found.name, f"trained on {details.digits}" if details.digits else "bare weights"]
    test = details.metrics.get(details.digits or "") or details.metrics.get("held_out")
    if test:
        which = "test" if details.digits in details.metrics else "held-out"
        parts.append(
            f"{accuracy_text(test['accuracy'], test['n'])} on {details.digits} {which} (claimed)"
        )
    if details.state != "finished" and details.digits:
        parts.append(details.state)
    parts.append(found.digest[:8])
    return " · ".join(parts)
