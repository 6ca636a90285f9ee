"""The Feedback section of the Sketchpad tab: a list of all entries, and statistics.

Everyone may read the list, in which visitors have aliases. An entry can be changed by its author,
whose browser sends its secret along, and by the owner.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Literal

import gradio as gr

from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import FeedbackError
from digitcnn.feedback.entry import FeedbackEntry, FeedbackFilter, visitor_alias
from digitcnn.feedback.store import FeedbackStore
from digitcnn.ui.access import Access
from digitcnn.ui.calls import Payload, replying, text_of
from digitcnn.ui.feedback import export
from digitcnn.ui.feedback.numbers import model_label, numbers_of
from digitcnn.ui.parts import html_view, image_address
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

PAGE = 50
# Sketches on the owner's wall.
WALL = 40


def build_feedback_view(workspace: Workspace, access: Access) -> None:
    """Build the section inside the Sketchpad's open ``gr.Tab``, below the pad."""
    html_view(
        "feedback-view",
        "feedback_view.css",
        value=render("feedback/view.html"),
        server_functions=feedback_functions(workspace.feedback, access),
    )


def feedback_functions(store: FeedbackStore, access: Access) -> list[Callable[..., Payload]]:
    """Return the functions that the section's script calls.

    Each payload has the caller's secrets, ``{"owner", "visitor"}``; owner is empty for a visitor.
    """

    def by_owner(payload: Payload, request: gr.Request) -> bool:
        return access.is_owner(request, payload.get("owner"))

    @replying
    def feedback_list(payload: Payload, request: gr.Request) -> Payload:
        return page_of(store, payload, owner=by_owner(payload, request))

    @replying
    def feedback_numbers(payload: Payload, _: gr.Request) -> Payload:
        return numbers_of(store, filter_of(payload))

    @replying
    def feedback_correct(payload: Payload, request: gr.Request) -> Payload:
        now = datetime.now(timezone.utc)
        return correct(store, payload, now, owner=by_owner(payload, request))

    @replying
    def feedback_erase(payload: Payload, request: gr.Request) -> Payload:
        return erase(store, payload, owner=by_owner(payload, request))

    @replying
    def feedback_export(payload: Payload, request: gr.Request) -> Payload:
        return file_of(store, payload, owner=by_owner(payload, request))

    @replying
    def feedback_wall(payload: Payload, request: gr.Request) -> Payload:
        access.require_owner(request, payload.get("owner"), to="see the class wall")
        return wall_of(store, payload)

    @replying
    def feedback_erase_all(payload: Payload, request: gr.Request) -> Payload:
        access.require_owner(request, payload.get("owner"), to="delete all feedback")
        return {"done": f"Deleted {store.erase_all():,} sketches with their feedback."}

    return [
        feedback_list,
        feedback_numbers,
        feedback_correct,
        feedback_erase,
        feedback_export,
        feedback_wall,
        feedback_erase_all,
    ]


def page_of(store: FeedbackStore, payload: Payload, *, owner: bool) -> Payload:
    """Return one page of the entries that match, and the models to choose from.

    payload: what ``filter_of`` reads, and ``{"page"}`` from 0 on; one beyond the last is the last.
    ``{"rows", "total", "page", "pages", "models", "notice"}``. Raises FeedbackError.
    """
    which = filter_of(payload)
    page = payload.get("page")
    if not isinstance(page, int) or isinstance(page, bool) or page < 0:
        raise FeedbackError("This page of the list does not exist; reload the page.")
    total = store.count(which)
    pages = max(1, -(-total // PAGE))
    page = min(page, pages - 1)
    alias = visitor_alias(text_of(payload, "visitor"))
    models = store.scores_by_model(FeedbackFilter(which.visitor))
    return {
        "rows": [
            _row(entry, mine=entry.alias == alias, owner=owner)
            for entry in store.entries(which, offset=page * PAGE, limit=PAGE)
        ],
        "total": total,
        "page": page,
        "pages": pages,
        "models": [{"digest": each.digest, "name": model_label(each)} for each in models],
        "notice": store.notice if owner else None,  # it names the folder
    }


def filter_of(payload: Payload) -> FeedbackFilter:
    """Return the filter that a payload describes. Raises FeedbackError.

    payload: ``{"visitor", "whose": mine or everybody, "right": any, right or wrong, "digit": any,
    none or 0 to 9, "model": any or a digest}``.
    """
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
            f"The filter {key!r} must be one of {', '.join(meanings)}; choose one, or reload the "
            "page."
        )
    return meanings[value]


def _row(entry: FeedbackEntry, *, mine: bool, owner: bool) -> Payload:
    return {
        "id": entry.id,
        "image": image_address(entry.image),
        "answer": entry.answer,
        "digit": entry.true_digit,
        "right": entry.right,
        "confidence": entry.confidence,
        "model": entry.model_name,
        "digest": entry.model_digest[:8],
        "alias": entry.alias,
        "mine": mine,
        "may_change": mine or owner,
        "time": entry.time.isoformat(),
        "corrected": None if entry.corrected is None else entry.corrected.isoformat(),
    }


def wall_of(store: FeedbackStore, payload: Payload) -> Payload:
    """Return the newest entries, and how many there are: in all, and by other visitors.

    payload: ``{"visitor"}``. Returns ``{"rows", "total", "visitors"}``. Raises FeedbackError.
    """
    rows = [_row(entry, mine=False, owner=True) for entry in store.entries(limit=WALL)]
    total = store.count()
    own = store.count(FeedbackFilter(text_of(payload, "visitor")))
    return {"rows": rows, "total": total, "visitors": total - own}


def correct(store: FeedbackStore, payload: Payload, now: datetime, *, owner: bool) -> Payload:
    """Change what a sketch shows: ``{"id", "digit": 0 to 9 or null}``.

    Raises FeedbackError, or NotOwnerError for another visitor's entry.
    """
    if "digit" not in payload:
        raise FeedbackError("The correction has no digit; choose it again.")
    store.correct(_id(payload), payload["digit"], now, visitor=_author(payload, owner))
    return {"done": "Corrected."}


def erase(store: FeedbackStore, payload: Payload, *, owner: bool) -> Payload:
    """Erase an entry with its sketch: ``{"id"}``. Raises as ``correct``."""
    store.erase(_id(payload), visitor=_author(payload, owner))
    return {"done": "Deleted."}


def _id(payload: Payload) -> int:
    value = payload.get("id")
    if not isinstance(value, int) or isinstance(value, bool):
        raise FeedbackError("This entry is not in the list; reload the page.")
    return value


def _author(payload: Payload, owner: bool) -> str | None:
    """Return the secret that must have authored an entry; None for the owner, who needs none."""
    return None if owner else text_of(payload, "visitor")


def file_of(store: FeedbackStore, payload: Payload, *, owner: bool) -> Payload:
    """Return a file, ``{"kind": set or list}``, as ``{"name", "type", "content": base64}``.

    Everyone's feedback for the owner, else the visitor's own. Raises FeedbackError where there is
    none.
    """
    which = FeedbackFilter(visitor=_author(payload, owner))
    kinds = {"set": export.digit_set_zip, "list": export.list_csv}
    file: Payload = _one_of(payload, "kind", kinds)(store, which)
    return file
