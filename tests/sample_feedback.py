"""Valid feedback, for tests to change."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import torch

from digitcnn.feedback.entry import NewFeedback

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
CONFIDENT_SEVEN = [0.01] * 7 + [0.91] + [0.01] * 2


def sample(**changes: Any) -> NewFeedback:
    """Ann agrees with the model, which predicted 7."""
    values: dict[str, Any] = {
        "visitor": "secret-of-ann",
        "sketch_id": "sketch-1",
        "model_digest": "d" * 64,
        "model_name": "mnist-seed0",
        "answer": 7,
        "probabilities": CONFIDENT_SEVEN,
        "true_digit": 7,
        "strokes": [[[1.5, 2.0, 0], [3.0, 4.0, 16]]],
        "image": torch.arange(28 * 28).remainder(256).to(torch.uint8).reshape(28, 28),
        "now": NOON,
    }
    return NewFeedback(**{**values, **changes})
