"""The page's header, one row: name, model chip, Invite and the owner's badge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from digitcnn.ui.access import Access
from digitcnn.ui.clock import Clock
from digitcnn.ui.drop_results import DropResults
from digitcnn.ui.invite import Invite
from digitcnn.ui.model_menu import ModelMenu, ModelNotes
from digitcnn.ui.models import Models
from digitcnn.ui.sketchpad_tab import Payload, replying
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace


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
    notes = ModelNotes(
        DropResults(models, "model-verdicts", "open"), gr.HTML(elem_id="model-check")
    )
    menu.connect(clock, page, notes)
    return menu.select


def header_functions(
    access: Access, invite: Invite, facts: Callable[[Payload], Payload]
) -> list[Callable[..., Payload]]:
    """Return the functions that the page's scripts call: JSON in, a dictionary out, no errors.

    ``page_owner`` says whether the caller, ``{"owner": token}``, is the owner; ``invitation``
    and ``model_facts`` give the dialogs their content, ``{"html"}``.
    """

    def page_owner(payload: Any, request: gr.Request) -> Payload:
        return replying(lambda sent: {"owner": access.is_owner(request, sent.get("owner"))})(
            payload
        )

    def invitation(payload: Any, request: gr.Request) -> Payload:
        def handle(sent: Payload) -> Payload:
            access.require_owner(request, sent.get("owner"), to="invite others")
            return {"html": invite.html(sent.get("address"))}

        return replying(handle)(payload)

    @replying
    def model_facts(payload: Payload) -> Payload:
        return facts(payload)

    return [page_owner, invitation, model_facts]
