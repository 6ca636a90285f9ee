"""One ``python app.py`` of a benchmark's own, on a port and folders of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from digitcnn.folders import PACKAGE, SHIPPED, SHIPPED_FILE

# A one, as the pad would send it.
STROKE = [[[0.4 + i / 400, 0.2 + i / 100] for i in range(60)]]


class RunningApp:
    """Ends with the block that it is used in.

    folder: of its runs and its checkpoints, which are the one that ships.
    data: of its digit sets; None: as DIGITCNN_DATA says.
    """

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        command = [sys.executable, str(PACKAGE.parent / "app.py"), "--port", str(port)]
        checkpoints = folder / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        shutil.copy(SHIPPED_FILE, checkpoints)
        command += ["--output-dir", str(folder / "outputs"), "--checkpoint-dir", str(checkpoints)]
        if data is not None:
            command += ["--data-dir", str(data)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> RunningApp:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def fetch(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def config(self) -> Any:
        """What the page consists of; waits until the app serves it."""
        while self.process.poll() is None:
            try:
                return self.fetch("/config")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise SystemExit(f"The app ended with status {self.process.returncode}.")

    @cached_property
    def _pad(self) -> int:
        """The pad's number among the page's components."""
        return next(
            int(part["id"])
            for part in self.config()["components"]
            if "predict" in (part["props"].get("server_fns") or [])
        )

    def answer(self, strokes: Sequence[Sequence[Sequence[float]]] = STROKE) -> dict[str, Any]:
        """What the pad is answered, as its page asks for it. ``digit`` is None for no digit."""
        body = {
            "component_id": self._pad,
            "fn_name": "predict",
            "session_hash": "benchmark",
            "data": {"model": SHIPPED, "strokes": strokes, "width": 0.07},
        }
        return dict(self.fetch("/gradio_api/component_server", body))

    def start_training(self, digits: str, images: int, epochs: int) -> None:
        """Press Start with these settings."""
        config = self.config()
        ids = {part["props"].get("elem_id"): part for part in config["components"]}
        start = next(
            d for d in config["dependencies"] if [ids["train-start"]["id"], "click"] in d["targets"]
        )
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        chosen = {"train-digits": [digits], "train-images": images, "train-epochs": epochs}
        for name, value in chosen.items():
            values[ids[name]["id"]] = value
        body = {
            "data": ["", *(values[number] for number in start["inputs"][1:])],
            "fn_index": start["id"],
            "session_hash": "benchmark",
        }
        self.fetch("/gradio_api/queue/join", body)

    def training_state(self) -> str:
        """That of its one run; ``interrupted`` until it has begun."""
        records = list(self.folder.glob("outputs/*/run.json"))
        return str(json.loads(records[0].read_text())["state"]) if records else "interrupted"

    def epoch_seconds(self) -> list[float]:
        """What each finished epoch of its one run took."""
        files = list(self.folder.glob("outputs/*/history.json"))
        return [row["seconds"] for row in json.loads(files[0].read_text())] if files else []

    def peak_megabytes(self) -> float:
        """Peak memory so far (VmHWM, so on Linux only)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
