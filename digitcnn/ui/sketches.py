"""Sketches as the page's scripts send them, unchecked: strokes, a picture, or 28x28 pixels."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any

import torch
from cachetools import LRUCache, cachedmethod
from torch import Tensor

from digitcnn.digits import image_files, sketch
from digitcnn.digits.digit_set import SIDE
from digitcnn.digits.ink import Ink
from digitcnn.digits.numbers import Pieces, pieces_of_ink, pieces_of_strokes
from digitcnn.errors import SketchError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.model import Network
from digitcnn.services.prediction import ink_of_file
from digitcnn.ui.calls import Payload, text_of
from digitcnn.ui.models import Models

# The pad reduces images to 1,280 pixels before it sends them; these fit several times over.
MAX_PICTURE_BYTES = 4 * 1024 * 1024
# An inference copy shares its large weights with the network it was made from; making one takes
# 7 ms.
COPIES_HELD = 4
# The latest sketches of the pages that are drawn on.
IMAGES_HELD = 8


def pieces_of(payload: Payload) -> tuple[Pieces | None, Ink | None]:
    """Return a sketch's strokes or a picture's pieces, None when it is blank; a picture's ink too.

    payload: ``{"picture"}`` or ``{"strokes", "width"}``. Raises SketchError.
    """
    if "picture" not in payload:
        pieces = pieces_of_strokes(*_strokes(payload))
        return (pieces if len(pieces.boxes) else None), None
    ink = ink_of_file(_decoded(payload["picture"]))
    return (None if ink is None else pieces_of_ink(ink)), ink


def seen_of(payload: Payload) -> Tensor | None:
    """Return a sketch as a network's input, uint8 [28, 28]; None when it is blank.

    payload: ``{"seen": 784 pixels in base64}``, as ``predict_sketch`` returns them for a picture
    and for each part of a number, else ``{"picture"}`` or ``{"strokes", "width"}``. Everything
    drawn counts as one digit. Raises SketchError.
    """
    if "seen" in payload:
        pixels = _decoded(payload["seen"])
        if len(pixels) != SIDE * SIDE:
            raise SketchError("The pad sent no image of 28x28 pixels; reload the page.")
        seen = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(SIDE, SIDE)
        return seen if seen.any() else None
    if "picture" in payload:
        return sketch.from_image(image_files.open_image(_decoded(payload["picture"])))
    return sketch.from_strokes(*_strokes(payload))


def _strokes(payload: Payload) -> tuple[Any, Any]:
    return payload.get("strokes"), payload.get("width")


def _decoded(encoded: Any) -> bytes:
    if not isinstance(encoded, str) or len(encoded) > MAX_PICTURE_BYTES * 4 // 3 + 4:
        raise SketchError("The image is too large to be sent; save a smaller one.")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SketchError("The image was damaged in transit; paste or drop it again.") from error


@dataclass(frozen=True, eq=False)
class SketchAndModel:
    """One sketch and the model that classifies it.

    image: uint8 [28, 28], ink high. network: the checkpoint's inference copy, in evaluation mode.
    """

    image: Tensor
    checkpoint: Checkpoint
    network: Network


class SketchReader:
    """Frames each sketch once, and makes each network's inference copy once, for all panels.

    Thread-safe: concurrent requests for the same result wait for it.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._images: LRUCache[bytes, Tensor | None] = LRUCache(IMAGES_HELD)
        self._copies: LRUCache[str, Network] = LRUCache(COPIES_HELD)
        self._framing, self._copying = threading.Condition(), threading.Condition()

    def read(self, payload: Payload) -> SketchAndModel | None:
        """Return the reading of a payload as for ``seen_of`` with ``{"model"}``.

        None for an empty sketch. Raises SketchError or CheckpointError.
        """
        image = self._image(payload)
        if image is None:
            return None
        checkpoint = self._models.get(text_of(payload, "model"))
        return SketchAndModel(image, checkpoint, self._inference_copy(checkpoint))

    @cachedmethod(
        lambda self: self._images,
        key=lambda self, payload: _digest(payload),
        condition=lambda self: self._framing,
    )
    def _image(self, payload: Payload) -> Tensor | None:
        return seen_of(payload)

    @cachedmethod(
        lambda self: self._copies,
        key=lambda self, checkpoint: checkpoint.digest,
        condition=lambda self: self._copying,
    )
    def _inference_copy(self, checkpoint: Checkpoint) -> Network:
        return checkpoint.network.inference_copy()


def _digest(payload: Payload) -> bytes:
    sketch = {
        key: payload[key] for key in ("strokes", "width", "picture", "seen") if key in payload
    }
    return hashlib.sha256(json.dumps(sketch).encode()).digest()
