"""The panels below the pad on the server."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from digitcnn.analysis.explain import Explanation, Gaps
from digitcnn.analysis.feature_neighbours import FeatureIndexes
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import CheckpointError, DigitCNNError, DigitSetError, SketchError
from digitcnn.network.checkpoint import Checkpoint, save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.ui.models import Models
from digitcnn.ui.panels.nearest import nearest_digits
from digitcnn.ui.panels.panel import Panel, WorkQueue, panel_functions
from digitcnn.ui.panels.why import explain_sketch, sentence
from digitcnn.ui.sketches import COPIES_HELD, SketchReader
from digitcnn.ui.sketchpad_tab import panels_of
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

STROKES = [[[0.3, 0.2], [0.7, 0.2], [0.45, 0.8]]]
DRAWN = {"model": "a", "strokes": STROKES, "width": 0.065}
BLANK = {**DRAWN, "strokes": []}
KNOWN = {"digits": "small", "epochs": 1, "planned_epochs": 1, "state": "finished"}


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, data_dir: Path, drawn: DigitSet
) -> Workspace:
    """``a`` was trained on the small set; of the others' images none are here."""
    root = tmp_path_factory.mktemp("panels")
    folder = root / "checkpoints"
    folder.mkdir()
    network = DigitCNN(generator=torch.Generator().manual_seed(1)).eval()
    training, _ = split_held_out(drawn)
    prints = {"train": training.fingerprint}
    save(folder / "a.pt", network, Details(**KNOWN, fingerprints=prints))
    save(folder / "other-images.pt", network, Details(**KNOWN, fingerprints={"train": "0" * 64}))
    save(folder / "no-print.pt", network, Details(**KNOWN))
    elsewhere = Details(**{**KNOWN, "digits": "mnist"}, fingerprints={"train": "0" * 64})
    save(folder / "elsewhere.pt", network, elsewhere)
    gone = Details(**{**KNOWN, "digits": "mine"}, fingerprints={"train": "0" * 64})
    save(folder / "gone.pt", network, gone)
    save(folder / "bare.pt", network, Details())
    return Workspace(data_dir, root / "outputs", folder, root / "feedback.sqlite3", device="cpu")


@pytest.fixture
def indexes(tmp_path: Path) -> FeatureIndexes:
    return FeatureIndexes(tmp_path / "features", sleep=lambda seconds: None)


def pixels(encoded: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(encoded)), dtype=torch.uint8)


def settled(ask: Callable[[], dict]) -> dict:
    """The first reply that does not ask to come again."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        reply = ask()
        if "again" not in reply:
            return reply
        assert reply["wait"].endswith(".")
        time.sleep(0.01)
    raise AssertionError("the index did not come")


# --- Nearest ------------------------------------------------------------------------------------


def test_the_nine_nearest_are_training_images_and_none_is_held_out(
    workspace: Workspace, indexes: FeatureIndexes, drawn: DigitSet
) -> None:
    reader = SketchReader(Models(workspace))
    reply = settled(lambda: nearest_digits(workspace, reader, indexes, DRAWN))
    training, _ = split_held_out(drawn)
    assert reply["of"] == len(training) == 440
    assert reply["set"] == "small"
    assert len(reply["digits"]) == 9
    distances = [found["distance"] for found in reply["digits"]]
    assert distances == sorted(distances)
    for found in reply["digits"]:
        assert found["label"] == int(training.labels[found["place"]])
        assert torch.equal(pixels(found["image"]).view(28, 28), training.images[found["place"]])


def test_a_blank_pad_starts_no_index(workspace: Workspace, indexes: FeatureIndexes) -> None:
    assert nearest_digits(workspace, SketchReader(Models(workspace)), indexes, BLANK) == {
        "blank": True
    }
    assert not indexes.files.folder.exists()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("bare", "does not record its training images"),
        ("no-print", "does not record its training images"),
        ("elsewhere", "was trained on MNIST.*data download mnist`"),
        ("gone", "was trained on mine.*restore them in the data folder"),
        ("other-images", "differ from those other-images was trained on"),
    ],
)
def test_without_the_training_images_the_error_names_them(
    workspace: Workspace, indexes: FeatureIndexes, model: str, says: str
) -> None:
    payload = {**DRAWN, "model": model}
    with pytest.raises(DigitSetError, match=says):
        settled(
            lambda: nearest_digits(workspace, SketchReader(Models(workspace)), indexes, payload)
        )


# --- Why ----------------------------------------------------------------------------------------


def test_the_page_draws_the_explanation(workspace: Workspace) -> None:
    reply = explain_sketch(SketchReader(Models(workspace)), {**DRAWN, "rival": None})
    seen = pixels(reply["seen"])
    ink = pixels(reply["ink"]).view(torch.int8)
    assert seen.shape == ink.shape == (784,)
    assert not ink[seen == 0].any()
    assert ink.abs().max() == 127
    gaps = pixels(reply["gaps"]).view(torch.int8)
    assert len(gaps) == reply["grid"]["across"] ** 2 == 121
    assert (gaps == -128).any()
    assert [len(pixels(maps)) for maps in reply["maps"]] == [32 * 14 * 14, 64 * 7 * 7]
    assert all(pixels(maps).max() == 255 for maps in reply["maps"])
    assert reply["sentence"].startswith(f"{reply['digit']} is ")


def test_the_rival_is_the_persons_choice(workspace: Workspace) -> None:
    reader = SketchReader(Models(workspace))
    first = explain_sketch(reader, DRAWN)
    other = next(d for d in range(10) if d not in (first["digit"], first["rival"]))
    chosen = explain_sketch(reader, {**DRAWN, "rival": other})
    assert chosen["rival"] == other
    assert chosen["ink"] != first["ink"]
    same = explain_sketch(reader, {**DRAWN, "rival": first["digit"]})
    assert same == first


def test_a_blank_pad_is_not_explained(workspace: Workspace) -> None:
    assert explain_sketch(SketchReader(Models(workspace)), BLANK) == {"blank": True}


@pytest.mark.parametrize("rival", [10, -1, 1.0, True, "3", [], {}])
def test_a_rival_is_a_digit(workspace: Workspace, rival: object) -> None:
    with pytest.raises(SketchError, match="must be a digit from 0 to 9"):
        explain_sketch(SketchReader(Models(workspace)), {**DRAWN, "rival": rival})


def explanation(ink: float, gap: float) -> Explanation:
    image = torch.full((28, 28), 255, dtype=torch.uint8)
    points = torch.zeros(28, 28)
    points[14, 2] = ink
    return Explanation(
        4, 9, 6.54, image, points, Gaps(torch.tensor([[2, 14]]), torch.tensor([gap]))
    )


def test_the_sentence_names_only_parts_that_matter() -> None:
    start = (
        "4 is 26 times as likely as 9: before scores become percentages, its score is 3.3 higher."
    )
    ink = "Of these points, the ink on the left adds 1.5."
    gap = "A dot in the gap at the top would cost 1.2."
    assert sentence(explanation(3.1, 2.5), 2.0) == f"{start} {ink} {gap}"
    assert sentence(explanation(3.1, 0.3), 2.0) == f"{start} {ink}"
    assert sentence(explanation(-1.0, 2.5), 2.0) == f"{start} {gap}"
    assert sentence(explanation(0.2, -2.0), 2.0) == f"{start} No single part decides it."
    alone = "The ink on the left alone adds 5.1, the rest takes away 1.8."
    assert sentence(explanation(10.2, 0.0), 2.0) == f"{start} {alone}"
    assert sentence(explanation(0.0, 0.0), 10.0).startswith("4 is 1.9 times as likely as 9: ")
    assert sentence(explanation(0.0, 0.0), 1e3).startswith("4 is as likely as 9: ")
    assert sentence(explanation(0.0, 0.0), 0.1).startswith("4 is more than 10,000 times as likely")


def test_the_lead_and_the_ratio_agree_with_the_probabilities(workspace: Workspace) -> None:
    plain = Models(workspace).get("a")
    details = dataclasses.replace(plain.details, temperature=0.531)
    checkpoint = dataclasses.replace(plain, details=details)
    reader = SketchReader(OneCheckpoint(workspace, checkpoint))
    reply, reading = explain_sketch(reader, DRAWN), reader.read(DRAWN)
    assert reading is not None
    scores = reading.network.logits(reading.image[None])[0]
    shown = (scores / checkpoint.temperature).softmax(0)
    ratio = float(shown[reply["digit"]] / shown[reply["rival"]])
    lead = re.search(r"its score is ([0-9.]+) higher", reply["sentence"])
    assert lead is not None
    assert float(lead[1]) == pytest.approx(math.log(ratio), abs=0.051)
    if 1.05 < ratio < 10:
        assert f" is {ratio:.1f} times as likely" in reply["sentence"]


def test_a_sketch_is_framed_once_and_inference_copies_are_held(workspace: Workspace) -> None:
    reader = SketchReader(Models(workspace))
    first, again = reader.read(DRAWN), reader.read({**DRAWN, "rival": 3})
    assert first is not None
    assert again is not None
    assert again.image is first.image
    assert again.network is first.network is not first.checkpoint.network
    other = reader.read({**DRAWN, "strokes": [[[0.5, 0.2], [0.5, 0.8]]]})
    assert other is not None
    assert other.network is first.network
    assert not torch.equal(other.image, first.image)
    with pytest.raises(SketchError):
        reader.read({**DRAWN, "picture": None})


class OneCheckpoint(Models):
    """Finds this checkpoint, whatever the name."""

    def __init__(self, workspace: Workspace, checkpoint: Checkpoint) -> None:
        super().__init__(workspace)
        self.checkpoint = checkpoint

    def get(self, name: str | None) -> Checkpoint:
        return self.checkpoint


class CountingCopies(DigitCNN):
    """Counts its inference copies; one is made only while no other is."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0
        self.both = threading.Barrier(2)

    def inference_copy(self) -> DigitCNN:
        self.copies += 1
        with suppress(threading.BrokenBarrierError):
            self.both.wait(0.5)  # passes at once where another thread is here
        return self


def test_pages_that_ask_at_once_share_one_inference_copy(workspace: Workspace) -> None:
    network = CountingCopies().eval().requires_grad_(False)
    held = dataclasses.replace(Models(workspace).get("a"), held=network)
    models = OneCheckpoint(workspace, held)
    reader = SketchReader(models)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reader.read, [DRAWN] * 8))
    assert network.copies == 1
    for number in range(COPIES_HELD):
        models.checkpoint = dataclasses.replace(held, digest=str(number))
        reader.read(DRAWN)
    models.checkpoint = held
    reader.read(DRAWN)
    assert network.copies == 2 + COPIES_HELD


def test_a_network_whose_outputs_are_not_finite_is_refused(
    workspace: Workspace, indexes: FeatureIndexes
) -> None:
    good = Models(workspace).get("a")
    sound = SketchReader(Models(workspace))
    settled(lambda: nearest_digits(workspace, sound, indexes, DRAWN))
    broken = DigitCNN().eval().requires_grad_(False)
    broken.hidden.bias.fill_(torch.nan)
    reader = SketchReader(OneCheckpoint(workspace, dataclasses.replace(good, held=broken)))
    with pytest.raises(CheckpointError, match="not finite numbers"):
        explain_sketch(reader, DRAWN)
    with pytest.raises(CheckpointError, match="not finite numbers"):
        nearest_digits(workspace, reader, indexes, DRAWN)


# --- All ----------------------------------------------------------------------------------------

ANYTHING = [
    {},
    {"model": "a"},
    {"model": ["a"], "strokes": STROKES, "width": 0.065},
    {"model": "../../a", "strokes": STROKES, "width": 0.065},
    {"model": "a", "strokes": {"x": 1}, "width": 0.065},
    {"model": "a", "strokes": STROKES, "width": "wide"},
    {"model": "a", "picture": 5},
    {"model": "a", "picture": "aGVsbG8="},
]


@pytest.mark.parametrize("payload", ANYTHING)
def test_any_posted_dictionary_gets_one_sentence(workspace: Workspace, payload: dict) -> None:
    own = panels_of(workspace, Models(workspace))[:2]
    assert [panel.name for panel in own] == ["why", "nearest"]
    for function in (function for panel in own for function in panel.functions.values()):
        with pytest.raises(DigitCNNError) as caught:
            function(payload)
        assert str(caught.value).endswith(".")
        assert not re.search(r"\. [A-Z]", str(caught.value))


def test_every_panel_has_an_element_of_its_name_and_a_sentence(workspace: Workspace) -> None:
    panels = panels_of(workspace, Models(workspace))
    names = [name for panel in panels for name in panel.functions]
    assert len(set(names)) == len(names)
    served = panel_functions(panels)
    assert [function.__name__ for function in served] == names
    html = render("panels/section.html", panels=panels)
    script = bundle.script("page.js")
    for panel in panels:
        assert f'id="panel-{panel.name}"' in html
        assert f'"panel-{panel.name}": start' in script
        assert panel.explanation.endswith(".")


def test_headings_are_text() -> None:
    panel = Panel("why", "<b>Why</b>", "a < b", functions={})
    html = render("panels/section.html", panels=[panel])
    assert "&lt;b&gt;Why" in html
    assert "a &lt; b" in html


def test_panels_compute_one_at_a_time_and_few_wait() -> None:
    running, release, most, lock = [0], threading.Event(), [0], threading.Lock()

    def slow(payload: dict) -> dict:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        release.wait(20)
        with lock:
            running[0] -= 1
        return {"digit": 1}

    queue = WorkQueue(most_waiting=2)
    queued = queue.through(slow)
    replies: list[dict] = []
    threads = [threading.Thread(target=lambda: replies.append(queued({}))) for _ in range(5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(replies) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [set(reply) for reply in replies] == [{"again"}, {"again"}]
    release.set()
    for thread in threads:
        thread.join()
    assert replies[2:] == [{"digit": 1}] * 3
    assert most == [1]


def test_a_panel_that_fails_leaves_the_queue_free() -> None:
    def broken(payload: dict) -> dict:
        raise SketchError("Broken.")

    queued = WorkQueue(most_waiting=0).through(broken)
    for _ in range(3):
        with pytest.raises(SketchError):
            queued({})
