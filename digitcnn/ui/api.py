"""What programs may ask of a running lab: named and documented calls, for ``gradio_client``.

All of them only look: whoever may open the page may make them. The page's own events are private,
and what changes something is the owner's, on the page.
"""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from typing import Any

import gradio as gr

from digitcnn.analysis import metrics
from digitcnn.errors import DigitSetError, SketchError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.models import Models
from digitcnn.ui.sketchpad_tab import answer_sketch
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

# Calls that compute wait for each other, so that a program leaves room for people.
AT_A_TIME = 1


def build_api(workspace: Workspace, models: Models) -> None:
    """The calls, inside an open ``gr.Blocks``; nothing of them is seen on the page."""

    @toasting
    def predict(picture: str | None, model: str) -> dict[str, Any]:
        """The digit on a picture of any size: {"digit", "is_digit", "probabilities", "seen"};
        is_digit is null where the model cannot tell, seen the 28x28 bytes that the network saw,
        in base64. {"digit": null} for a blank picture."""
        if picture is None:
            raise SketchError("No picture came; send an image file.")
        try:
            content = base64.b64encode(Path(picture).read_bytes()).decode("ascii")
        except OSError as error:
            raise SketchError("The picture is no longer held; send it again.") from error
        return answer_sketch(models, {"model": model or models.default, "picture": content})

    @toasting
    def list_models() -> list[dict[str, Any]]:
        """The models that can be asked, newest first: {"name", "digest", "digits", "verdict"}."""
        return [
            {
                "name": found.name,
                "digest": found.digest,
                "digits": found.details.digits,
                "verdict": found.verdict,
            }
            for found in workspace.checkpoints.list()
            if isinstance(found, Checkpoint)
        ]

    @toasting
    def list_digit_sets() -> list[dict[str, Any]]:
        """The digit sets that the lab knows: {"name", "split", "n", "present"}."""
        return [
            {"name": entry.name, "split": entry.split, "n": entry.n, "present": entry.present}
            for entry in workspace.catalog.entries()
        ]

    @toasting
    def evaluate(model: str, digits: str) -> dict[str, Any]:
        """A model's numbers on a test set, as ``python -m digitcnn evaluate --json`` gives them."""
        checkpoint = models.get(model)
        if not isinstance(digits, str):
            raise DigitSetError("No test set is named; digit_sets() lists them.")
        predictions = workspace.predict(checkpoint, workspace.catalog.open(digits, "test"))
        temperature = checkpoint.temperature
        return metrics.evaluate(predictions, temperature).to_json()

    @toasting
    def training() -> dict[str, Any]:
        """The training of this lab: {"state", "run", "epochs", "message", "history"}; state is
        idle, running, stopped, finished, interrupted or failed; a row of history per epoch."""
        view = workspace.job.view()
        return {
            "state": view.state,
            "run": view.run or None,
            "epochs": view.config.epochs if view.config else None,
            "message": view.message,
            "history": [dataclasses.asdict(epoch) for epoch in view.history],
        }

    for ask, name in (
        (list_models, "models"),
        (list_digit_sets, "digit_sets"),
        (training, "training"),
    ):
        gr.api(ask, api_name=name, queue=False)
    gr.api(evaluate, api_name="evaluate", concurrency_limit=AT_A_TIME)
    # A file needs a component that takes uploads and lets no other path of this machine in.
    with gr.Column(visible=False):
        picture = gr.File(label="picture", type="filepath")
        model = gr.Textbox(
            "", label="model", info="a name that models() gives; empty: the page's first"
        )
        answer = gr.JSON(label="answer")
        gr.Button("predict").click(
            predict,
            [picture, model],
            answer,
            api_name="predict",
            api_description=predict.__doc__,
            concurrency_limit=AT_A_TIME,
        )
