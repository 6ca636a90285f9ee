"""How soon the app answers, and what it holds in memory, against ``import torch, gradio`` alone.

    python -m benchmarks.app_start [--rounds N]

From the start of ``python app.py`` to the first digit read over HTTP, files warm; peak memory of
the process (VmHWM, so on Linux only) idle, and after a short training with its progress asked for
once a second, as a page does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.measuring import conditions, in_turn, seconds
from digitcnn.digits.catalog import Catalog
from digitcnn.workspace import PROGRAM_FOLDER, SHIPPED, data_folder

STROKE = [[[0.4 + i / 400, 0.2 + i / 100] for i in range(60)]]
BARE = "import torch, gradio"
# Peak memory of the process itself, after the imports.
PEAK = "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"


class RunningApp:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, str(PROGRAM_FOLDER / "app.py"), "--port", str(self.port)]
        checkpoints = folder / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        shutil.copy(PROGRAM_FOLDER / "checkpoints" / f"{SHIPPED}.pt", checkpoints)
        command += ["--output-dir", str(folder / "outputs"), "--checkpoint-dir", str(checkpoints)]
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
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def config(self) -> Any:
        while True:
            try:
                return self.fetch("/config")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)

    def answer(self) -> int:
        """The digit that the pad is answered, as its page asks for it."""
        pad = next(
            part
            for part in self.config()["components"]
            if "answer" in (part["props"].get("server_fns") or [])
        )
        body = {
            "component_id": pad["id"],
            "fn_name": "answer",
            "session_hash": "benchmark",
            "data": {"model": SHIPPED, "strokes": STROKE, "width": 0.07},
        }
        return int(self.fetch("/gradio_api/component_server", body)["digit"])

    def start_training(self, digits: str, images: int) -> None:
        config = self.config()
        ids = {part["props"].get("elem_id"): part for part in config["components"]}
        start = next(
            d for d in config["dependencies"] if [ids["train-start"]["id"], "click"] in d["targets"]
        )
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        chosen = {"train-digits": digits, "train-images": images, "train-epochs": 1}
        for name, value in chosen.items():
            values[ids[name]["id"]] = value
        body = {
            "data": ["", *(values[number] for number in start["inputs"][1:])],
            "fn_index": start["id"],
            "session_hash": "benchmark",
        }
        self.fetch("/gradio_api/queue/join", body)

    def peak_megabytes(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def first_answer(folder: Path) -> None:
    with RunningApp(folder) as app:
        app.answer()


def bare() -> None:
    subprocess.run([sys.executable, "-c", BARE], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(conditions())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first_answer(folder)  # warms the files
        times = in_turn(
            {"bare": lambda: seconds(bare), "app": lambda: seconds(lambda: first_answer(folder))},
            args.rounds,
        )
        print(f"{args.rounds} rounds, median\n\n| what | seconds | times the imports alone |")
        print(f"|---|---|---|\n| {BARE} | {times['bare']:.2f} | 1.00 |")
        ratio = times["app"] / times["bare"]
        print(f"| from app.py to the first answer | {times['app']:.2f} | {ratio:.2f} |\n")
        done = subprocess.run(
            [sys.executable, "-c", f"{BARE}; {PEAK}"], check=True, capture_output=True, text=True
        )
        base = int(done.stdout) / 1024
        print("| peak memory | MB | above the imports alone |\n|---|---|---|")
        print(f"| {BARE} | {base:.0f} | |")
        with RunningApp(folder) as app:
            app.answer()
            print(f"| idle, after an answer | {app.peak_megabytes():.0f} | "
                  f"{app.peak_megabytes() - base:+.0f} |")  # fmt: skip
            digits = "mnist" if Catalog(data_folder(None)).has("mnist", "train") else "synthetic"
            app.start_training(digits, images=20_000)
            while True:
                time.sleep(1)
                app.answer()
                records = list(folder.glob("outputs/*/run.json"))
                states = [json.loads(path.read_text())["state"] for path in records]
                if states and states[0] not in ("running", "interrupted"):
                    break
            print(f"| after training on {digits}, {states[0]} | {app.peak_megabytes():.0f} | "
                  f"{app.peak_megabytes() - base:+.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()
