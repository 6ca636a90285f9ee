"""Nearest training digits: the images that the network takes for most alike to the drawing."""

from __future__ import annotations

import base64

import torch

from digitcnn.analysis.feature_neighbours import FeatureIndex, FeatureIndexes, UnderWay
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.set_files import or_download
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.models import Models
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.shown import training_images
from digitcnn.ui.sketchpad_tab import Payload, seen_of, text_of
from digitcnn.workspace import Workspace

# Milliseconds after which the page asks again for an index that is being built.
AGAIN = 700


def nearest_panel(workspace: Workspace, models: Models) -> Panel:
    """The panel; ``nearest`` answers ``{"model", "strokes", "width"}`` or with ``"picture"``."""
    indexes = FeatureIndexes(workspace.outputs / ".features")

    def nearest(payload: Payload) -> Payload:
        return nearest_digits(workspace, models, indexes, payload)

    return Panel(
        name="nearest",
        title="Nearest training digits",
        explanation="The nine of all images it learned from that are most like your drawing to the "
        "network, by the 320 numbers in its last hidden layer.",
        functions=(nearest,),
        open=True,
    )


def nearest_digits(
    workspace: Workspace, models: Models, indexes: FeatureIndexes, payload: Payload
) -> Payload:
    """``{"digit": the answer, "of": images in all, "digits": nine of {"label", "distance",
    "place", "image"}}``, the nearest first; ``"image"`` is 784 pixels in base64.

    ``{"blank": True}`` for an empty drawing, ``{"wait": sentence, "again": milliseconds}`` while
    the index is built. Raises SketchError, CheckpointError or DigitSetError.
    """
    seen = seen_of(payload)
    if seen is None:
        return {"blank": True}
    checkpoint = models.get(text_of(payload, "model"))
    index = _index_of(workspace, indexes, checkpoint)
    if isinstance(index, UnderWay):
        return {"wait": _progress(index), "again": AGAIN}
    network = checkpoint.network
    with torch.inference_mode():
        features = network.features(network.prepare(seen[None]))
        answer = int(network.output(features)[0].argmax())
    if not bool(features.isfinite().all()):
        raise CheckpointError(
            "The features that this network has of the drawing are no numbers; choose another "
            "model."
        )
    places, distances = index.nearest(features[0])
    training = index.training
    return {
        "digit": answer,
        "of": len(training),
        "set": training.name,
        "digits": [
            {
                "label": int(training.labels[place]),
                "distance": distance,
                "place": place,
                "image": base64.b64encode(training.images[place].numpy().tobytes()).decode(),
            }
            for place, distance in zip(places.tolist(), distances.tolist(), strict=True)
        ],
    }


def _index_of(
    workspace: Workspace, indexes: FeatureIndexes, checkpoint: Checkpoint
) -> FeatureIndex | UnderWay:
    """Raises DigitSetError where the training images are unknown or not here."""
    details = checkpoint.details
    trained_on = details.fingerprints.get("train")
    if details.digits is None or trained_on is None:
        raise DigitSetError(
            f"{checkpoint.name} does not say what images it was trained on, so none can be shown; "
            "choose a model that was trained here."
        )
    key = repr((checkpoint.digest, details.digits, trained_on, details.config.get("train_images")))
    return indexes.ask(
        key,
        checkpoint.digest,
        checkpoint.network,
        lambda: _opened(workspace, checkpoint, details.digits or ""),
    )


def _opened(workspace: Workspace, checkpoint: Checkpoint, digits: str) -> DigitSet:
    """The training images; where they are not here, a sentence without folders: visitors see it."""
    if workspace.catalog.check(digits, "train"):
        return training_images(workspace, checkpoint)
    remedy = (
        or_download(digits, "train").removeprefix(", or ") or "put them back into the data folder"
    )
    raise DigitSetError(
        f"{checkpoint.name} learned from {digits}, whose training images are not on this machine; "
        f"{remedy}."
    )


def _progress(under_way: UnderWay) -> str:
    if not under_way.mine:
        return "The training images of another model are being looked at; yours come next."
    if not under_way.total:
        return "Reading the training images."
    return (
        f"Looking at the {under_way.total:,} training images, once for this model: "
        f"{100 * under_way.done / under_way.total:.0f} %."
    )
