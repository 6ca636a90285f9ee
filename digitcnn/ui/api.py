"""Named and documented calls for programs, for ``gradio_client``.

They only read: anyone who can open the page can make them. The page's own events are private, and
changes are the owner's, on the page.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gradio as gr

from digitcnn.errors import DigitSetError, SketchError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services import evaluation
from digitcnn.ui.models import Models
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketchpad_tab import predict_sketch
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

# Calls that compute wait for each other, so that a program leaves time for the page.
AT_A_TIME = 1


def build_api(workspace: Workspace, models: Models) -> None:
    """Add the calls to an open ``gr.Blocks``, without visible components."""

    @toasting
    def predict(picture: str | None, model: str) -> dict[str, Any]:
        """Read an image of any size: {"digit", "is_digit", "digit_score", "probabilities", "seen"}.

        is_digit is null if the model cannot reject non-digits; seen is the network's input, 28x28
        bytes in base64. For several digits in a row {"digit": null, "is_digit": false, "number",
        "parts"}, with a box for each; {"digit": null} for a blank image.
        """
        if picture is None:
            raise SketchError("No image was received; send an image file.")
        try:
            content = base64_of(Path(picture).read_bytes())
        except OSError as error:
            raise SketchError("The upload has expired; send the image again.") from error
        prediction = predict_sketch(models, {"model": model or models.default, "picture": content})
        prediction.pop("ink", None)  # for the pad
        return prediction

    @toasting
    def list_models() -> list[dict[str, Any]]:
        """List the models, newest first: {"name", "digest", "digits", "verdict"}."""
        return [
            {
                "name": checkpoint.name,
                "digest": checkpoint.digest,
                "digits": checkpoint.details.digits,
                "verdict": checkpoint.verdict,
            }
            for checkpoint in workspace.checkpoints.list()
            if isinstance(checkpoint, Checkpoint)
        ]

    @toasting
    def list_digit_sets() -> list[dict[str, Any]]:
        """List the digit sets, available or not: {"name", "split", "n", "present"}."""
        return [
            {"name": entry.name, "split": entry.split, "n": entry.n, "present": entry.present}
            for entry in workspace.catalog.entries()
        ]

    @toasting
    def evaluate(model: str, digits: str) -> dict[str, Any]:
        """Evaluate a model on a test set, as ``python -m digitcnn evaluate --json`` does."""
        checkpoint = models.get(model)
        if not isinstance(digits, str):
            raise DigitSetError("No test set was given; /digit_sets lists them.")
        digit_set = workspace.catalog.open(digits, "test")
        findings = evaluation.evaluate(checkpoint, [digit_set], predict=workspace.predict)
        return findings.evaluations[0].to_json()

    @toasting
    def training() -> dict[str, Any]:
        """Report on this lab's training: {"state", "run", "epochs", "message", "history"}.

        state is idle, running, stopped, finished, interrupted or failed; history has a row per
        epoch.
        """
        view = workspace.job.view()
        return {
            "state": view.state,
            "run": view.run or None,
            "epochs": view.config.epochs if view.config else None,
            "message": view.message,
            "history": [dataclasses.asdict(epoch) for epoch in view.history],
        }

    for function, name in (
        (list_models, "models"),
        (list_digit_sets, "digit_sets"),
        (training, "training"),
    ):
        gr.api(function, api_name=name, queue=False)  # type: ignore[attr-defined]
    gr.api(  # type: ignore[attr-defined]
        evaluate, api_name="evaluate", concurrency_limit=AT_A_TIME
    )
    # A file needs a component that accepts uploads and no other path of this machine.
    with gr.Column(visible=False):
        picture = gr.File(label="picture", type="filepath")
        model = gr.Textbox("", label="model", info="A name from /models; blank: the default model")
        answer = gr.JSON(label="answer")
        gr.Button("predict").click(
            predict,
            [picture, model],
            answer,
            api_name="predict",
            api_description=predict.__doc__,
            concurrency_limit=AT_A_TIME,
        )
