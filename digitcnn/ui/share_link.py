"""The public link: made through Gradio's tunnel, watched while it stands, and told in lines.

Gradio's own ``launch(share=True)`` says nothing when the tunnel ends, and waits without an end for
a server that takes the connection and never answers. The app stands before the link is asked for,
and goes on without it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse, urlunparse

import httpx
from gradio import networking, tunneling

# As Gradio says of its free links: up to a week.
LASTS = timedelta(days=7)
PATIENCE_SECONDS = 20.0
_SUCCESS = "start proxy success: "

Say = Callable[[str], None]


class ShareLink:
    """A link to ``127.0.0.1:port``, made in a thread of its own.

    say: called with each line for the owner. opened: called with the link's address when it
    stands, or None when there is none, which has been told.

    line: how things are with the link, for the owner's page; empty until that is known.
    """

    def __init__(
        self,
        host: str,
        port: int,
        secret: str,
        *,
        local_url: str,
        say: Say,
        opened: Callable[[str | None], None],
        now: Callable[[], datetime],
    ) -> None:
        self._host, self._port, self._secret = host, port, secret
        self._local_url, self._say, self._opened, self._now = local_url, say, opened, now
        self.line = ""
        self._tunnel: _Tunnel | None = None
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="share-link", daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        if self._tunnel is not None:
            self._tunnel.end()

    def _run(self) -> None:
        try:
            self._tunnel = self._ask()
            # The server says http, and serves its links by https.
            url = urlunparse(urlparse(self._tunnel.start_tunnel())._replace(scheme="https"))
        except Exception as error:  # whatever the reason, the app goes on
            if not self._closing.is_set():
                self._tell(
                    f"No public link could be made ({_reason(error)}); {self._places()} "
                    "Start digitcnn again to try once more."
                )
                self._opened(None)
            return
        made = self._now()
        self._tell(
            f"The public link is {url} (made {made:%Y-%m-%d %H:%M}, ends "
            f"{made + LASTS:%Y-%m-%d %H:%M} at the latest)."
        )
        self._opened(url)
        self._tunnel.wait()
        if not self._closing.is_set():
            self._tell(
                f"The public link {url} ended at {self._now():%Y-%m-%d %H:%M}; {self._places()} "
                "Start digitcnn again for a new link."
            )

    def _tell(self, line: str) -> None:
        self.line = line
        self._say(line)

    def _ask(self) -> _Tunnel:
        """The tunnel to the server that GRADIO_SHARE_SERVER_ADDRESS names, else to Gradio's."""
        address = networking.GRADIO_SHARE_SERVER_ADDRESS
        certificate = None
        if address is None:
            answer = httpx.get(networking.GRADIO_API_SERVER, timeout=PATIENCE_SECONDS)
            answer.raise_for_status()
            server = answer.json()[0]
            remote, port, certificate = server["host"], server["port"], tunneling.CERTIFICATE_PATH
            Path(certificate).parent.mkdir(parents=True, exist_ok=True)
            Path(certificate).write_text(server["root_ca"], "utf-8")
        else:
            remote, _, port = address.rpartition(":")
        return _Tunnel(remote, int(port), self._host, self._port, self._secret, certificate)

    def _places(self) -> str:
        text = f"digitcnn is at {self._local_url} on this machine"
        address = lan_address()
        if address is None:
            return f"{text}."
        if self._host in ("0.0.0.0", "::", address):
            return f"{text} and at http://{address}:{self._port} in this network."
        return f"{text}; --host 0.0.0.0 opens http://{address}:{self._port} to this network too."


def lan_address() -> str | None:
    """This machine's IPv4 address in its network; None without a network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: only a route is chosen
            address = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if address.startswith("127.") else address


class _Tunnel(tunneling.Tunnel):
    """Gradio's, that gives up when its process ends or is silent, and whose end can be waited for.

    What the process writes is read to its end: unread, it would fill the pipe and stand still.
    """

    def end(self) -> None:
        if self.proc is not None:
            self.proc.terminate()

    def wait(self) -> None:
        if self.proc is not None and self.proc.stdout is not None:
            for _ in self.proc.stdout:
                pass
            self.proc.wait()

    def _start_tunnel(self, binary: str) -> str:
        try:
            return super()._start_tunnel(binary)
        except BaseException:
            self.end()
            raise

    def _read_url_from_tunnel_stream(self) -> str:
        process = self.proc
        if process is None or process.stdout is None:
            raise OSError("the tunnel's program did not start")
        last = "the tunnel's program ended without a word"
        limit = threading.Timer(PATIENCE_SECONDS, process.kill)
        limit.daemon = True
        limit.start()
        try:
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").strip()
                _, found, url = line.partition(_SUCCESS)
                if found:
                    return url
                last = line or last
        finally:
            limit.cancel()
        raise OSError(last)


def _reason(error: Exception) -> str:
    """One line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
