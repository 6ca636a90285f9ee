"""A page without a browser: the app's configuration, and its events by plain HTTP.

It holds the components' values as a browser does: what one event fills in, such as the list of
runs, the next one sends.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

JSON = {"Content-Type": "application/json"}


class PageOverHttp:
    """One page session of the holder of ``token``. headers: sent with every request."""

    def __init__(self, url: str, token: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.url, self.token, self.headers = url, token, dict(headers or {})
        self.session = uuid.uuid4().hex
        self.config: dict[str, Any] = json.loads(self.get("/config"))
        self.parts = {part["id"]: part for part in self.config["components"]}
        self.values = {number: part["props"].get("value") for number, part in self.parts.items()}
        self.ids = {part["props"].get("elem_id"): number for number, part in self.parts.items()}

    def get(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: Any) -> Any:
        """Return the response's JSON, an HTTP error's as well."""
        headers = JSON | self.headers
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)

    def server_functions(self) -> list[tuple[int, str]]:
        """Return component and name of the functions that the page calls beside its events."""
        return [
            (number, name)
            for number, part in self.parts.items()
            for name in part["props"].get("server_fns") or []
        ]

    def call(self, component: int, name: str, payload: Any) -> Any:
        body = {
            "data": payload,
            "component_id": component,
            "fn_name": name,
            "session_hash": self.session,
        }
        return self.post("/gradio_api/component_server/", body)

    def events(self) -> list[dict[str, Any]]:
        """Return the events that run on the server, those of opening a page first."""
        events = [event for event in self.config["dependencies"] if event["backend_fn"]]
        return sorted(events, key=lambda event: all(how != "load" for _, how in event["targets"]))

    def is_for_owners(self, event: dict[str, Any]) -> bool:
        return self.ids["owner-token"] in event["inputs"]

    def join(self, event: dict[str, Any]) -> Any:
        """Queue an event with the present values; return the queue's response."""
        data = [
            self.token if number == self.ids["owner-token"] else self.values.get(number)
            for number in event["inputs"]
        ]
        body = {"data": data, "fn_index": event["id"], "session_hash": self.session}
        return self.post("/gradio_api/queue/join", body)

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Upload a file; return it as an event's input."""
        boundary = uuid.uuid4().hex
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"'
            "\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        body += content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(f"{self.url}/gradio_api/upload", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            path = json.load(answer)[0]
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def run(self, event: dict[str, Any]) -> str:
        """Run an event with the present values, take over its outputs; return its error or ""."""
        joined = self.join(event)
        if "event_id" not in joined:
            return str(joined)
        address = f"{self.url}/gradio_api/queue/data?session_hash={self.session}"
        request = urllib.request.Request(address, headers=self.headers)
        with urllib.request.urlopen(request, timeout=120) as stream:
            for line in stream:
                message = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if message.get("msg") == "process_completed":
                    output = message["output"]
                    if not message["success"]:
                        return str(output.get("error") or "failed without a message")
                    self._take(event["outputs"], output.get("data") or [])
                    return ""
        raise AssertionError("the stream ended without a result")

    def press(self, element: str) -> str:
        """Run what a click on an element runs; return its error or ""."""
        click = [self.ids[element], "click"]
        return self.run(next(event for event in self.events() if click in event["targets"]))

    def _take(self, outputs: list[int], data: list[Any]) -> None:
        for number, value in zip(outputs, data, strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self.values[number] = value["value"]
            else:
                self.values[number] = value
