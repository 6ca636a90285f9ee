"""A long day of visits, made short: the app's memory and disk do not grow with them.

A visit is one page: a sketch classified as it grows, feedback that replaces the last, an evaluation
that is cached, a file that is refused.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from page_over_http import PageOverHttp
from running_app import App

from digitcnn.ui.page import MAX_SESSIONS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MODEL = "digitcnn-mnist"
# What may stay of all visits together: memory that the allocator keeps, one visitor's feedback.
MOST_MEMORY = 24 << 20
MOST_DISK = 2 << 20


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("soak"), data_dir)
    yield running
    running.end()


def visit(app: App) -> None:
    page = PageOverHttp(app.url)
    pad = next(number for number, name in page.server_functions() if name == "verdict")
    others = [(number, name) for number, name in page.server_functions() if name not in OWN_STATE]
    line = [[0.5, 0.1 + 0.02 * step] for step in range(40)]
    payload: dict[str, Any] = {"model": MODEL, "strokes": [line], "width": 0.06}
    payload |= {"visitor": "the same one", "sketch": "the same sketch", "digit": 1}
    for part in (10, 20, 40):
        page.call(pad, "answer", {**payload, "strokes": [line[:part]]})
    page.call(pad, "verdict", payload)
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
OWN_STATE = {"answer", "verdict", "standing"}


def memory(app: App) -> int:
    """Resident bytes of the app."""
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def disk(app: App) -> int:
    return sum(path.stat().st_size for path in app.folder.rglob("*") if path.is_file())


def grown_at_last(app: App, before: int, allowed: int) -> int:
    """Return by how much the memory has grown, once it is allowed or a minute has passed.

    What a visit needed is given back a moment later.
    """
    deadline = time.monotonic() + 60
    while (grown := memory(app) - before) >= allowed and time.monotonic() < deadline:
        time.sleep(0.1)
    return grown


def soak(app: App, warm: int, visits: int) -> None:
    for _ in range(warm):
        visit(app)
    memory_before, disk_before = memory(app), disk(app)
    for _ in range(visits):
        visit(app)
    grown, written = grown_at_last(app, memory_before, MOST_MEMORY), disk(app) - disk_before
    print(f"{visits} visits: memory {grown / 1e6:+.1f} MB, disk {written / 1e6:+.2f} MB")
    assert grown < MOST_MEMORY
    assert written < MOST_DISK
    assert "Traceback" not in app.output()
    assert uuid.UUID(PageOverHttp(app.url).session)  # and a page still opens


def test_visits_leave_neither_memory_nor_disk_behind(app: App) -> None:
    soak(app, warm=12, visits=8)


def test_visitors_at_once_do_not_each_cost_the_memory_of_a_page(app: App) -> None:
    visit(app)
    before = memory(app)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: visit(app), range(12)))
    # Where each answering thread has a heap of its own it is 130 to 160 MB, else 50.
    grown = grown_at_last(app, before, 4 * MOST_MEMORY)
    print(f"6 visitors at once: memory {grown / 1e6:+.1f} MB")
    assert grown < 4 * MOST_MEMORY


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_day_of_visits_leaves_neither_memory_nor_disk_behind(app: App) -> None:
    # The state of as many pages as are held is there before it is looked whether more comes.
    soak(app, warm=MAX_SESSIONS + 20, visits=400)
