"""Filter requests before Gradio sees them: known routes, small bodies, files of this page only.

Gradio has more routes than this page uses; some of them write files, report what visitors do, or
fetch any address that a visitor names. Responses are not inspected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digitcnn.ui.page_files import PageFiles

# A minute of drawing is 256 KiB, the largest image of the pad 4 MiB.
MAX_BODY_BYTES = 8 << 20
# Brackets and commas; the longest sketch has half as many. Parsing more would block everybody.
MAX_VALUES = 300_000
# A few checkpoints at once; each is at most 64 MB, and Gradio counts them one by one.
MAX_UPLOAD_BYTES = 260 << 20
# Unfinished calls of one page in the queue; a page itself has one or two.
MAX_PENDING = 8

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


class _RejectedRequest(Exception):
    """A request that does not pass, with its HTTP status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RequestGuard:
    """ASGI middleware around Gradio's app.

    files: uploads and offered downloads; no other files can be read by path.
    pending: returns how many calls of a page session the queue holds.
    """

    def __init__(self, app: ASGIApp, files: PageFiles, pending: Callable[[str], int]) -> None:
        self._app, self._files, self._pending = app, files, pending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with its rejection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            receive = await self._checked(scope, receive)
        except _RejectedRequest as rejected:
            # The form in which Gradio's own page expects an error.
            response = JSONResponse({"detail": str(rejected)}, rejected.status)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Return the body's messages. Raises _RejectedRequest for a request to reject."""
        route = _route(scope)
        allowed = ROUTES.get(scope["method"]) if scope["type"] == "http" else None
        if allowed is None or not allowed.fullmatch(route):
            raise _RejectedRequest(404, "There is no page at this address.")
        if route.startswith(FILE) and not self._files.holds(Path(route[len(FILE) :])):
            raise _RejectedRequest(
                403, "This file is not available; use the page's download buttons."
            )
        if scope["method"] != "POST":
            return receive
        announced = _announced_bytes(scope)
        if route == UPLOAD:
            self._check_upload(announced)
            return receive
        body = await _read_body(receive, announced)
        if route.startswith("/gradio_api/"):
            self._check_call(route, body)
        return _replay(body, receive)

    def _check_upload(self, announced: int | None) -> None:
        if announced is None:
            raise _RejectedRequest(411, "The upload has no Content-Length header.")
        if announced > MAX_UPLOAD_BYTES:
            raise _too_large(announced, MAX_UPLOAD_BYTES)
        if not self._files.has_room_for(announced):
            raise _RejectedRequest(
                507, "Upload storage is full; try again in an hour, when old uploads are deleted."
            )

    def _check_call(self, route: str, body: bytes) -> None:
        if sum(map(body.count, (b"[", b"{", b","))) > MAX_VALUES:
            raise _RejectedRequest(
                413, f"The request has more than {MAX_VALUES:,} values; draw a simpler sketch."
            )
        try:
            call = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _RejectedRequest(400, "The request must be JSON without deep nesting.") from error
        if _names_an_address(call):
            raise _RejectedRequest(400, "Links to remote files are not accepted; upload the file.")
        session = call.get("session_hash") if isinstance(call, dict) else None
        full = isinstance(session, str) and self._pending(session) >= MAX_PENDING
        if route == QUEUE_JOIN and full:
            raise _RejectedRequest(
                429, "Too many requests from this page are pending; wait for them to finish."
            )


def _route(scope: Scope) -> str:
    """Return the path within the app, whether or not a proxy stripped its own prefix."""
    path: str = scope.get("path", "")
    root = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _announced_bytes(scope: Scope) -> int | None:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isdecimal() else None


def _too_large(size: int, limit: int) -> _RejectedRequest:
    return _RejectedRequest(
        413, f"The upload is {size / 1e6:.1f} MB; the limit is {limit / 1e6:.0f} MB."
    )


async def _read_body(receive: Receive, announced: int | None) -> bytes:
    """Return the whole body. Raises _RejectedRequest as soon as it is too large."""
    if announced is not None and announced > MAX_BODY_BYTES:
        raise _too_large(announced, MAX_BODY_BYTES)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RejectedRequest(400, "The connection ended before the request did.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large(size, MAX_BODY_BYTES)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return the body as one message, followed by later messages: the end of the connection."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _names_an_address(call: Any) -> bool:
    """Return whether a file object in a call has an address as its path: Gradio would fetch it."""
    pending = [call]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            path = item.get("path")
            if isinstance(path, str) and ("://" in path or path.lower().startswith("http")):
                return True
            item = item.values()
        elif not isinstance(item, list):
            continue
        pending.extend(inner for inner in item if isinstance(inner, (dict, list)))
    return False
