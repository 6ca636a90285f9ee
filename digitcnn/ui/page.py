"""The page: the header, the tabs, and the arguments of ``launch``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from digitcnn.network.reader import MAX_BYTES as MAX_FILE_BYTES
from digitcnn.ui.access import HEAD_SCRIPT, Access
from digitcnn.ui.api import build_api
from digitcnn.ui.calls import Payload, replying
from digitcnn.ui.clock import Clock
from digitcnn.ui.compare_tab import build_compare_tab
from digitcnn.ui.context import Context
from digitcnn.ui.drop_results import DropResults
from digitcnn.ui.evaluate_tab import build_evaluate_tab
from digitcnn.ui.feedback.view import build_feedback_view
from digitcnn.ui.gradio_private import limit_queue, pending_calls
from digitcnn.ui.invite import Invite
from digitcnn.ui.learn_section import build_learn_section
from digitcnn.ui.model_menu import ModelMenu
from digitcnn.ui.models import Models
from digitcnn.ui.page_files import PageFiles
from digitcnn.ui.request_guard import RequestGuard
from digitcnn.ui.sketchpad_tab import build_sketchpad_tab
from digitcnn.ui.stability_tab import build_stability_tab
from digitcnn.ui.train_tab import build_train_tab
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# Calls in the queue, of all pages together; further calls are rejected at once.
QUEUE_LENGTH = 200

# Page sessions whose state is retained; the least recently used are dropped first. Each takes about
# 0.4 MB, that of a closed page too; an open page is used every second.
MAX_SESSIONS = 300

# The five type sizes and the one radius of ``tokens.css``, for Gradio's own components.
_SMALL, _BODY, _LEAD, _TITLE = (
    f"var(--type-{name})" for name in ("small", "body", "lead", "title")
)
_TEXT = gr.themes.Size(
    name="digitcnn",
    xxs=_SMALL, xs=_SMALL, sm=_SMALL, md=_BODY, lg=_BODY, xl=_LEAD, xxl=_TITLE,
)  # fmt: skip
_RADIUS = gr.themes.Size(
    name="digitcnn", **dict.fromkeys(("xxs", "xs", "sm", "md", "lg", "xl", "xxl"), "8px")
)

# System fonts only: nothing is loaded from elsewhere.
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.blue,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    text_size=_TEXT,
    radius_size=_RADIUS,
).set(
    # Gradio's greys and its blue have too little contrast.
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_300",
    button_primary_background_fill="#0b5cad",
    button_primary_background_fill_hover="#094a8c",
    button_primary_background_fill_dark="#0b5cad",
    button_primary_background_fill_hover_dark="#094a8c",
    button_secondary_border_color="*border_color_primary",
    button_secondary_border_color_dark="*border_color_primary",
    button_secondary_text_color="*body_text_color",
    button_secondary_text_color_dark="*body_text_color",
    button_border_width="1px",
    button_large_padding="0 12px",
    button_medium_padding="0 12px",
    button_small_padding="0 12px",
    button_large_text_weight="500",
    button_medium_text_weight="500",
)


def launch_options(page: gr.Blocks, files: PageFiles) -> dict[str, Any]:
    """Return the arguments of ``launch`` besides addresses: style, head script, limits."""
    return {
        "theme": THEME,
        "css": bundle.style("tokens.css", "controls.css", "page.css", "charts.css", "results.css"),
        "head": HEAD_SCRIPT,
        "footer_links": ["api", "gradio", "settings"],
        "allowed_paths": [],  # downloads are copied into the page's own folder
        "max_file_size": MAX_FILE_BYTES,
        "state_session_capacity": MAX_SESSIONS,
        "enable_monitoring": False,
        "ssr_mode": False,
        # Gradio lacks this text, and screen readers would read its key.
        "i18n": gr.I18n(en={"common.complete": "Done"}),
        "num_workers": 0,  # they would serve files past the request guard
        "mcp_server": False,
        "app_kwargs": {
            "middleware": [
                Middleware(RequestGuard, files=files, pending=partial(pending_calls, page)),
            ]
        },
    }


def build_page(workspace: Workspace, access: Access, invite: Invite) -> gr.Blocks:
    """Build the whole page, not launched. invite: how others reach it."""
    page: gr.Blocks
    with gr.Blocks(title="digitcnn", analytics_enabled=False) as page:
        owner_token = gr.Textbox(visible="hidden", elem_id="owner-token", show_label=False)
        clock, models = Clock(), Models(workspace)
        model_select = build_header(workspace, models, access, clock, page, invite)
        context = Context(workspace, models, access, clock, page, owner_token, model_select)
        with gr.Tabs(elem_classes="lab-tabs"):
            with gr.Tab("Sketchpad", id="sketchpad"):
                build_sketchpad_tab(context)
                build_learn_section(context)
                build_feedback_view(workspace, access)
            with gr.Tab("Train", id="train"):
                run_tools = build_train_tab(context)
            with gr.Tab("Evaluate", id="evaluate") as tab:
                build_evaluate_tab(context, tab)
            with gr.Tab("Compare", id="compare") as tab:
                build_compare_tab(context, run_tools, tab)
            with gr.Tab("Stability", id="stability") as tab:
                build_stability_tab(context, tab)
        build_api(workspace, models)
        clock.build(page)
    limit_queue(page, QUEUE_LENGTH)
    return page


def build_header(
    workspace: Workspace,
    models: Models,
    access: Access,
    clock: Clock,
    page: gr.Blocks,
    invite: Invite,
) -> gr.Dropdown:
    """Build the header inside ``page``; return the model selector."""
    with gr.Row(elem_classes=["page-header", "model-row", "takes-files"]):
        gr.HTML(render("page/header_name.html"))
        menu = ModelMenu(workspace, models)
        gr.HTML(
            render("page/header_end.html"),
            elem_classes="header-end",
            server_functions=header_functions(access, invite, menu.facts),
        )
    drops = DropResults(models, "model-verdicts", "open")
    menu.connect(clock, page, drops, gr.HTML(elem_id="model-check"))
    return menu.select


def header_functions(
    access: Access, invite: Invite, facts: Callable[[Payload], Payload]
) -> list[Callable[..., Payload]]:
    """Return the functions that the page's scripts call.

    ``page_owner`` says whether the caller, ``{"owner": token}``, is the owner; ``invitation``
    and ``model_facts`` give the dialogs their content, ``{"html"}``.
    """

    @replying
    def page_owner(payload: Payload, request: gr.Request) -> Payload:
        return {"owner": access.is_owner(request, payload.get("owner"))}

    @replying
    def invitation(payload: Payload, request: gr.Request) -> Payload:
        access.require_owner(request, payload.get("owner"), to="invite others")
        return {"html": invite.html(payload.get("address"))}

    @replying
    def model_facts(payload: Payload) -> Payload:
        return facts(payload)

    return [page_owner, invitation, model_facts]
