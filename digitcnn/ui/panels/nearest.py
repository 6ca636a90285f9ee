"""Nearest training digits: the training images closest to the sketch in the network's features."""

from __future__ import annotations

from functools import partial

import torch

from digitcnn.analysis.feature_neighbours import FeatureIndex, FeatureIndexes, UnderWay
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import listed
from digitcnn.digits.set_files import or_download
from digitcnn.digits.training_images import missing_sets
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.original_images import original_images
from digitcnn.ui.calls import Payload
from digitcnn.ui.panels.panel import Panel
from digitcnn.ui.parts import base64_of
from digitcnn.ui.sketches import SketchReader
from digitcnn.workspace import Workspace

# Milliseconds after which the page asks again while an index is being built.
AGAIN = 700


def nearest_panel(workspace: Workspace, reader: SketchReader) -> Panel:
    """Return the panel."""
    indexes = FeatureIndexes(workspace.outputs / ".features")
    return Panel(
        name="nearest",
        title="Nearest",
        explanation="The nine training images closest to your sketch, measured by the features "
        "of the last hidden layer.",
        functions={"nearest": partial(nearest_digits, workspace, reader, indexes)},
    )


def nearest_digits(
    workspace: Workspace, reader: SketchReader, indexes: FeatureIndexes, payload: Payload
) -> Payload:
    """Find the training images nearest to a sketch.

    payload: that of ``SketchReader.read``.
    Returns ``{"digit": the prediction, "of": images in all, "set", "digits": nine of {"label",
    "distance", "place", "image"}}``, the nearest first; ``"image"`` is 784 pixels in base64.
    ``{"blank": True}`` for an empty sketch, ``{"wait": sentence, "again": milliseconds}`` while
    the index is built. Raises SketchError, CheckpointError or DigitSetError.
    """
    reading = reader.read(payload)
    if reading is None:
        return {"blank": True}
    index = _index_of(workspace, indexes, reading.checkpoint)
    if isinstance(index, UnderWay):
        return {"wait": _progress(index), "again": AGAIN}
    network = reading.network
    with torch.inference_mode():
        features = network.features(network.prepare(reading.image[None]))
        predicted = int(network.output(features)[0].argmax())
    if not bool(features.isfinite().all()):
        raise CheckpointError("This model's features are not finite numbers; choose another model.")
    places, distances = index.nearest(features[0])
    training = index.training
    return {
        "digit": predicted,
        "of": len(training),
        "set": listed(training.name),
        "digits": [
            {
                "label": int(training.labels[place]),
                "distance": distance,
                "place": place,
                "image": base64_of(training.images[place]),
            }
            for place, distance in zip(places.tolist(), distances.tolist(), strict=True)
        ],
    }


def _index_of(
    workspace: Workspace, indexes: FeatureIndexes, checkpoint: Checkpoint
) -> FeatureIndex | UnderWay:
    """Return the index, or its progress.

    Raises DigitSetError where the training images are unknown or not available.
    """
    details = checkpoint.details
    trained_on = details.fingerprints.get("train")
    if details.digits is None or trained_on is None:
        raise DigitSetError(
            f"{checkpoint.name} does not record its training images, so none can be shown; choose "
            "a model trained here."
        )
    key = repr((checkpoint.digest, details.digits, trained_on, details.config.get("train_images")))
    return indexes.ask(
        key,
        checkpoint.digest,
        checkpoint.network,
        lambda: _opened(workspace, checkpoint, details.digits or ""),
    )


def _opened(workspace: Workspace, checkpoint: Checkpoint, digits: str) -> DigitSet:
    """Open the training images. Errors name no folder, since visitors see them."""
    missing = missing_sets(workspace.catalog, digits)
    if not missing:
        return original_images(checkpoint, workspace.catalog).training
    remedy = (
        or_download(missing[0], "train").removeprefix(", or ") or "restore them in the data folder"
    )
    raise DigitSetError(
        f"{checkpoint.name} was trained on {listed(digits)}, but its training images are not "
        f"available; {remedy}."
    )


def _progress(under_way: UnderWay) -> str:
    if not under_way.mine:
        return "Indexing another model's training images; yours are next."
    if not under_way.total:
        return "Loading the training images."
    share = under_way.done / under_way.total
    return f"Indexing {under_way.total:,} training images (once per model): {share:.0%}."
