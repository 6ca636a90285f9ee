"""The offline page in a real browser without a connection: it sees and answers as Python does."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from drawing import draw

import digitcnn
from digitcnn.digits import synthetic
from digitcnn.digits.digit_forms import FORMS
from digitcnn.digits.sketch import from_strokes
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.export import offline_page

pytestmark = pytest.mark.browser

PACKAGE = Path(digitcnn.__file__).parent
SHIPPED = PACKAGE.parent / "checkpoints" / "digitcnn-mnist.pt"
PEN = 0.065

TWO = [(0.3, 0.32), (0.36, 0.2), (0.5, 0.17), (0.64, 0.25), (0.62, 0.42), (0.3, 0.8), (0.74, 0.78)]
BAR = [(0.5, 0.2), (0.5, 0.5), (0.5, 0.8)]

Strokes = list[list[tuple[float, float]]]


def with_modules(expression: str) -> str:
    """A function for the page, with the page's modules, model and tensors at hand.

    The page's own script keeps them to itself; the data is the page's.
    """
    names = ("strokes", "framing", "network")
    sources = (PACKAGE / "web" / "scripts" / f"{name}.js" for name in names)
    modules = "".join(re.sub("^export ", "", s.read_text("utf-8"), flags=re.M) for s in sources)
    return f"""(given) => {{
        {modules}
        const model = JSON.parse(document.querySelector("#model").textContent);
        const weights = document.querySelector("#weights").textContent;
        const tensors = readTensors(model.tensors, weights);
        return ({expression})(given);
    }}"""


# Pixels, digit and probabilities of each sketch, as the page computes them.
READ_ALL = with_modules("""([sketches, pen]) => sketches.map((strokes) => {
    const pixels = frameStrokes(strokes, pen, model.framing);
    const { digit, probabilities, isDigit } = classify(pixels, model, tensors);
    return { pixels: Array.from(pixels), digit, probabilities, isDigit };
})""")

# The places of the pen as the page hears of them, in pad sides.
RECORD_PEN = """() => {
    const canvas = document.querySelector("#pad canvas");
    window.penPlaces = [];
    for (const type of ["pointerdown", "pointermove"]) {
        canvas.addEventListener(type, (event) => {
            if (type === "pointermove" && !event.buttons) return;
            const box = canvas.getBoundingClientRect();
            const events = event.getCoalescedEvents?.() ?? [];
            for (const { clientX, clientY } of events.length ? events : [event])
                window.penPlaces.push(
                    [(clientX - box.left) / box.width, (clientY - box.top) / box.height]);
        });
    }
}"""


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return checkpoints.load(SHIPPED)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory, shipped: Checkpoint) -> Path:
    path = tmp_path_factory.mktemp("offline") / "page.html"
    path.write_text(offline_page.to_page(shipped), "utf-8")
    return path


class OfflinePage:
    """What a person does on the page, with what went wrong and what was asked for noted."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}} | options)
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.problems.append(said.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.canvas = self.page.locator("#pad canvas")

    def draw(self, stroke: list[tuple[float, float]]) -> None:
        draw(self.page, stroke)

    def answers(self, digit: str) -> None:
        """Waits until the answer is ``digit``; empty for an empty pad."""
        self.page.locator(f'#pad-answer[data-digit="{digit}"]').wait_for()

    def colour(self, selector: str, what: str) -> str:
        script = "(found, what) => getComputedStyle(found)[what]"
        return str(self.page.locator(selector).evaluate(script, what))


@pytest.fixture
def offline(browser: Any, page_file: Path) -> Iterator[OfflinePage]:
    opened = OfflinePage(browser, page_file)
    yield opened
    opened.context.close()
    assert opened.problems == []
    assert opened.requests == [page_file.as_uri()]


def scribbles(count: int) -> list[Strokes]:
    """Random walks of one to four strokes, some of one point, some small, some along the edge."""
    rng = random.Random(0)

    def inside(value: float) -> float:
        return min(1.0, max(0.0, value))

    def stroke(size: float) -> list[tuple[float, float]]:
        points = [(rng.random(), rng.random())]
        for _ in range(rng.choice([0, 1, 4, 12, 30])):
            x, y = points[-1]
            points.append((inside(x + rng.gauss(0, size)), inside(y + rng.gauss(0, size))))
        return points

    sizes = [rng.choice([0.001, 0.02, 0.08, 0.3]) for _ in range(count)]
    return [[stroke(size) for _ in range(rng.randint(1, 4))] for size in sizes]


def written_digits() -> list[Strokes]:
    """The control points of every form in which the program writes a digit."""
    drawings = []
    for form in FORMS.values():
        pairs = [
            [point.rstrip("!").split(",") for point in stroke.split()]
            for stroke in form.strokes.split("/")
        ]
        drawings.append(
            [
                [(0.1 + 0.008 * float(x), 0.1 + 0.008 * float(y)) for x, y in stroke]
                for stroke in pairs
            ]
        )
    return drawings


def test_the_page_frames_and_predicts_as_python_does(
    offline: OfflinePage, shipped: Checkpoint
) -> None:
    drawings = written_digits() + scribbles(90)
    found = offline.page.evaluate(READ_ALL, [drawings, PEN])
    seen = torch.tensor([reading["pixels"] for reading in found]).view(-1, 28, 28)
    expected = torch.stack(
        [image for strokes in drawings if (image := framed(strokes)) is not None]
    )
    assert len(expected) == len(drawings) > 120
    assert (seen - expected.int()).abs().max() <= 1
    probabilities = shipped.probabilities(expected)
    assert [reading["digit"] for reading in found] == probabilities.argmax(dim=1).tolist()
    answered = torch.tensor([reading["probabilities"] for reading in found])
    assert (answered - probabilities).abs().max() < 0.01
    passes = shipped.classify(expected).is_digit
    assert passes is not None
    assert 20 < int(passes.sum()) < len(passes) - 20
    told = torch.tensor([reading["isDigit"] for reading in found])
    # One may stand so near the threshold that what float16 rounds decides.
    assert int((told != passes).sum()) <= 1


def framed(strokes: Strokes) -> torch.Tensor | None:
    return from_strokes(strokes, PEN)


def test_the_network_of_the_page_classifies_images_as_pytorch_does(
    offline: OfflinePage, shipped: Checkpoint
) -> None:
    images = synthetic.draw("synthetic", "test", images=60).images
    classify = "images => images.map(image => Array.from(classify(image, model, tensors).logits))"
    logits = offline.page.evaluate(with_modules(classify), images.flatten(1).tolist())
    with torch.inference_mode():
        expected = shipped.network(shipped.network.prepare(images))
    # What float16 rounds of the weights.
    assert (torch.tensor(logits) - expected).abs().max() < 0.02


def test_a_digit_drawn_with_the_mouse_is_predicted_as_python_predicts_its_strokes(
    offline: OfflinePage, shipped: Checkpoint
) -> None:
    offline.page.evaluate(RECORD_PEN)
    offline.draw(TWO)
    offline.answers("2")
    drawn = """([first, ...others]) => {
        const stroke = startStroke(first);
        for (const place of others) extendStroke(stroke, [place]);
        return linesOf([stroke]);
    }"""
    places = offline.page.evaluate("penPlaces")
    image = from_strokes(offline.page.evaluate(with_modules(drawn), places), PEN)
    assert image is not None
    shown = offline.page.locator("#pad-seen").evaluate(
        """seen => Array.from(seen.getContext("2d").getImageData(0, 0, 28, 28).data)
            .filter((value, i) => i % 4 === 0)"""
    )
    assert (torch.tensor(shown).view(28, 28) - image.int()).abs().max() <= 1
    share = shipped.probabilities(image[None])[0, 2]
    best = offline.page.locator(".bars li.best").inner_text()
    assert re.sub(r"\s+", " ", best) == f"2 {100 * share:.1f}%"
    assert offline.page.locator(".bars li").count() == 10


def test_the_exported_page_rejects_a_scribble(offline: OfflinePage) -> None:
    offline.draw([(0.2 + 0.6 * (i % 2), 0.2 + 0.05 * i) for i in range(13)])
    offline.answers("none")
    words = offline.page.locator("#pad-answer").inner_text()
    assert re.fullmatch(r"Not a digit\s+closest: \d", words)


def test_strokes_are_taken_back_and_cleared_by_buttons_and_keys(offline: OfflinePage) -> None:
    offline.answers("")
    assert offline.page.locator("#pad-undo").is_disabled()
    offline.draw(TWO)
    offline.answers("2")
    offline.draw([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)])
    offline.page.locator('#pad-answer:not([data-digit="2"])').wait_for()
    offline.page.locator("#pad-undo").click()
    offline.answers("2")
    offline.page.keyboard.press("Control+z")
    offline.answers("")
    offline.draw(BAR)
    offline.answers("1")
    offline.page.keyboard.press("Delete")
    offline.answers("")
    offline.draw(TWO)
    offline.answers("2")
    offline.page.locator("#pad-clear").press("Enter")
    offline.answers("")


def test_a_finger_draws_on_a_phone_and_the_page_fits_it(browser: Any, page_file: Path) -> None:
    phone = OfflinePage(
        browser, page_file, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    box = phone.canvas.bounding_box()
    touch = phone.context.new_cdp_session(phone.page)
    for kind, points in [("touchStart", TWO[:1]), *(("touchMove", [p]) for p in TWO[1:])]:
        places = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    phone.answers("2")
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 360
    assert phone.page.evaluate("scrollY") == 0
    phone.context.close()
    assert phone.problems == []


def test_light_and_dark_follow_the_browser(browser: Any, page_file: Path) -> None:
    shown = OfflinePage(browser, page_file, color_scheme="light")
    light = shown.colour("body", "backgroundColor"), shown.colour("body", "color")
    shown.page.emulate_media(color_scheme="dark")
    dark = shown.colour("body", "backgroundColor"), shown.colour("body", "color")
    shown.context.close()
    assert light == ("rgb(246, 248, 251)", "rgb(23, 33, 47)")
    assert dark == ("rgb(12, 20, 32)", "rgb(230, 235, 242)")
