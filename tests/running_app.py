"""The app started as a person starts it, for the tests that drive it from outside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# A proxy that nobody runs: the app under test reaches this machine and nothing else.
NO_NETWORK = {
    **dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
    ),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
}

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class App:
    """One ``python app.py`` of the tests' own, on folders of its own."""

    def __init__(
        self,
        folder: Path,
        data_dir: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        checkpoints = folder / "checkpoints"
        if not checkpoints.exists():
            # Only the one that ships: whoever runs the tests may have trained others.
            checkpoints.mkdir()
            shutil.copy(ROOT / "checkpoints" / "digitcnn-mnist.pt", checkpoints)
        self.log = (folder / "app.log").open("a")
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
        command += ["--data-dir", str(data_dir), "--output-dir", str(folder / "outputs")]
        command += ["--checkpoint-dir", str(checkpoints), "--device", "cpu", *arguments]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GRADIO_")}
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**inherited, **NO_NETWORK, **(environment or {})},
        )
        deadline = time.monotonic() + 90
        while not self._answers():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def output(self) -> str:
        return (self.folder / "app.log").read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
