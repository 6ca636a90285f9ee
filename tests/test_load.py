"""The app under load and kill -9."""

from __future__ import annotations

import http.server
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import killed_worker
import pytest
from killed_worker import open_workspace, published
from page_over_http import PageOverHttp
from running_app import ROOT, App
from warm_process import WarmProcess

from digitcnn.feedback.entry import FeedbackFilter
from digitcnn.feedback.store import FeedbackStore
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.training.run_record import FINISHED, INTERRUPTED

pytestmark = pytest.mark.long

MODEL = "digitcnn-mnist"
PEN = 0.06

# A sketch of 1.5 s, which the pad sends five times, every 4 s.
PARTS, PART_SECONDS, EVERY_SECONDS = 5, 0.3, 4.0
PAGES, SECONDS = 50, 60
# Of the answers, 95% come sooner, on a machine that does nothing else.
LATEST_SECONDS = 1.0

WRITERS, EACH = 20, 50


def curve(seed: int) -> list[list[float]]:
    """Return a path of 40 points, another for each seed: two slow waves within the pad."""
    wild = random.Random(seed)
    a, b, c, d = (wild.uniform(0.5, 2.5) for _ in range(4))
    return [
        [
            0.5 + 0.3 * math.sin(a * t / 7 + c) * (0.4 + t / 66),
            0.5 + 0.35 * math.cos(b * t / 7 + d) * (0.4 + t / 66),
        ]
        for t in range(40)
    ]


class Pad:
    """The pad of one page over HTTP."""

    def __init__(self, url: str) -> None:
        self.page = PageOverHttp(url)
        self.component = next(
            number for number, name in self.page.server_functions() if name == "predict"
        )

    def predict(self, line: list[list[float]]) -> dict[str, Any]:
        payload = {"model": MODEL, "strokes": [line], "width": PEN}
        return dict(self.page.call(self.component, "predict", payload))

    def give_feedback(self, line: list[list[float]], visitor: str, sketch: str) -> dict[str, Any]:
        payload = {
            "model": MODEL,
            "strokes": [line],
            "width": PEN,
            "visitor": visitor,
            "sketch": sketch,
            "digit": 3,
        }
        return dict(self.page.call(self.component, "give_feedback", payload))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    """An app that trains throughout."""
    running = App(tmp_path_factory.mktemp("load"), data_dir)
    page = PageOverHttp(running.url)
    for name, value in {"digits": ["small"], "epochs": 200, "batch-size": 32}.items():
        page.values[page.ids[f"train-{name}"]] = value
    assert page.press("train-start") == ""
    yield running
    running.end()


@dataclass
class PageLog:
    """What one page saw. latencies: seconds to the final answer of each sketch."""

    latencies: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def sketching(url: str, lines: list[list[list[float]]], seconds: float, wait: float) -> PageLog:
    """Draw curve after curve, each as it grows. wait: seconds until the first."""
    log, pad = PageLog(), Pad(url)
    alone = {number: pad.predict(line) for number, line in enumerate(lines)}
    began = time.monotonic() + wait
    number = 0
    while time.monotonic() < began + seconds:
        due = began + number * EVERY_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        key = number % len(lines)
        for part in range(1, PARTS):
            reply = pad.predict(lines[key][: part * 40 // PARTS])
            if "error" in reply or "digit" not in reply:
                log.wrong.append(str(reply))
            time.sleep(max(0.0, due + part * PART_SECONDS - time.monotonic()))
        asked = time.monotonic()
        reply = pad.predict(lines[key])
        log.latencies.append(time.monotonic() - asked)
        # A mixed-up answer would show another sketch's 28x28.
        if reply.get("seen") != alone[key]["seen"] or reply["digit"] != alone[key]["digit"]:
            log.wrong.append(str(reply))
        number += 1
    return log


def test_fifty_pages_are_answered_in_time_while_a_training_runs(app: App) -> None:
    with ThreadPoolExecutor(PAGES) as pool:
        running = [
            pool.submit(
                sketching,
                app.url,
                [curve(3 * page + k) for k in range(3)],
                SECONDS,
                page * EVERY_SECONDS / PAGES,
            )
            for page in range(PAGES)
        ]
        logs = [each.result() for each in running]
    assert [wrong for log in logs for wrong in log.wrong] == []
    latencies = [latency for log in logs for latency in log.latencies]
    assert len(latencies) >= PAGES
    p95 = statistics.quantiles(latencies, n=20)[-1]
    print(f"{PAGES} pages, {len(latencies)} sketches: p95 {p95:.3f} s, of {max(latencies)}")
    assert p95 < LATEST_SECONDS
    assert "Traceback" not in app.output()


def test_two_hundred_calls_at_once_each_get_their_own_answer(app: App) -> None:
    pad = Pad(app.url)
    lines = [curve(seed) for seed in range(20)]
    alone = [pad.predict(line) for line in lines]
    with ThreadPoolExecutor(200) as pool:
        replies = list(pool.map(lambda number: pad.predict(lines[number % 20]), range(200)))
    for number, reply in enumerate(replies):
        expected = alone[number % 20]
        assert reply["seen"] == expected["seen"]
        assert reply["digit"] == expected["digit"]
        assert reply["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)


def test_a_thousand_entries_of_twenty_writers_are_stored(app: App) -> None:
    pad = Pad(app.url)

    def write(writer: int) -> list[str]:
        replies = [
            pad.give_feedback(curve(number % 5), f"writer-{writer}", f"sketch-{number}")
            for number in range(EACH)
        ]
        return [str(reply) for reply in replies if "error" in reply or "answer" not in reply]

    with ThreadPoolExecutor(WRITERS) as pool:
        assert [wrong for errors in pool.map(write, range(WRITERS)) for wrong in errors] == []
    store = FeedbackStore(app.folder / "outputs" / "feedback.sqlite3")
    for writer in range(WRITERS):
        stored = {entry.sketch_id for entry in store.entries(FeedbackFilter(f"writer-{writer}"))}
        assert stored == {f"sketch-{number}" for number in range(EACH)}


# --- kill -9 ---------------------------------------------------------------------------------


class SlowFiles(http.server.BaseHTTPRequestHandler):
    """Serves the worker's downloads, slowly enough to be killed in the middle."""

    def do_GET(self) -> None:
        content = published(self.path.strip("/"))
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        for at in range(start, len(content), 1 << 18):
            self.wfile.write(content[at : at + (1 << 18)])
            time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a killed worker, which hangs up in the middle of a response."""


@pytest.fixture
def place() -> Iterator[str]:
    with QuietServer(("127.0.0.1", 0), SlowFiles) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def killed_after(folder: Path, place: str, stamp: str, seconds: float) -> list[list[str]]:
    """Kill a worker ``seconds`` after its first epoch; return the lines that it printed, as words.

    Each line says what was done before it.
    """
    output, errors = (folder / f"{stamp}.{suffix}" for suffix in ("out", "err"))
    worker = WarmProcess(
        killed_worker.main,
        folder,
        place,
        stamp,
        folder=ROOT,
        environment=os.environ,
        output=output,
        errors=errors,
    )
    deadline = time.monotonic() + 90
    while not (output.exists() and re.search(r"^(seen|finished) .*\n", output.read_text(), re.M)):
        assert worker.poll() is None, errors.read_text()
        assert time.monotonic() < deadline, errors.read_text()
        time.sleep(0.01)
    time.sleep(seconds)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    # The last line may be incomplete.
    lines = [line.split() for line in output.read_text().splitlines(True) if line.endswith("\n")]
    assert "Traceback" not in errors.read_text(), errors.read_text()
    assert any(words[0] == "seen" for words in lines), errors.read_text()
    return lines


def check_what_is_left(folder: Path, lines: list[list[str]]) -> None:
    """Check that all that was acknowledged is there, and that all that is there is whole."""
    workspace = open_workspace(folder)
    assert [words for words in lines if words[0] == "trouble"] == []
    records = {record.name: record for record in workspace.runs.records()}
    for what, name, *rest in lines:
        if what == "seen":
            assert len(workspace.runs.open(name).results.history()) >= int(rest[0])
        elif what == "finished":
            assert records[name].state == FINISHED
            assert records[name].checkpoint is not None
    for record in records.values():
        run = workspace.runs.open(record.name)
        assert record.state in (FINISHED, INTERRUPTED)
        snapshot = run.results.snapshot()
        assert snapshot is None or len(snapshot.history) <= record.config.epochs
        for file in run.folder.glob("*.json"):
            json.loads(file.read_text("utf-8"))
    for checkpoint in workspace.checkpoints.list():
        assert isinstance(checkpoint, Checkpoint), checkpoint

    saved = {words[1] for words in lines if words[0] == "saved"}
    assert saved <= {entry.sketch_id for entry in workspace.feedback.entries()}
    assert workspace.feedback.notice is None

    for file in (folder / "data").glob("fetched-*/*"):
        if file.name in ("images", "labels"):
            assert file.read_bytes() == published(file.name)


@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX systems")
def test_twenty_kills_lose_nothing_that_was_acknowledged(
    tmp_path: Path, data_dir: Path, place: str
) -> None:
    shutil.copytree(data_dir / "small", tmp_path / "data" / "small")
    wild = random.Random(8)
    lines: list[list[str]] = []
    for number in range(20):
        # Each start continues what the last one left.
        lines += killed_after(tmp_path, place, f"r{number}", wild.uniform(0.0, 5.0))
        check_what_is_left(tmp_path, lines)
