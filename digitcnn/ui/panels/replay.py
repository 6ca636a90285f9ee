"""Replay by epoch: the sketch's predictions after each epoch."""

from __future__ import annotations

import torch

from digitcnn.training.run_record import RUNNING
from digitcnn.training.view import TrainingView
from digitcnn.ui.calls import Payload
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.sketches import seen_of
from digitcnn.workspace import Workspace


def replay_panel(workspace: Workspace) -> Panel:
    """Return the panel."""
    view = workspace.job.view
    return Panel(
        name="replay",
        title="Replay by epoch",
        explanation="How the network classified your sketch after each epoch of the current or "
        "latest run.",
        functions={
            "replay": lambda payload: replayed_sketch(view(), payload),
            "replay_state": lambda _: state_of(view()),
        },
    )


def state_of(view: TrainingView) -> Payload:
    """Return ``{"key", "running", "frames"}``; the key changes with everything that is shown."""
    frames = view.replay.frames
    latest = frames[-1].epoch if frames else 0
    return {
        "key": f"{view.run}/{latest}/{view.state}",
        "running": view.state == RUNNING,
        "frames": len(frames),
    }


@torch.inference_mode()
def replayed_sketch(view: TrainingView, payload: Payload) -> Payload:
    """Classify a sketch with every network of the replay.

    payload: ``{"strokes", "width"}`` or ``{"picture"}``.
    Returns ``state_of`` and ``{"run", "epochs": planned, "replay": [{"epoch", "probabilities"}]}``;
    ``{"blank": True}`` for an empty sketch. Probabilities are not calibrated: the temperature is
    fitted at the end of a training. Raises SketchError.
    """
    seen = seen_of(payload)
    if seen is None:
        return {"blank": True}
    epochs = []
    for frame in view.replay.frames:
        logits = frame.network(frame.network.prepare(seen[None]))[0]
        probabilities = [round(p, 4) for p in torch.softmax(logits, dim=0).tolist()]
        epochs.append({"epoch": frame.epoch, "probabilities": probabilities})
    planned = view.config.epochs if view.config else 0
    return {**state_of(view), "run": view.run, "epochs": planned, "replay": epochs}
