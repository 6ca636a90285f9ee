"""While it trains: the sketch, classified by the network as it was after each epoch."""

from __future__ import annotations

import torch

from digitcnn.training.run_record import RUNNING
from digitcnn.training.view import TrainingView
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.sketchpad_tab import Payload, seen_of
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace


def film_panel(workspace: Workspace) -> Panel:
    """Return the panel; ``film`` takes ``{"strokes", "width"}`` or ``{"picture"}``, ``film_news``
    anything.
    """

    def film(payload: Payload) -> Payload:
        return filmed_sketch(workspace.job.view(), payload)

    def film_news(payload: Payload) -> Payload:
        return news_of(workspace.job.view())

    return Panel(
        name="film",
        title="While it trains",
        explanation="Your drawing, answered by the network as it was after each epoch of the "
        "running training, or of the last one.",
        functions=(film, film_news),
        content=render("panels/film.html"),
    )


def news_of(view: TrainingView) -> Payload:
    """Return ``{"key", "running", "frames"}``; the key changes with everything that is shown."""
    frames = view.replay.frames
    latest = frames[-1].epoch if frames else 0
    return {
        "key": f"{view.run}/{latest}/{view.state}",
        "running": view.state == RUNNING,
        "frames": len(frames),
    }


@torch.inference_mode()
def filmed_sketch(view: TrainingView, payload: Payload) -> Payload:
    """Classify a sketch with every network of the replay.

    Returns ``news_of`` and ``{"run", "epochs": planned, "film": [{"epoch", "probabilities"}]}``;
    ``{"blank": True}`` for an empty sketch. Probabilities are not calibrated: the temperature is
    fitted at the end of a training. Raises SketchError.
    """
    seen = seen_of(payload)
    if seen is None:
        return {"blank": True}
    film = []
    for frame in view.replay.frames:
        logits = frame.network(frame.network.prepare(seen[None]))[0]
        probabilities = [round(p, 4) for p in torch.softmax(logits, dim=0).tolist()]
        film.append({"epoch": frame.epoch, "probabilities": probabilities})
    planned = view.config.epochs if view.config else 0
    return {**news_of(view), "run": view.run, "epochs": planned, "film": film}
