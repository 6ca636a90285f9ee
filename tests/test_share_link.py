"""``--share``: without a network, and with a tunnel that opens and ends."""

from __future__ import annotations

import re
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from gradio import networking, tunneling
from page_over_http import PageOverHttp
from running_app import App, serve

# Takes the place of the tunnel's program: prints a link, and ends a moment later.
TUNNEL = """#!{python}
import time
print("login to server success", flush=True)
print("start proxy success: http://0123456789abcdef.example", flush=True)
time.sleep(0.2)
"""


def serve_with_tunnel(program: str, *arguments: str) -> int:
    """Serve the app with this tunnel program, in a process that has imported Gradio.

    Gradio reads the variables that name program and server (HF_HOME, GRADIO_SHARE_SERVER_ADDRESS)
    when it is imported, which takes seconds.
    """
    tunneling.BINARY_PATH = program
    networking.GRADIO_SHARE_SERVER_ADDRESS = "127.0.0.1:9"
    return serve(*arguments)


def invitation(app: App, token: str) -> str:
    """Return what the Invite dialog shows, or the error."""
    page = PageOverHttp(app.url, token)
    component, name = next(each for each in page.server_functions() if each[1] == "invitation")
    reply = page.call(component, name, {"owner": token, "address": app.url})
    return str(reply.get("html") or reply["error"])


def printed(app: App, matches: Callable[[str], bool]) -> str:
    """Wait for a line that the app prints; return it."""
    deadline = time.monotonic() + 60
    while True:
        line = next((line for line in app.output().splitlines() if matches(line)), None)
        if line is not None:
            return line
        assert app.process.poll() is None, app.output()
        assert time.monotonic() < deadline, app.output()
        time.sleep(0.05)


def test_without_internet_the_app_runs_and_reports_it(tmp_path: Path, data_dir: Path) -> None:
    app = App(tmp_path, data_dir, "--share")
    try:
        line = printed(app, lambda line: line.startswith("Could not create a public link"))
        assert app.url in line
        token = printed(app, lambda line: "#owner=" in line)
        assert app.url in token
        with urllib.request.urlopen(app.url, timeout=10) as answer:
            assert answer.status == 200
        assert "Traceback" not in app.output()
    finally:
        app.end()


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
def test_the_owner_sees_when_the_link_was_created_and_when_it_ends(
    tmp_path: Path, data_dir: Path
) -> None:
    program = tmp_path / "tunnel"
    program.write_text(TUNNEL.format(python=sys.executable))
    program.chmod(0o755)
    target = partial(serve_with_tunnel, str(program))
    app = App(tmp_path, data_dir, "--share", target=target)
    try:
        link = "https://0123456789abcdef.example"
        line = printed(app, lambda line: line.startswith("Public link: "))
        created = re.search(r": (\S+) \(created ([\d :-]+), expires by ([\d :-]+)\)", line)
        assert created is not None
        assert created[1] == link
        assert created[2] < created[3]
        assert link in printed(app, lambda line: "#owner=" in line)
        ended = printed(app, lambda line: line.startswith(f"The public link {link} expired"))
        assert app.url in ended
        owner = printed(app, lambda line: "#owner=" in line).partition("#owner=")[2]
        shown = invitation(app, owner)
        assert f"The public link {link} expired" in shown
        assert "<svg" not in shown
        for token in ("", "guess"):
            assert invitation(app, token).startswith("Only the owner can invite others")
        with urllib.request.urlopen(app.url, timeout=10) as answer:
            assert answer.status == 200
        assert "Traceback" not in app.output()
    finally:
        app.end()
