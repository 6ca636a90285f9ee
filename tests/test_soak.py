"""A long day of visits, made short: the app's memory and disk do not grow with them.

A visit is one page: a sketch classified as it grows, feedback that replaces the last, an evaluation
that is cached, a file that is refused.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from page_over_http import PageOverHttp
from running_app import App, serve

from digitcnn.ui.page import MAX_SESSIONS

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MODEL = "digitcnn-mnist"
VISITS = 400
# Where each answering thread has a heap of its own it is 130 to 160 MB, else 50.
MOST_OF_SIX = 96 << 20
MOST_DISK = 2 << 20
# What may stay of each visit once as many pages as are held have been opened. It is 4 KB: Gradio
# remembers the queues of the last 2,000 pages. The state of one page is 400 KB.
MOST_PER_VISIT = 40_000

SETTLED = "bytes in use"
# Bytes of an average block that Python's own allocator hands out.
BLOCK = 80


class MallInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def bytes_in_use() -> int:
    """Bytes that this process has allocated: resident memory also holds gaps between them.

    Those gaps vary by 20 MB and more from one look to the next.
    """
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd) + BLOCK * sys.getallocatedblocks()


def serve_and_settle(*arguments: str) -> int:
    """Serve the app, which prints how many bytes are in use when it receives SIGUSR1.

    Pages' states that wait for Python's next full garbage collection take tens of megabytes, so it
    is made first.
    """

    def settle(*_: object) -> None:
        gc.collect()
        print(bytes_in_use(), SETTLED, flush=True)

    signal.signal(signal.SIGUSR1, settle)
    return serve(*arguments)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("soak"), data_dir, target=serve_and_settle)
    yield running
    running.end()


def visit(app: App) -> None:
    page = PageOverHttp(app.url)
    pad = next(number for number, name in page.server_functions() if name == "give_feedback")
    others = [(number, name) for number, name in page.server_functions() if name not in OWN_STATE]
    line = [[0.5, 0.1 + 0.02 * step] for step in range(40)]
    payload: dict[str, Any] = {"model": MODEL, "strokes": [line], "width": 0.06}
    payload |= {"visitor": "the same one", "sketch": "the same sketch", "digit": 1}
    for part in (10, 20, 40):
        page.call(pad, "predict", {**payload, "strokes": [line[:part]]})
    page.call(pad, "give_feedback", payload)
    for number, name in others:
        page.call(number, name, payload)
    events = {tuple(target): event for event in page.events() for target in event["targets"]}
    page.values[page.ids["evaluate-digits"]] = ["small"]
    page.values[page.ids["model-select"]] = MODEL
    # A valid one would be held for the page.
    page.values[page.ids["compare-files"]] = [page.upload("mine.pt", b"no checkpoint")]
    for part, how in (("evaluate-run", "click"), ("compare-files", "upload")):
        if (page.ids[part], how) in events:
            assert page.run(events[page.ids[part], how]) == "", part


# Called above, or stores something of the visitor's.
OWN_STATE = {"predict", "give_feedback", "scores"}


def memory(app: App) -> int:
    """Bytes that the app has in use: the least of a few looks.

    What the last visit needed is given back a moment later.
    """
    looks = []
    for _ in range(4):
        before = app.output().count(SETTLED)
        os.kill(app.process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 60
        while app.output().count(SETTLED) == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        looks.append(int(re.findall(rf"(\d+) {SETTLED}", app.output())[-1]))
        time.sleep(0.2)
    return min(looks)


def resident(app: App) -> int:
    """Resident bytes of the app, free ones in its heaps included."""
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def disk(app: App) -> int:
    return sum(path.stat().st_size for path in app.folder.rglob("*") if path.is_file())


def test_visitors_at_once_do_not_each_cost_the_memory_of_a_page(app: App) -> None:
    visit(app)
    before = resident(app)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: visit(app), range(6)))
    deadline = time.monotonic() + 60  # what a visit needed is given back a moment later
    while (grown := resident(app) - before) >= MOST_OF_SIX and time.monotonic() < deadline:
        time.sleep(0.1)
    print(f"6 visitors at once: memory {grown / 1e6:+.1f} MB")
    assert grown < MOST_OF_SIX


@pytest.mark.timeout(3600)
def test_a_day_of_visits_leaves_neither_memory_nor_disk_behind(app: App) -> None:
    # The state of as many pages as are held is there before it is looked whether more comes.
    for _ in range(MAX_SESSIONS + 20):
        visit(app)
    memory_before, disk_before = memory(app), disk(app)
    for _ in range(VISITS):
        visit(app)
    grown, written = memory(app) - memory_before, disk(app) - disk_before
    print(f"{VISITS} visits: memory {grown / 1e6:+.1f} MB, disk {written / 1e6:+.2f} MB")
    assert grown < VISITS * MOST_PER_VISIT
    assert written < MOST_DISK
    assert "Traceback" not in app.output()
    assert uuid.UUID(PageOverHttp(app.url).session)  # and a page still opens
