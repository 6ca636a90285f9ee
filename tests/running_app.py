"""The app in a process of its own, for tests that use it from outside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from warm_process import WarmProcess

ROOT = Path(__file__).resolve().parents[1]

# A proxy that nobody runs: the app under test reaches this machine, and nothing else. There is no
# ``no_proxy``: the app itself must not ask a proxy for this machine.
NO_NETWORK = dict.fromkeys(
    ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
)
HIDDEN = ("GRADIO_", "no_proxy", "NO_PROXY")

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def system_chromium() -> str | None:
    """Return the path of the system's Chromium, None for Playwright's own.

    The headless shell opens a page with two thirds of Chromium's processor time: it makes no window
    with tabs and an address bar around it.
    """
    names = "chromium-headless-shell", "chromium", "chromium-browser"
    return next((path for name in names if (path := shutil.which(name))), None)


def serve(*arguments: str) -> int:
    """What ``python app.py`` does, where its libraries are imported already."""
    from digitcnn.ui import launcher

    return launcher.main(arguments)


class App:
    """A running app with its own folders.

    It is forked from a process that has imported everything or, with ``new_process``, started by
    ``python app.py``: for variables that libraries read when they are imported.

    environment: variables in addition to those of the tests. port: that of an app that has ended.
    target: what the fork runs.
    """

    def __init__(
        self,
        folder: Path,
        data_dir: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        new_process: bool = False,
        port: int | None = None,
        target: Callable[..., int] = serve,
    ) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = port or free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        checkpoints = folder / "checkpoints"
        if not checkpoints.exists():
            # Only the shipped one: the checkout may hold others.
            checkpoints.mkdir()
            shutil.copy(ROOT / "checkpoints" / "digitcnn-mnist.pt", checkpoints)
        log = folder / "app.log"
        before = len(self.output())  # of an app that ran on the same folders
        options = ["--port", str(self.port), "--data-dir", str(data_dir), "--device", "cpu"]
        options += ["--output-dir", str(folder / "outputs"), "--checkpoint-dir", str(checkpoints)]
        options += arguments
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(HIDDEN)}
        variables = {**inherited, **NO_NETWORK, **(environment or {})}
        self.process: WarmProcess | subprocess.Popen[bytes]
        if not new_process:
            self.process = WarmProcess(
                target, *options, folder=folder, environment=variables, output=log
            )
        else:
            with log.open("a") as output:
                self.process = subprocess.Popen(
                    [sys.executable, str(ROOT / "app.py"), *options],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=variables,
                )
        deadline = time.monotonic() + 90
        while "digitcnn is running at" not in self.output()[before:]:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def output(self) -> str:
        """Return what it has printed."""
        log = self.folder / "app.log"
        return log.read_text() if log.exists() else ""

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
