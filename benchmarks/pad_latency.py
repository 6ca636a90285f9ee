"""From pen to answer in a real browser, and what drawing costs a training.

    python -m benchmarks.pad_latency [--strokes N] [--data-dir DIR]

Needs Chromium and Playwright. A person draws at a hundred points a second. Measured is
the time from each position of the pen that the browser reports until an answer that includes it is
on the screen (the frame after it was put there): with no panel shown, beside each panel, whose own
answers are timed likewise, and during a training. For comparison: gr.Sketchpad in the same browser,
which answers only when the pen is lifted, timed from then on. The training has 20,000 images, in
turn for an epoch with nobody drawing, for one with somebody whose browser works on the same cores,
and for one with somebody on another machine, of whom only the page's calls are simulated.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, TimeoutError, sync_playwright

from benchmarks.measuring import conditions
from benchmarks.running_app import RunningApp
from digitcnn.folders import PACKAGE, data_folder

EPOCHS, IMAGES = 13, 20_000  # the first epoch warms up
POINTS, POINT_SECONDS = 40, 0.01

# Milliseconds between two questions of the page while a training runs: the page's own number.
PAD_SCRIPT = (PACKAGE / "web" / "scripts" / "pad.js").read_text("utf-8")
BUSY_PACE = float(re.findall(r"const BUSY_PACE = (\d+);", PAD_SCRIPT)[0])

# Epoch by epoch in turn.
NOBODY = "nobody draws"
HERE = "somebody draws all the time"
ELSEWHERE = "somebody draws on another machine"
WHO_DRAWS = (NOBODY, HERE, ELSEWHERE)

# By the function that answers: where its answer is seen.
PANELS = {
    "why": "#panel-why",
    "nearest": "#panel-nearest",
    "what_if": "#panel-what_if",
    "step_through": "#panel-step-through",
    "break_it": "#panel-break-it",
}
SEEN_AT = {"predict": "#pad-answer", **PANELS}

# Notes each position of the pen, and of each answer when it was asked for and when it was seen.
WATCH_PAD = """(seenAt) => {
    window.pen = [];
    window.answers = {};
    const asked = (window.asked = {});
    const plain = window.fetch;
    window.fetch = async (...request) => {
        const about = request[1]?.body;
        const now = performance.now();
        const reply = await plain(...request);
        const name = typeof about === "string" && about.match(/"fn_name":"(\\w+)"/)?.[1];
        if (name in seenAt) asked[name] = now;
        return reply;
    };
    const canvas = document.querySelector("#pad canvas");
    for (const type of ["pointerdown", "pointermove"])
        canvas.addEventListener(type, (event) => {
            if (event.buttons) window.pen.push(event.timeStamp);
        });
    window.presses = [];
    for (const type of ["pointerdown", "pointerup", "pointercancel", "lostpointercapture"])
        addEventListener(type, (event) => {
            const { id, className, nodeName } = event.target;
            window.presses.push([type, event.timeStamp, `${nodeName} ${id} ${className}`]);
        }, true);
    for (const [name, place] of Object.entries(seenAt)) {
        window.answers[name] = [];
        new MutationObserver(() => {
            if (asked[name] === undefined) return;
            const answer = [asked[name], 0];
            delete asked[name];
            requestAnimationFrame(() => {
                answer[1] = performance.now();
                window.answers[name].push(answer);
            });
        }).observe(document.querySelector(place), { childList: true, subtree: true });
    }
}"""
# Whether every one of them has answered to the last position of the pen.
ALL_SEEN = """(names) => names.every((name) =>
    window.answers[name].some(([asked, seen]) => seen && asked >= pen[pen.length - 1]))"""
FORGET = """() => {
    const seen = [window.pen, window.answers];
    const found = JSON.parse(JSON.stringify(seen));
    window.pen.length = window.presses.length = 0;
    for (const answers of Object.values(window.answers)) answers.length = 0;
    return found;
}"""

# What may explain that they have not.
STATE = """() => JSON.stringify({
    now: performance.now(), hidden: document.hidden, pen: [pen.length, pen[0], pen[pen.length - 1]],
    presses, asked: window.asked, answers,
    shown: document.querySelector("#pad-answer").innerText,
    message: document.querySelector(".message").textContent,
})"""

# Notes when the pen was lifted and when the next answer was seen.
WATCH_STOCK = """() => {
    window.lifted = null;
    window.waits = [];
    document.addEventListener("pointerup", (event) => (window.lifted = event.timeStamp), true);
    const change = { childList: true, subtree: true, characterData: true };
    new MutationObserver(() => requestAnimationFrame(() => {
        if (window.lifted !== null) window.waits.push(performance.now() - window.lifted);
        window.lifted = null;
    })).observe(document.querySelector("#stock-answer"), change);
}"""


def draw(page: Page, box: FloatRect, number: int) -> None:
    """One stroke, most of a circle in the middle of the box, in about half a second."""
    radius = 0.3 * min(box["width"], box["height"])
    for i in range(POINTS):
        turn = 2 * math.pi * (number / 7 + 0.8 * i / POINTS)
        x = box["x"] + box["width"] / 2 + radius * math.cos(turn)
        y = box["y"] + box["height"] / 2 + radius * math.sin(turn)
        page.mouse.move(x, y)
        if i == 0:
            page.mouse.down()
        time.sleep(POINT_SECONDS)
    page.mouse.up()


class Pad:
    """The Sketchpad tab in a page of its own."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.page.goto(url)
        self.page.get_by_role("tab", name="Sketchpad").click()
        canvas = self.page.locator("#pad canvas")
        canvas.wait_for()
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        self.box = box
        self.page.locator("#pad[data-model]").wait_for()
        self.page.evaluate(WATCH_PAD, SEEN_AT)
        self.strokes = 0
        self.stroke()

    def stroke(self, *others: str) -> dict[str, list[float]]:
        """Milliseconds from pen to answer, for every position of the pen.

        Of the pad (``predict``) and of the panels named in ``others``.
        """
        names = ["predict", *others]
        if self.strokes % 3 == 0:
            self.page.locator("#pad-clear").click()
        draw(self.page, self.box, self.strokes)
        self.strokes += 1
        try:
            self.page.wait_for_function(ALL_SEEN, arg=names)
        except TimeoutError as error:
            state = self.page.evaluate(STATE)
            raise SystemExit(f"Stroke {self.strokes} was not answered: {state}") from error
        pen, answers = self.page.evaluate(FORGET)
        return {
            name: [
                next(seen for asked, seen in answers[name] if asked >= moment) - moment
                for moment in pen
            ]
            for name in names
        }

    def draw(self, strokes: int, *others: str) -> dict[str, list[float]]:
        waits: dict[str, list[float]] = {name: [] for name in ("predict", *others)}
        for _ in range(strokes):
            for name, found in self.stroke(*others).items():
                waits[name] += found
        return waits

    def choose(self, panel: str = "") -> None:
        """Show one panel beside the pad, or none."""
        self.page.locator("#panels .panel").evaluate_all(
            """(all, chosen) => {
                for (const one of all) one.hidden = `#${one.id}` !== chosen;
                dispatchEvent(new Event("digitcnn-panel"));
            }""",
            PANELS.get(panel, ""),
        )


class Stock:
    """gr.Sketchpad in a page of its own."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.page.goto(url)
        canvas = self.page.locator("#stock-pad canvas").first
        canvas.wait_for()
        box = canvas.bounding_box()
        assert box is not None
        self.box = box
        self.page.locator("#stock-pad").get_by_label("Brush", exact=True).evaluate("b => b.click()")
        self.page.evaluate(WATCH_STOCK)
        self.draw(1)

    def draw(self, strokes: int) -> list[float]:
        """Milliseconds from the pen's lift to the answer, for every stroke."""
        for number in range(strokes):
            draw(self.page, self.box, number)
            self.page.wait_for_function("lifted === null")
        waits = self.page.evaluate("waits.splice(0)")
        assert isinstance(waits, list)
        return waits


@contextmanager
def stock_app() -> Iterator[str]:
    """The address of ``stock_sketchpad`` while the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.stock_sketchpad", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(url):
            if process.poll() is not None:
                raise SystemExit("The app with gr.Sketchpad could not be started.")
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def draw_elsewhere(app: RunningApp) -> None:
    """Draw one stroke as another machine's page would, one request at a time.

    It sends requests as often as the page does while a run trains.
    """
    circle = [
        [0.5 + 0.3 * math.cos(turn), 0.5 + 0.3 * math.sin(turn)]
        for turn in (2 * math.pi * 0.8 * i / POINTS for i in range(POINTS))
    ]
    began = time.perf_counter()
    while (drawn := 1 + int((time.perf_counter() - began) / POINT_SECONDS)) <= POINTS:
        asked = time.perf_counter()
        if app.answer([circle[:drawn]])["busy"]:
            time.sleep(max(0.0, asked + BUSY_PACE / 1000 - time.perf_counter()))


def trained_beside(app: RunningApp, pad: Pad) -> tuple[list[float], dict[str, list[float]]]:
    """Milliseconds from pen to answer while it trains; seconds of its epochs, by who draws."""
    app.start_training("mnist", images=IMAGES, epochs=EPOCHS)
    waits = []
    while len(app.epoch_seconds()) < EPOCHS:
        who = WHO_DRAWS[(len(app.epoch_seconds()) - 1) % len(WHO_DRAWS)]
        if who == HERE:
            waits += pad.stroke()["predict"]
        elif who == ELSEWHERE:
            draw_elsewhere(app)
        else:
            time.sleep(0.05)
        if app.training_state() in ("failed", "stopped"):
            raise SystemExit("The training beside the pad ended before its time.")
    seconds = app.epoch_seconds()
    return waits, {who: seconds[1 + i :: len(WHO_DRAWS)] for i, who in enumerate(WHO_DRAWS)}


def beside_panel(pad: Pad, panel: str, strokes: int) -> dict[str, list[float]]:
    """Return milliseconds from pen to the pad's answer, without and beside a panel, and to its own.

    Measured in six turns, so that a busy minute of the machine slows both.
    """
    own: list[float] = []
    beside: list[float] = []
    alone: list[float] = []
    pad.choose(panel)
    pad.stroke(panel)
    if panel == "nearest":
        pad.page.get_by_text("nearest among").wait_for(timeout=120_000)  # the index is made
    for _ in range(3):
        pad.choose()
        pad.stroke()  # what the panel was asked is answered
        alone += pad.draw(strokes // 3)["predict"]
        pad.choose(panel)
        waits = pad.draw(strokes // 3, panel)
        beside += waits["predict"]
        own += waits[panel]
    return {f"without {panel}": alone, f"beside {panel}": beside, f"{panel}'s own answer": own}


def row(what: str, waits: list[float]) -> None:
    ordered = sorted(waits)
    median, p95 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    print(f"| {what} | {len(waits)} | {median:.0f} | {p95:.0f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--strokes",
        type=int,
        default=30,
        help="strokes per row; a third of it on gr.Sketchpad, which is slow",
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    args = parser.parse_args(arguments)
    system = shutil.which("chromium") or shutil.which("chromium-browser")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        app = opened.enter_context(RunningApp(folder, data_folder(args.data_dir)))
        app.answer()
        url = opened.enter_context(stock_app())
        browser = opened.enter_context(sync_playwright()).chromium.launch(
            executable_path=system, args=["--no-sandbox"]
        )
        print(f"{conditions()}, Chromium {browser.version}; {args.strokes} strokes a row\n")
        print("| from pen to answer | measured | median, ms | p95, ms |\n|---|---|---|---|")
        pad = Pad(browser, app.url)
        pad.choose()
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(3):
            pad.page.bring_to_front()
            pad.stroke()  # the other page is closed, and its work done
            ours += pad.draw(args.strokes // 3)["predict"]
            # Its canvas keeps the processor busy: it is open only while it is drawn on.
            stock = Stock(browser, url)
            theirs += stock.draw(max(1, args.strokes // 10))
            stock.page.close()
        row("gr.Sketchpad, from the pen's lift", theirs)
        row("digitcnn, no panel", ours)
        pad.page.bring_to_front()
        for panel in PANELS:
            for name, waits in beside_panel(pad, panel, args.strokes).items():
                row(f"digitcnn, {name}", waits)
        pad.choose()
        waits, epochs = trained_beside(app, pad)
        row("digitcnn, while it trains", waits)
        browser.close()
    median = {who: statistics.median(seconds) for who, seconds in epochs.items()}
    print(f"\n| an epoch of {IMAGES:,} images | s, median of {len(epochs[NOBODY])} | images/s |")
    print("|---|---|---|")
    for who, seconds in median.items():
        fewer = 100 * (1 - median[NOBODY] / seconds)
        print(f"| {who} | {seconds:.2f} | {IMAGES / seconds:.0f}, {fewer:.1f}% fewer |")


if __name__ == "__main__":
    main()
