"""The page: the model selector above the tabs, and what all tabs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from digitcnn.ui.access import HEAD_SCRIPT, Access
from digitcnn.ui.evaluate_tab import build_evaluate_tab
from digitcnn.ui.models import Models, build_model_selector
from digitcnn.ui.sketchpad_tab import build_sketchpad_tab
from digitcnn.ui.stability_tab import build_stability_tab
from digitcnn.ui.train_tab import build_train_tab
from digitcnn.workspace import Workspace

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
        models = Models(workspace)
        model_select = build_model_selector(workspace, models, page)
        with gr.Tabs():
            with gr.Tab("Train", id="train"):
                build_train_tab(workspace, access, owner_token, page)
            with gr.Tab("Evaluate", id="evaluate"):
                build_evaluate_tab(workspace, models, access, owner_token, model_select, page)
            with gr.Tab("Stability", id="stability"):
                build_stability_tab(workspace, models, model_select)
            with gr.Tab("Sketchpad", id="sketchpad"):
                build_sketchpad_tab(workspace, models, model_select)
    return page
