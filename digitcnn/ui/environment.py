"""The environment variables that Gradio reads, and protection from their side effects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from digitcnn.process import share_cores

# ``address`` chooses the address by these; Gradio would not accept IPv6.
_ADDRESS = ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS")

# Variables that make the page reachable for others, as the options of the same names do.
PUBLIC_VARIABLES = ("GRADIO_SERVER_NAME", "GRADIO_SHARE", "GRADIO_ROOT_PATH", "SPACE_ID")


def prepare_libraries() -> None:
    """Set the variables that Gradio and PyTorch read when they are imported."""
    # No request leaves the machine unasked.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio's page of past calls would store sketches in everybody's browser.
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    share_cores()


@contextmanager
def hidden_from_gradio() -> Iterator[None]:
    """Unset proxies and Gradio's address variables within the block: for importing and launching.

    Gradio's import fails for a SOCKS proxy that its HTTP client does not support. ``launch`` sends
    a request to the app that it has just started, and the proxy cannot reach that. No other
    requests are sent meanwhile. Downloads and the share link use the proxy as set.
    """
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy") or name in _ADDRESS
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
