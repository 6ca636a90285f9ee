"""The Feedback section of the Sketchpad tab: every verdict in a list, and what they add up to.

The section is ``view.html``, ``view.css`` and ``view.js``. As the pad does, it calls the functions
given to it here as plain POSTs, so what comes may be any JSON from anybody. Looking is for all, and
shows others by an alias alone; a verdict is changed by whoever gave it, who sends the secret of
their browser along, or by the owner.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import FeedbackError
from digitcnn.feedback import FeedbackEntry, FeedbackFilter, FeedbackStore, visitor_alias
from digitcnn.ui.access import Access
from digitcnn.ui.feedback import export
from digitcnn.ui.feedback.numbers import model_label, numbers_of
from digitcnn.ui.parts import picture
from digitcnn.ui.sketchpad_tab import Payload, replying, text_of
from digitcnn.workspace import Workspace

FOLDER = Path(__file__).parent

PAGE = 50


def build_feedback_view(workspace: Workspace, access: Access) -> None:
    """The section, inside the Sketchpad's open ``gr.Tab``, below the pad."""
    gr.HTML(
        html_template=(FOLDER / "view.html").read_text("utf-8"),
        css_template=(FOLDER / "view.css").read_text("utf-8"),
        js_on_load=(FOLDER / "view.js").read_text("utf-8"),
        apply_default_css=False,
        server_functions=feedback_functions(workspace.feedback, access),
        elem_id="feedback-view",
    )


def feedback_functions(store: FeedbackStore, access: Access) -> list[Callable[..., Payload]]:
    """What view.js calls, by the functions' names: any JSON in, a dictionary out, never an error.

    Each payload has ``{"owner", "visitor"}``, the secrets of whoever asks, the first empty for a
    visitor.
    """

    def answered(
        handler: Callable[[Payload, bool], Payload], payload: Any, request: gr.Request
    ) -> Payload:
        return replying(lambda sent: handler(sent, access.is_owner(request, sent.get("owner"))))(
            payload
        )

    def feedback_list(payload: Any, request: gr.Request) -> Payload:
        return answered(lambda sent, owner: page_of(store, sent, owner=owner), payload, request)

    def feedback_numbers(payload: Any, request: gr.Request) -> Payload:
        return answered(lambda sent, _: numbers_of(store, wanted_of(sent)), payload, request)

    def feedback_correct(payload: Any, request: gr.Request) -> Payload:
        now = datetime.now(timezone.utc)
        return answered(
            lambda sent, owner: correct(store, sent, now, owner=owner), payload, request
        )

    def feedback_erase(payload: Any, request: gr.Request) -> Payload:
        return answered(lambda sent, owner: erase(store, sent, owner=owner), payload, request)

    def feedback_export(payload: Any, request: gr.Request) -> Payload:
        return answered(lambda sent, owner: file_of(store, sent, owner=owner), payload, request)

    return [feedback_list, feedback_numbers, feedback_correct, feedback_erase, feedback_export]


# --- The list -----------------------------------------------------------------------------------


def page_of(store: FeedbackStore, payload: Payload, *, owner: bool) -> Payload:
    """One page of what the filters leave, and the models to choose from.

    payload: with what ``wanted_of`` reads, and ``{"page"}`` from 0 on; a page beyond the last is
    the last. ``{"rows", "total", "page", "pages", "models", "notice"}``. Raises FeedbackError.
    """
    wanted = wanted_of(payload)
    page = payload.get("page")
    if not isinstance(page, int) or isinstance(page, bool) or page < 0:
        raise FeedbackError("The list has pages from the first on; reload the page.")
    total = store.count(wanted)
    pages = max(1, -(-total // PAGE))
    page = min(page, pages - 1)
    alias = visitor_alias(text_of(payload, "visitor"))
    judged = store.scores_by_model(FeedbackFilter(wanted.visitor))
    return {
        "rows": [
            _row(row, mine=row.alias == alias, owner=owner)
            for row in store.entries(wanted, offset=page * PAGE, limit=PAGE)
        ],
        "total": total,
        "page": page,
        "pages": pages,
        "models": [{"digest": each.digest, "name": model_label(each)} for each in judged],
        "notice": store.notice if owner else None,  # it names the folder
    }


def wanted_of(payload: Payload) -> FeedbackFilter:
    """The filters: ``{"visitor", "whose": mine or everybody, "right": any, right or wrong,
    "digit": any, none or 0 to 9, "model": any or a digest}``. Raises FeedbackError."""
    whose = _one_of(payload, "whose", {"mine": text_of(payload, "visitor"), "everybody": None})
    right = _one_of(payload, "right", {"any": None, "right": True, "wrong": False})
    digits: dict[str, int | Literal["any", "none"]] = {"any": "any", "none": "none"}
    digits |= {str(digit): digit for digit in range(CLASSES)}
    model = text_of(payload, "model")
    return FeedbackFilter(
        visitor=whose,
        right=right,
        true_digit=_one_of(payload, "digit", digits),
        model=None if model == "any" else model,
    )


def _one_of(payload: Payload, key: str, meanings: dict[str, Any]) -> Any:
    value = payload.get(key)
    if not isinstance(value, str) or value not in meanings:
        raise FeedbackError(
            f"The filter {key!r} takes {', '.join(meanings)}; choose one of these, or reload the "
            "page."
        )
    return meanings[value]


def _row(row: FeedbackEntry, *, mine: bool, owner: bool) -> Payload:
    return {
        "id": row.id,
        "image": picture(row.image),
        "answer": row.answer,
        "digit": row.true_digit,
        "right": row.right,
        "confidence": row.confidence,
        "model": row.model_name,
        "digest": row.model_digest[:8],
        "alias": row.alias,
        "mine": mine,
        "may_change": mine or owner,
        "time": row.time.isoformat(),
        "corrected": None if row.corrected is None else row.corrected.isoformat(),
    }


# --- Changes ------------------------------------------------------------------------------------


def correct(store: FeedbackStore, payload: Payload, now: datetime, *, owner: bool) -> Payload:
    """``{"id", "digit": 0 to 9 or null}`` says anew what a sketch shows. Raises FeedbackError, or
    NotOwnerError for another's."""
    if "digit" not in payload:
        raise FeedbackError("A correction needs the digit that was drawn; choose it again.")
    store.correct(_id(payload), payload["digit"], now, visitor=_asking(payload, owner))
    return {"done": "Corrected."}


def erase(store: FeedbackStore, payload: Payload, *, owner: bool) -> Payload:
    """``{"id"}`` takes a verdict and its sketch away for good; raises as ``correct``."""
    store.erase(_id(payload), visitor=_asking(payload, owner))
    return {"done": "Deleted."}


def _id(payload: Payload) -> int:
    value = payload.get("id")
    if not isinstance(value, int) or isinstance(value, bool):
        raise FeedbackError("That is no verdict of the list; reload the page.")
    return value


def _asking(payload: Payload, owner: bool) -> str | None:
    """The secret under which something is changed; None for the owner, who needs none."""
    return None if owner else text_of(payload, "visitor")


# --- Files --------------------------------------------------------------------------------------


def file_of(store: FeedbackStore, payload: Payload, *, owner: bool) -> Payload:
    """``{"kind": set or list}``: ``{"name", "type", "content": base64}``.

    Everybody's for the owner, else the visitor's own. Raises FeedbackError where there is nothing.
    """
    wanted = FeedbackFilter(visitor=_asking(payload, owner))
    kinds = {"set": export.digit_set_zip, "list": export.list_csv}
    made = _one_of(payload, "kind", kinds)(store, wanted)
    return {
        "name": made.name,
        "type": made.kind,
        "content": base64.b64encode(made.content).decode("ascii"),
    }
