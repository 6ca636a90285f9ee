"""A sketch's image and its model, each prepared once for all panels."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass

from cachetools import LRUCache, cachedmethod
from torch import Tensor

from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.model import Network
from digitcnn.ui.models import Models
from digitcnn.ui.sketchpad_tab import Payload, seen_of, text_of

# An inference copy shares its large weights with the network it was made from; making one takes
# 7 ms.
COPIES_HELD = 4
# The latest sketches of the pages that are drawn on.
IMAGES_HELD = 8


@dataclass(frozen=True, eq=False)
class Reading:
    """One sketch and the model that classifies it.

    image: uint8 [28, 28], ink high. network: the checkpoint's inference copy, in evaluation mode.
    """

    image: Tensor
    checkpoint: Checkpoint
    network: Network


class SketchReader:
    """Frames each sketch once, and makes each network's inference copy once. Thread-safe.

    Concurrent requests for the same result wait for it.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._images: LRUCache[bytes, Tensor | None] = LRUCache(IMAGES_HELD)
        self._copies: LRUCache[str, Network] = LRUCache(COPIES_HELD)
        self._framing, self._copying = threading.Condition(), threading.Condition()

    def read(self, payload: Payload) -> Reading | None:
        """Return the reading of ``{"model", "strokes", "width"}`` or ``{"model", "picture"}``.

        None for an empty sketch. Raises SketchError or CheckpointError.
        """
        image = self._image(payload)
        if image is None:
            return None
        checkpoint = self._models.get(text_of(payload, "model"))
        return Reading(image, checkpoint, self._inference_copy(checkpoint))

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
