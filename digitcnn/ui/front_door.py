"""What passes from the network to Gradio: listed routes, small bodies, files made for the page.

Gradio has more routes than this page uses, some of which write files, report what visitors do, or
fetch any address that a visitor names. ``FrontDoor`` stands before all of them and lets through
what stands on ``ROUTES``. It looks at requests only: answers pass unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digitcnn.ui.page_files import PageFiles

# A minute of drawing is 256 KiB, the largest picture of the pad 4 MiB.
MAX_BODY_BYTES = 8 << 20
# Brackets and commas; the longest sketch has half as many. More would keep everybody waiting.
MAX_PARTS = 300_000
# A few checkpoints at once; each is at most 64 MB, and Gradio counts them one by one.
MAX_UPLOAD_BYTES = 260 << 20
# Unfinished calls of one page in the queue; a page itself has one or two.
MAX_WAITING = 8

UPLOAD = "/gradio_api/upload"
QUEUE_JOIN = "/gradio_api/queue/join"
FILE = "/gradio_api/file="

_READ = (
    r"/|/config/?|/logout|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon(/\d+)?"
    r"|/(static|assets|svelte)/.+"
    r"|/gradio_api/((user|login_check|token|app_id|info)/?|openapi\.json|startup-events|theme\.css"
    r"|queue/(data|status)|upload_progress|heartbeat/[^/]+|call/(v2/)?[^/]+/[^/]+|file=.+)"
)
_WRITE = (
    r"/login/?"
    r"|/gradio_api/(queue/join|component_server/?|upload|cancel|reset/?|(run|api|call|call/v2)/[^/]+/?)"
)
ROUTES = {
    "GET": re.compile(_READ),
    "HEAD": re.compile(_READ),
    "POST": re.compile(_WRITE),
    "OPTIONS": re.compile(r"/.*"),
}


class _Refused(Exception):
    """A request that does not pass: the HTTP status, and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class FrontDoor:
    """ASGI middleware around Gradio's app.

    files: where uploads and what is offered for download lie; nothing else can be read by path.
    waiting: how many calls of a page session the queue holds.
    """

    def __init__(self, app: ASGIApp, files: PageFiles, waiting: Callable[[str], int]) -> None:
        self._app, self._files, self._waiting = app, files, waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            receive = await self._checked(scope, receive)
        except _Refused as refused:
            # The form in which Gradio's own page expects a refusal.
            answer = JSONResponse({"detail": str(refused)}, refused.status)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """The body's messages, for an HTTP request that may pass. Raises _Refused."""
        route = _route(scope)
        allowed = ROUTES.get(scope["method"]) if scope["type"] == "http" else None
        if allowed is None or not allowed.fullmatch(route):
            raise _Refused(404, "This lab has nothing at that address.")
        if route.startswith(FILE) and not self._files.holds(Path(route[len(FILE) :])):
            raise _Refused(403, "That file is not offered; download it by the page's buttons.")
        if scope["method"] != "POST":
            return receive
        announced = _announced_bytes(scope)
        if route == UPLOAD:
            self._check_upload(announced)
            return receive
        body = await _body(receive, announced)
        if route.startswith("/gradio_api/"):
            self._check_call(route, body)
        return _again(body, receive)

    def _check_upload(self, announced: int | None) -> None:
        if announced is None:
            raise _Refused(411, "An upload must say its length.")
        if announced > MAX_UPLOAD_BYTES:
            raise _too_large(announced, MAX_UPLOAD_BYTES)
        if not self._files.have_room_for(announced):
            raise _Refused(
                507, "Too many uploads are kept; they are deleted after an hour, so come back then."
            )

    def _check_call(self, route: str, body: bytes) -> None:
        if sum(map(body.count, (b"[", b"{", b","))) > MAX_PARTS:
            raise _Refused(413, f"A call has at most {MAX_PARTS:,} parts; draw less.")
        try:
            posted = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Refused(400, "A call takes JSON that is not nested deeply.") from error
        if _names_an_address(posted):
            raise _Refused(400, "This lab fetches no file from elsewhere; upload the file itself.")
        session = posted.get("session_hash") if isinstance(posted, dict) else None
        full = isinstance(session, str) and self._waiting(session) >= MAX_WAITING
        if route == QUEUE_JOIN and full:
            raise _Refused(429, "This page has asked for much already; wait for its answers.")


def _route(scope: Scope) -> str:
    """The path within the app, whether or not a proxy took its own part away."""
    path: str = scope.get("path", "")
    root = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _announced_bytes(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def _too_large(size: int, most: int) -> _Refused:
    return _Refused(413, f"That is {size / 1e6:.1f} MB; at most {most / 1e6:.0f} MB are taken.")


async def _body(receive: Receive, announced: int | None) -> bytes:
    """The whole body. Raises _Refused as soon as it is too large."""
    if announced is not None and announced > MAX_BODY_BYTES:
        raise _too_large(announced, MAX_BODY_BYTES)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "The connection ended before the request did.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large(size, MAX_BODY_BYTES)
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever comes, which is the end of the connection."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _names_an_address(posted: Any) -> bool:
    """Whether a file object anywhere in it has an address for its path: Gradio would fetch it."""
    left = [posted]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            path = item.get("path")
            if isinstance(path, str) and ("://" in path or path.lower().startswith("http")):
                return True
            item = item.values()
        elif not isinstance(item, list):
            continue
        left.extend(inner for inner in item if isinstance(inner, (dict, list)))
    return False
