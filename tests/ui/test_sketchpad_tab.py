import base64
import io
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from sample_networks import random_detector
from threadpoolctl import ThreadpoolController

from digitcnn.errors import CheckpointError, DigitCNNError, FeedbackError, SketchError
from digitcnn.network.checkpoint import Checkpoint, save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.ui import sketchpad_tab
from digitcnn.ui.calls import replying
from digitcnn.ui.models import Models
from digitcnn.workspace import Workspace

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=timezone.utc)
STROKES = [[[0.3, 0.2], [0.7, 0.2], [0.45, 0.8]]]
DRAWN = {"model": "a", "strokes": STROKES, "width": 0.065}
JUDGED = {**DRAWN, "visitor": "v" * 32, "sketch": "s1", "digit": 7}


@pytest.fixture
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(1)).eval()


@pytest.fixture
def workspace(tmp_path: Path, network: DigitCNN) -> Workspace:
    """One model, ``a``, with a temperature of 0.25."""
    (tmp_path / "checkpoints").mkdir()
    details = Details(
        digits="synthetic", epochs=1, planned_epochs=1, state="finished", temperature=0.25
    )
    save(tmp_path / "checkpoints" / "a.pt", network, details)
    return Workspace(
        tmp_path / "data",
        tmp_path / "outputs",
        tmp_path / "checkpoints",
        tmp_path / "outputs" / "feedback.sqlite3",
        device="cpu",
    )


def named_functions(workspace: Workspace) -> dict[str, Callable]:
    return {
        function.__name__: function
        for function in sketchpad_tab.pad_functions(workspace, Models(workspace))
    }


def test_the_prediction_is_calibrated_and_returns_its_input(
    workspace: Workspace, network: DigitCNN
) -> None:
    answer = sketchpad_tab.predict_sketch(Models(workspace), DRAWN)
    pixels = torch.frombuffer(bytearray(base64.b64decode(answer["seen"])), dtype=torch.uint8)
    with torch.inference_mode():
        logits = network(network.prepare(pixels.view(1, 28, 28)))[0]
    assert answer["probabilities"] == pytest.approx((logits / 0.25).softmax(0).tolist(), abs=1e-5)
    assert answer["digit"] == int(logits.argmax())
    assert answer["calibrated"] is True


def test_the_reply_states_whether_training_occupies_the_processor(workspace: Workspace) -> None:
    predict = named_functions(workspace)["predict"]
    assert predict(DRAWN)["busy"] is False
    workspace.job.exclusive.register(lambda: "A training is running.")
    assert predict(DRAWN)["busy"] is True


def test_a_blank_sketch_gets_no_prediction(workspace: Workspace) -> None:
    assert sketchpad_tab.predict_sketch(Models(workspace), {**DRAWN, "strokes": []}) == {
        "digit": None
    }


def test_a_picture_is_classified_like_a_drawing(workspace: Workspace) -> None:
    image = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(image).line([(90, 60), (210, 60), (135, 240)], fill=0, width=20)
    file = io.BytesIO()
    image.save(file, "PNG")
    payload = {"model": "a", "picture": base64.b64encode(file.getvalue()).decode()}
    answer = sketchpad_tab.predict_sketch(Models(workspace), payload)
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_each_digit_of_a_number_gets_feedback_of_its_own(workspace: Workspace) -> None:
    models = Models(workspace)
    bars = [[[x, 0.3], [x, 0.7]] for x in (0.2, 0.8)]
    answer = sketchpad_tab.predict_sketch(models, {**DRAWN, "strokes": bars})
    assert (answer["digit"], answer["is_digit"]) == (None, False)
    assert answer["number"] == "".join(str(part["digit"]) for part in answer["parts"])
    assert len(answer["parts"]) == 2
    for place, part in enumerate(answer["parts"]):
        feedback = {**JUDGED, "seen": part["seen"], "sketch": f"s-{place}", "digit": part["digit"]}
        reply = sketchpad_tab.record_feedback(workspace, models, feedback, NOW)
        assert reply["answer"] == part["digit"]
    assert len(workspace.feedback.entries()) == 2


@pytest.mark.parametrize("seen", ["", "AAAA", 3, "A" * 1046])
def test_a_part_that_is_not_28x28_is_refused(workspace: Workspace, seen: object) -> None:
    with pytest.raises(SketchError):
        sketchpad_tab.record_feedback(workspace, Models(workspace), {**JUDGED, "seen": seen}, NOW)


def test_the_pad_gets_the_ink_of_a_picture(workspace: Workspace) -> None:
    image = Image.new("L", (300, 200), 255)
    ImageDraw.Draw(image).line([(90, 40), (150, 40), (110, 160)], fill=0, width=14)
    file = io.BytesIO()
    image.save(file, "PNG")
    payload = {"model": "a", "picture": base64.b64encode(file.getvalue()).decode()}
    answer = sketchpad_tab.predict_sketch(Models(workspace), payload)
    stencil = Image.open(io.BytesIO(base64.b64decode(answer["ink"].split(",")[1])))
    assert stencil.size == image.size
    assert stencil.getchannel("A").getpixel((120, 40)) == 255
    assert stencil.getchannel("A").getpixel((20, 20)) == 0


def test_feedback_stores_the_servers_own_prediction_and_returns_the_scores(
    workspace: Workspace,
) -> None:
    claimed = {**JUDGED, "answer": 7, "probabilities": [0] * 7 + [1, 0, 0]}
    answer = sketchpad_tab.predict_sketch(Models(workspace), DRAWN)["digit"]
    other = (answer + 1) % 10
    wrong = sketchpad_tab.record_feedback(
        workspace, Models(workspace), {**claimed, "digit": other}, NOW
    )
    assert wrong["answer"] == answer
    assert wrong["mine"]["right"] == 0
    assert wrong["mine"]["total"] == 1
    right = sketchpad_tab.record_feedback(
        workspace, Models(workspace), {**claimed, "digit": answer}, NOW
    )
    assert right["mine"]["share"] == 1
    assert right["all"]["total"] == 1
    (row,) = workspace.feedback.entries(limit=9)
    assert (row.answer, row.true_digit) == (answer, answer)
    assert right["stored_in"] == "feedback.sqlite3 on the computer running this app"


def test_feedback_that_the_browser_sends_again_is_stored_once_and_answered_as_stored(
    workspace: Workspace,
) -> None:
    models = Models(workspace)
    replies = [
        sketchpad_tab.record_feedback(workspace, models, JUDGED, NOW + timedelta(seconds=wait))
        for wait in (0, 12)
    ]
    assert replies[0] == replies[1]
    assert replies[0]["mine"]["total"] == 1
    (entry,) = workspace.feedback.entries()
    assert (entry.time, entry.corrected) == (NOW, None)


def test_not_a_digit_is_a_label_everywhere_and_a_prediction_with_a_detector(
    workspace: Workspace, network: DigitCNN, tmp_path: Path
) -> None:
    details = Details(digits="synthetic", epochs=1, planned_epochs=1, state="finished")
    strict = random_detector().with_threshold(1e9)
    save(tmp_path / "checkpoints" / "strict.pt", network, details, strict)
    models = Models(workspace)
    sure = sketchpad_tab.predict_sketch(models, DRAWN)
    refused = sketchpad_tab.predict_sketch(models, {**DRAWN, "model": "strict"})
    assert (sure["is_digit"], refused["is_digit"]) == (None, False)
    assert sure["digit"] == refused["digit"]
    judged = {**JUDGED, "digit": None}
    wrong = sketchpad_tab.record_feedback(workspace, models, judged, NOW)
    assert (wrong["answer"], wrong["mine"]["right"]) == (sure["digit"], 0)
    right = sketchpad_tab.record_feedback(workspace, models, {**judged, "model": "strict"}, NOW)
    assert (right["answer"], right["mine"]["right"]) == (None, 1)


def test_undefined_shares_are_null(workspace: Workspace) -> None:
    scores = sketchpad_tab.scores_of(workspace, {"visitor": "v" * 32})
    nothing = {"right": 0, "total": 0, "share": None, "low": None, "high": None}
    assert scores["mine"] == scores["all"] == nothing


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "b"}, CheckpointError),
        ({"model": ""}, SketchError),
        ({"model": ["a"]}, SketchError),
        ({"strokes": None}, SketchError),
        ({"width": "wide"}, SketchError),
        ({"picture": None}, SketchError),
        ({"picture": "A" * 6_000_000}, SketchError),
        ({"strokes": []}, FeedbackError),
        ({"digit": "7"}, FeedbackError),
        ({"digit": True}, FeedbackError),
        ({"digit": 10}, FeedbackError),
        ({"visitor": 3}, SketchError),
        ({"sketch": "s" * 1000}, FeedbackError),
    ],
)
def test_feedback_with_an_invalid_part_is_refused_and_not_counted(
    workspace: Workspace, change: dict, error: type[DigitCNNError]
) -> None:
    with pytest.raises(error):
        sketchpad_tab.record_feedback(workspace, Models(workspace), {**JUDGED, **change}, NOW)
    assert workspace.feedback.score().total == 0


def test_errors_are_sentences_and_unexpected_ones_are_logged(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    functions = named_functions(workspace)
    assert set(functions) == {"predict", "give_feedback", "scores"}
    for payload in (None, [], "x", 3):
        assert "invalid sketch" in functions["predict"](payload)["error"]
    assert "There is no checkpoint" in functions["predict"]({**DRAWN, "model": "b"})["error"]
    assert caplog.records == []

    class Broken(Models):
        def get(self, name: str | None) -> Checkpoint:
            raise RuntimeError("the secret inside")

    broken, *_ = sketchpad_tab.pad_functions(workspace, Broken(workspace))
    reply = broken(DRAWN)
    assert "secret" not in reply["error"]
    assert "the secret inside" in caplog.text


def test_the_page_s_calls_compute_on_one_core() -> None:
    threads = replying(lambda _: {"threads": torch.get_num_threads()})
    torch.get_num_threads()
    with ThreadpoolController().limit(limits=2, user_api="openmp"):
        assert threads({}) == {"threads": 1}
