"""The page: the model selector above the tabs, the tabs, and the arguments of ``launch``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from digitcnn.network.reader import MAX_BYTES as MAX_FILE_BYTES
from digitcnn.ui.access import HEAD_SCRIPT, Access
from digitcnn.ui.api import build_api
from digitcnn.ui.clock import Clock
from digitcnn.ui.compare_tab import build_compare_tab
from digitcnn.ui.evaluate_tab import build_evaluate_tab
from digitcnn.ui.feedback.view import build_feedback_view
from digitcnn.ui.gradio_private import pending_calls
from digitcnn.ui.learn_section import build_learn_section
from digitcnn.ui.models import Models, build_model_selector
from digitcnn.ui.page_files import PageFiles
from digitcnn.ui.panels.section import build_panels
from digitcnn.ui.request_guard import RequestGuard
from digitcnn.ui.sketchpad_tab import build_sketchpad_tab
from digitcnn.ui.stability_tab import build_stability_tab
from digitcnn.ui.train_tab import build_train_tab
from digitcnn.web import bundle, charts
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# Calls in the queue, of all pages together; further calls are rejected at once.
QUEUE_LENGTH = 200

# Page sessions whose state is retained; the least recently used are dropped first. Each takes about
# 0.4 MB, that of a closed page too; an open page is used every second.
MAX_SESSIONS = 300

# System fonts only: nothing is loaded from elsewhere.
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.blue,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    radius_size=gr.themes.sizes.radius_md,
).set(
    # Gradio's greys and its blue have too little contrast.
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_300",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)


def launch_options(page: gr.Blocks, files: PageFiles) -> dict[str, Any]:
    """Return the arguments of ``launch`` besides addresses: style, head script, limits."""
    return {
        "theme": THEME,
        "css": bundle.style("tokens.css", "page.css") + charts.STYLE.read_text("utf-8"),
        "head": HEAD_SCRIPT,
        "footer_links": ["api", "gradio", "settings"],
        "allowed_paths": [],  # downloads are copied into the page's own folder
        "max_file_size": MAX_FILE_BYTES,
        "state_session_capacity": MAX_SESSIONS,
        "enable_monitoring": False,
        "ssr_mode": False,
        "num_workers": 0,  # they would serve files past the request guard
        "mcp_server": False,
        "app_kwargs": {
            "middleware": [
                Middleware(RequestGuard, files=files, pending=partial(pending_calls, page)),
            ]
        },
    }


def _build_link_line(
    access: Access, owner_token: gr.Textbox, link_line: Callable[[], str], page: gr.Blocks
) -> None:
    """Add a line that only the owner sees: the state of the public link."""
    shown = gr.HTML(elem_id="share-line")

    def show_link(request: gr.Request, token: Any) -> str:
        line = link_line() if access.is_owner(request, token) else ""
        return render("page/share_line.html", line=line).strip()

    page.load(
        show_link,
        owner_token,
        shown,
        js=access.WITH_TOKEN_JS,
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )


def build_page(
    workspace: Workspace, access: Access, link_line: Callable[[], str] = lambda: ""
) -> gr.Blocks:
    """Build the whole page, not launched. link_line: returns the state of the public link."""
    page: gr.Blocks
    with gr.Blocks(title="digitcnn", analytics_enabled=False) as page:
        gr.HTML(render("page/masthead.html"), elem_classes="masthead")
        owner_token = gr.Textbox(visible="hidden", elem_id="owner-token", show_label=False)
        _build_link_line(access, owner_token, link_line, page)
        clock = Clock()
        models = Models(workspace)
        model_select = build_model_selector(workspace, models, clock, page)
        with gr.Tabs(elem_classes="lab-tabs"):
            with gr.Tab("Train", id="train"):
                build_train_tab(workspace, access, owner_token, clock, page)
            with gr.Tab("Evaluate", id="evaluate"):
                build_evaluate_tab(workspace, models, access, owner_token, model_select, page)
            with gr.Tab("Stability", id="stability"):
                build_stability_tab(workspace, models, model_select)
            with gr.Tab("Sketchpad", id="sketchpad"):
                build_sketchpad_tab(workspace, models, model_select)
                build_panels(workspace, models)
                build_feedback_view(workspace, access)
                build_learn_section(workspace, models, access, owner_token, model_select, clock)
            with gr.Tab("Compare", id="compare"):
                build_compare_tab(workspace, models, access, owner_token, model_select, page)
        build_api(workspace, models)
        clock.build(page)
    page.queue(max_size=QUEUE_LENGTH)
    return page
