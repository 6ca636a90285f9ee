"""A tiny page with owner-only buttons, in a process of its own, to test owner and visitor.

``serve`` is that process; ``GuardedPage`` is its other end, in the test.
"""

from __future__ import annotations

import json
import os
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import gradio as gr
from warm_process import WarmProcess

from digitcnn.errors import DigitCNNError
from digitcnn.ui.access import HEAD_SCRIPT, WITH_TOKEN_JS, Access


class GuardedPage:
    """The served page, and plain HTTP requests to it."""

    def __init__(self, token: str, folder: Path, *, public: bool) -> None:
        """folder: receives what the process prints."""
        log = folder / "guarded-page.log"
        self._process = WarmProcess(
            serve,
            {"public": public, "token": token, "open_to_all": False},
            folder=folder,
            environment={k: v for k, v in os.environ.items() if not k.startswith("GRADIO_")},
            output=log,
        )
        deadline = time.monotonic() + 90
        while not (log.exists() and log.read_text().endswith("\n")):
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.url = log.read_text().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> str:
        """Send one request; return the body of the response."""
        connection = HTTPConnection(self.url.removeprefix("http://").rstrip("/"), timeout=20)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **headers})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def post_directly(self, headers: dict[str, str], token: Any) -> str:
        """Press the button without the queue; return the response."""
        body = {"data": [token, ""], "fn_index": 0, "session_hash": "stranger"}
        return self.ask("POST", "/gradio_api/run/predict", headers, body)

    def post_to_the_queue(self, headers: dict[str, str], token: Any) -> str:
        """Press the button with the queue; return its events."""
        body = {"data": [token, ""], "fn_index": 1, "session_hash": "stranger"}
        self.ask("POST", "/gradio_api/queue/join", headers, body)
        return self.ask("GET", "/gradio_api/queue/data?session_hash=stranger", headers)

    def changes(self) -> int:
        """Return how often something was changed."""
        body = {"data": [], "fn_index": 2, "session_hash": "counting"}
        return int(json.loads(self.ask("POST", "/gradio_api/run/predict", {}, body))["data"][0])


def serve(settings: dict[str, Any]) -> None:
    """Serve the page until the process is killed."""
    access = Access.from_settings(**settings)
    changed: list[None] = []
    answers: list[None] = []

    def change(request: gr.Request, token: str, _: str) -> str:
        try:
            access.require_owner(request, token)
        except DigitCNNError as error:
            raise gr.Error(str(error), print_exception=False) from error
        changed.append(None)
        return "changed"

    def count() -> int:
        return len(changed)

    def tell(request: gr.Request, token: str, other: str) -> tuple[str, list[int]]:
        """Return the number of this question, who asks, and the other input as it arrived."""
        answers.append(None)
        who = "owner" if access.is_owner(request, token) else "visitor"
        return f"{len(answers)} {who} {other}", []

    with gr.Blocks(analytics_enabled=False) as page:
        token = gr.Textbox(visible="hidden", show_label=False)
        other = gr.Textbox("other input", visible="hidden")
        answer, number, state = gr.Textbox(elem_id="answer"), gr.Number(), gr.State([1])
        ask = gr.Button("Ask", elem_id="ask")
        for queue in (False, True):
            gr.Button("Change").click(
                change,
                [token, other],
                answer,
                js=WITH_TOKEN_JS,
                queue=queue,
                api_visibility="private",
            )
        gr.Button("Count").click(count, None, number, queue=False)
        # As many outputs as inputs and more: a ``js=`` function is given the values of both.
        ask.click(tell, [token, other], [answer, state], js=WITH_TOKEN_JS)
        page.load(tell, [token, other], [answer, state], js=WITH_TOKEN_JS, queue=False)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, head=HEAD_SCRIPT)
    print(url, flush=True)
    threading.Event().wait()
