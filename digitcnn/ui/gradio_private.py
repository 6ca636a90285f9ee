"""All uses of Gradio's undocumented parts, so that a change in Gradio breaks one place.

``tests/ui/test_gradio_private.py`` checks each against the installed Gradio.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
from gradio import networking, tunneling
from gradio.events import Dependency as Dependency
from gradio.processing_utils import hash_bytes
from gradio.processing_utils import save_file_to_cache as save_file_to_cache

from digitcnn.files import atomic_write

# The tunnel's program prints this before the link.
SUCCESS = "start proxy success: "


def pending_calls(page: gr.Blocks, session: str) -> int:
    """Return how many calls of a page session are in the queue or running."""
    return len(page._queue.pending_event_ids_session.get(session, ()))


def limit_queue(page: gr.Blocks, most: int) -> None:
    """Refuse calls while ``most`` are waiting.

    ``page.queue(max_size=most)`` would build Gradio's web application once more, which makes the
    start 1% slower.
    """
    page._queue.max_size = most


def event_data(event: gr.EventData) -> dict[str, Any]:
    """Return the data that a page's script sent with an event; empty unless it is an object."""
    return event._data if isinstance(event._data, dict) else {}


def share_secret(page: gr.Blocks) -> str:
    """Return the secret by which the share server distinguishes this page's links."""
    return page.share_token


def save_bytes_to_cache(data: bytes, file_name: str, cache_dir: str) -> str:
    """Return the path of a file with that content, where Gradio's function would write it.

    Gradio's rewrites an existing file in place: a browser that loads it then gets half of it.
    """
    path = Path(cache_dir, hash_bytes(data), file_name).resolve()
    try:
        os.utime(path)  # it is offered again, so it is not deleted yet
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)
    return str(path)


@dataclass(frozen=True)
class ShareServer:
    """A server that makes share links. certificate: a file; None for an unencrypted tunnel."""

    host: str
    port: int
    certificate: str | None


def find_share_server(timeout: float) -> ShareServer:
    """Return the server that GRADIO_SHARE_SERVER_ADDRESS names, else ask Gradio for one.

    timeout: seconds to wait for Gradio's answer. Raises whatever the request or the file system
    raises.
    """
    address = networking.GRADIO_SHARE_SERVER_ADDRESS
    if address is not None:
        host, _, port = address.rpartition(":")
        return ShareServer(host, int(port), certificate=None)
    response = httpx.get(networking.GRADIO_API_SERVER, timeout=timeout)
    response.raise_for_status()
    server = response.json()[0]
    certificate = Path(tunneling.CERTIFICATE_PATH)
    certificate.parent.mkdir(parents=True, exist_ok=True)
    certificate.write_text(server["root_ca"], "utf-8")
    return ShareServer(server["host"], int(server["port"]), str(certificate))


class ShareTunnel(tunneling.Tunnel):
    """Gradio's tunnel, with a timeout and a way to wait for its end.

    Gradio's own waits forever for a silent program and does not report when the tunnel ends. The
    program's output is read to its end: unread, it would fill the pipe and block.
    """

    def __init__(
        self, server: ShareServer, host: str, port: int, secret: str, timeout: float
    ) -> None:
        """Describe a tunnel to ``host:port``; ``start_tunnel`` opens it and returns its URL.

        timeout: seconds that the program may take to open it.
        """
        super().__init__(server.host, server.port, host, port, secret, server.certificate)
        self._timeout = timeout

    def stop(self) -> None:
        """End the program, if it runs."""
        if self.proc is not None:
            self.proc.terminate()

    def wait(self) -> None:
        """Return when the tunnel has ended."""
        if self.proc is not None and self.proc.stdout is not None:
            for _ in self.proc.stdout:
                pass
            self.proc.wait()

    def _start_tunnel(self, binary: str) -> str:
        try:
            return super()._start_tunnel(binary)
        except BaseException:
            self.stop()
            raise

    def _read_url_from_tunnel_stream(self) -> str:
        process = self.proc
        if process is None or process.stdout is None:
            raise OSError("the tunnel's program did not start")
        last = "the tunnel's program ended without output"
        limit = threading.Timer(self._timeout, process.kill)
        limit.daemon = True
        limit.start()
        try:
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").strip()
                _, success, url = line.partition(SUCCESS)
                if success:
                    return url
                last = line or last
        finally:
            limit.cancel()
        raise OSError(last)
