"""Makes the README's pictures from the real app: ``python tests/browser/screenshots.py``.

Reads the digit sets of DIGITCNN_DATA, MNIST among them, and the checkpoints of the folder given,
else those of this one; two or more make Compare worth looking at. Writes ``screenshots/NAME.png``
beside this file, and nothing elsewhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import expect, sync_playwright

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from running_app import CHROMIUM_FLAGS, ROOT, App, system_chromium  # noqa: E402

from digitcnn.digits.hand_drawn import drawings  # noqa: E402

PICTURES = HERE / "screenshots"
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
MINUTES = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint-dir", type=Path, default=ROOT / "checkpoints")
    args = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    expect.set_options(timeout=3 * MINUTES)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(args.checkpoint_dir, Path(folder) / "checkpoints")
        app = App(Path(folder), Path(os.environ["DIGITCNN_DATA"]))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=system_chromium(), args=CHROMIUM_FLAGS
                )
                take_all(browser, app.url)
                browser.close()
        finally:
            app.end()


def take_all(browser: Any, url: str) -> None:
    page = browser.new_page(viewport=WIDE)
    page.goto(url)
    page.locator("#learn-status .status-line").first.wait_for()
    for tab, show in (
        ("Evaluate", evaluate),
        ("Stability", measure),
        ("Compare", compare),
        ("Sketchpad", draw),
    ):
        page.get_by_role("tab", name=tab, exact=True).click()
        show(page)
        take(page, tab.lower())
    for name, look, viewport in (("dark", "dark", WIDE), ("phone", "light", PHONE)):
        other = browser.new_page(viewport=viewport)
        other.goto(f"{url}/?__theme={look}")
        other.get_by_role("tab", name="Sketchpad", exact=True).click()
        draw(other)
        take(other, f"sketchpad-{name}")
        other.close()
    # Last: what it trains would be the model of the pages above.
    page.get_by_role("tab", name="Train", exact=True).click()
    train(page)
    take(page, "train")
    page.locator("#train-stop").click()


def take(page: Any, name: str) -> None:
    path = PICTURES / f"{name}.png"
    page.wait_for_timeout(1500)  # what moves comes to rest
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def begin_with(page: Any, place: str) -> None:
    """Scroll until that stands at the top."""
    page.locator(place).evaluate("place => place.scrollIntoView({ block: 'start' })")


def evaluate(page: Any) -> None:
    page.locator("#evaluate-run").click()
    page.locator("#evaluate-summary .card").first.wait_for(timeout=3 * MINUTES)
    begin_with(page, "#evaluate-status")


def measure(page: Any) -> None:
    page.locator("#stability-run").click()
    page.locator("#stability-table table").wait_for(timeout=3 * MINUTES)
    begin_with(page, "#stability-status")


def compare(page: Any) -> None:
    page.locator("#compare-run").click()
    page.locator("#compare-table table").wait_for(timeout=3 * MINUTES)
    begin_with(page, "#compare-status")


def draw(page: Any) -> None:
    """A four, as somebody draws it; the panels follow."""
    four = next(drawing for drawing in drawings() if drawing.digit == 4)
    canvas = page.locator("#pad canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for stroke in four.strokes:
        for number, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if number == 0:
                page.mouse.down()
        page.mouse.up()
    page.locator("#pad-answer[data-digit='4']").wait_for()
    if page.viewport_size["width"] > 640:  # on a phone the panel is below the window
        expect(page.locator("#panel-why .sentence")).to_contain_text("scores")


def train(page: Any) -> None:
    """Two epochs in, so that there are curves and sample digits."""
    page.locator("#train-quick").click()
    expect(page.locator("#train-status")).to_contain_text("epoch 3 of", timeout=6 * MINUTES)


if __name__ == "__main__":
    main()
