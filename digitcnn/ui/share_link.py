"""The public link through Gradio's tunnel, opened in the background and monitored.

``launch(share=True)`` would wait forever for a server that never responds, and would not notice
when the tunnel ends. Here the app starts first and continues without a link.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from digitcnn.ui.address import Address, lan_host
from digitcnn.ui.gradio_private import ShareTunnel, find_share_server

# As Gradio says of its free links: up to a week.
LIFETIME = timedelta(days=7)
TIMEOUT_SECONDS = 20.0


class ShareLink:
    """A public link to the app at ``address``.

    log: called with each line for the owner. now: the clock.

    line: the state of the link, in words; empty until it is known. url: while it works, else "".
    expires: when it ends.
    """

    def __init__(
        self, address: Address, *, log: Callable[[str], None], now: Callable[[], datetime]
    ) -> None:
        self._address, self._log, self._now = address, log, now
        self.line = self.url = ""
        self.expires = now()
        self._tunnel: ShareTunnel | None = None
        self._closing = threading.Event()

    def open(self, secret: str, *, opened: Callable[[str | None], None]) -> None:
        """Request the link, in a thread of its own.

        opened: called with the link's URL once it works, or with None when there is none.
        """
        threading.Thread(
            target=self._run, args=(secret, opened), name="share-link", daemon=True
        ).start()

    def close(self) -> None:
        """End the link, if there is one."""
        self._closing.set()
        if self._tunnel is not None:
            self._tunnel.stop()

    def _run(self, secret: str, opened: Callable[[str | None], None]) -> None:
        try:
            server = find_share_server(TIMEOUT_SECONDS)
            host = self._address.loopback_host
            self._tunnel = ShareTunnel(server, host, self._address.port, secret, TIMEOUT_SECONDS)
            # The server says http, and serves its links by https.
            url = self._tunnel.start_tunnel().replace("http://", "https://", 1)
        except Exception as error:  # whatever the reason, the app continues
            if not self._closing.is_set():
                self._report(
                    f"Could not create a public link ({_reason(error)}). {self._places()} "
                    "Restart digitcnn to try again."
                )
                opened(None)
            return
        created = self._now()
        self.expires = created + LIFETIME
        self._report(
            f"Public link: {url} (created {created:%Y-%m-%d %H:%M}, expires by "
            f"{self.expires:%Y-%m-%d %H:%M})."
        )
        self.url = url
        opened(url)
        self._tunnel.wait()
        self.url = ""
        if not self._closing.is_set():
            self._report(
                f"The public link {url} expired at {self._now():%Y-%m-%d %H:%M}. "
                f"{self._places()} Restart digitcnn for a new one."
            )

    def _report(self, line: str) -> None:
        self.line = line
        self._log(line)

    def _places(self) -> str:
        """Return where the page is reachable without the link, as one sentence."""
        sentence = f"digitcnn is running at {self._address.url}"
        host = lan_host()
        if self._address.is_everywhere or host is None or host == self._address.host:
            return f"{sentence}."
        lan = Address(host, self._address.port).url
        return f"{sentence}; start with --host 0.0.0.0 to reach it at {lan} on this network."


def _reason(error: Exception) -> str:
    """Return an error's text as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
