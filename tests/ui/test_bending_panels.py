"""The panels 'What if' and 'During training' on the server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from digitcnn.analysis.axes import SKETCH_AXES
from digitcnn.digits import sketch
from digitcnn.network.checkpoint import load
from digitcnn.network.model import DigitCNN
from digitcnn.training.config import TrainingConfig
from digitcnn.training.view import TrainingReplay, TrainingView
from digitcnn.ui.calls import replying
from digitcnn.ui.models import Models
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.panels.replay import replay_panel, replayed_sketch, state_of
from digitcnn.ui.panels.what_if import what_if_panel
from digitcnn.ui.sketches import SketchReader
from digitcnn.workspace import Workspace

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"
STROKES = [[[0.3, 0.25], [0.7, 0.25], [0.45, 0.8]]]
DRAWN = {"model": "digitcnn-mnist", "strokes": STROKES, "width": 0.065}
BLANK = {**DRAWN, "strokes": []}

HOSTILE: list[Any] = [
    None,
    [],
    "text",
    7,
    {},
    {"model": "digitcnn-mnist"},
    {**DRAWN, "model": ["a"]},
    {**DRAWN, "model": "../../etc/passwd"},
    {**DRAWN, "strokes": [[[float("nan"), 0.5]]]},
    {**DRAWN, "strokes": "x" * 100_000},
    {**DRAWN, "width": {"a": 1}},
    {**DRAWN, "picture": "no picture"},
    {**DRAWN, "axis": -1},
    {**DRAWN, "axis": len(SKETCH_AXES)},
    {**DRAWN, "axis": True},
    {**DRAWN, "axis": 1.0},
    {**DRAWN, "axis": {"deep": [[[]]]}},
]


@pytest.fixture
def workspace(tmp_path: Path, data_dir: Path) -> Workspace:
    return Workspace(
        data_dir, tmp_path / "outputs", CHECKPOINTS, tmp_path / "feedback.sqlite3", device="cpu"
    )


def function_of(panel: Panel, name: str) -> Any:
    return replying(panel.functions[name])


def seen() -> torch.Tensor:
    found = sketch.from_strokes(STROKES, 0.065)
    assert found is not None
    return found


def pictures(reply: dict[str, Any]) -> torch.Tensor:
    data = bytearray(base64.b64decode(reply["images"]))
    return torch.frombuffer(data, dtype=torch.uint8).view(-1, 28, 28)


def test_a_sketch_is_distorted_along_all_axes_and_shown_along_one(workspace: Workspace) -> None:
    what_if = function_of(what_if_panel(SketchReader(Models(workspace))), "what_if")
    model = load(CHECKPOINTS / "digitcnn-mnist.pt")
    for place, axis in enumerate(SKETCH_AXES):
        reply = what_if({**DRAWN, "axis": place})
        json.dumps(reply, allow_nan=False)
        assert (reply["answer"], reply["axis"]) == (7, place)
        assert torch.equal(pictures(reply)[axis.values.index(axis.neutral)], seen())
        # What is said of a picture is what the pad would say of it.
        told = torch.tensor(reply["axes"][place]["probabilities"])
        torch.testing.assert_close(told, model.probabilities(pictures(reply)), atol=2e-4, rtol=0)
    assert [len(one["probabilities"]) for one in reply["axes"]] == [
        len(a.values) for a in SKETCH_AXES
    ]


def test_without_an_axis_the_unchanged_sketch_alone_is_sent(workspace: Workspace) -> None:
    what_if = function_of(what_if_panel(SketchReader(Models(workspace))), "what_if")
    for payload in (DRAWN, {**DRAWN, "axis": None}):
        reply = what_if(payload)
        assert reply["axis"] is None
        assert torch.equal(pictures(reply)[0], seen())


def test_reported_breaks_are_the_first_strengths_with_another_prediction(
    workspace: Workspace,
) -> None:
    reply = function_of(what_if_panel(SketchReader(Models(workspace))), "what_if")(DRAWN)
    broken = 0
    for axis, one in zip(SKETCH_AXES, reply["axes"], strict=True):
        answers = [row.index(max(row)) for row in one["probabilities"]]
        neutral = axis.values.index(axis.neutral)
        for side, steps in (
            ("below", range(neutral, -1, -1)),
            ("above", range(neutral, len(axis.values))),
        ):
            wanted = next((at for at in steps if answers[at] != reply["answer"]), None)
            assert one[side] == wanted
            broken += wanted is not None
    assert broken > 0


def test_the_sliders_on_the_page_are_the_axes(workspace: Workspace) -> None:
    html = what_if_panel(SketchReader(Models(workspace))).content
    assert html.count('type="range"') == len(SKETCH_AXES)
    for axis in SKETCH_AXES:
        neutral = axis.values.index(axis.neutral)
        assert f'max="{len(axis.values) - 1}" step="1" value="{neutral}"' in html


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: repr(payload)[:40])
def test_any_posted_value_gets_a_reply_or_one_sentence(workspace: Workspace, payload: Any) -> None:
    what_if = function_of(what_if_panel(SketchReader(Models(workspace))), "what_if")
    replay = function_of(replay_panel(workspace), "replay")
    state = function_of(replay_panel(workspace), "replay_state")
    reply = what_if(payload)
    assert set(reply) == {"error"}
    assert reply["error"].endswith((".", "?"))
    assert "went wrong" not in reply["error"]
    for answered in (replay(payload), state(payload)):
        json.dumps(answered, allow_nan=False)
        assert "went wrong" not in answered.get("error", "")


def test_an_empty_pad_is_not_an_error(workspace: Workspace) -> None:
    assert function_of(what_if_panel(SketchReader(Models(workspace))), "what_if")(BLANK) == {
        "blank": True
    }
    assert function_of(replay_panel(workspace), "replay")(BLANK) == {"blank": True}


def test_without_a_training_the_replay_is_empty(workspace: Workspace) -> None:
    replay = function_of(replay_panel(workspace), "replay")(DRAWN)
    assert (replay["replay"], replay["frames"], replay["running"]) == ([], 0, False)


def test_replay_classifies_the_sketch_with_each_epochs_network() -> None:
    networks = [DigitCNN(generator=torch.Generator().manual_seed(seed)).eval() for seed in (1, 2)]
    replay = TrainingReplay()
    for epoch, network in enumerate(networks, 1):
        replay = replay.with_epoch(epoch, network.state_dict())
    config = TrainingConfig(digits="small", epochs=5)
    view = TrainingView(state="running", run="<b>mine</b>", config=config, replay=replay)
    reply = replayed_sketch(view, DRAWN)
    json.dumps(reply, allow_nan=False)
    assert (reply["run"], reply["epochs"], reply["running"]) == ("<b>mine</b>", 5, True)
    for epoch, (network, one) in enumerate(zip(networks, reply["replay"], strict=True), 1):
        with torch.inference_mode():
            wanted = network(network.prepare(seen()[None]))[0].softmax(0)
        assert one["epoch"] == epoch
        assert one["probabilities"] == pytest.approx(wanted.tolist(), abs=1e-4)


def test_the_replay_key_changes_with_every_epoch_and_at_the_end() -> None:
    weights = DigitCNN(generator=torch.Generator().manual_seed(1)).state_dict()
    replay = TrainingReplay().with_epoch(1, weights)
    views = [
        TrainingView(),
        TrainingView(state="running", run="a"),
        TrainingView(state="running", run="a", replay=replay),
        TrainingView(state="running", run="a", replay=replay.with_epoch(2, weights)),
        TrainingView(state="finished", run="a", replay=replay.with_epoch(2, weights)),
        TrainingView(state="running", run="b", replay=replay),
    ]
    states = [state_of(view) for view in views]
    assert len({one["key"] for one in states}) == len(views)
    assert [one["frames"] for one in states] == [0, 0, 1, 2, 2, 1]
    assert [one["running"] for one in states] == [False, True, True, True, False, True]
