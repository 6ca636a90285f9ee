"""Images of a digit set with what a model predicts for each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.intervals import confidence_text
from digitcnn.ui.parts import image_address
from digitcnn.web.templates import render


def tiles(
    heading: str,
    digit_set: DigitSet,
    indices: Sequence[int],
    probabilities: Tensor,
    note: str = "",
    *,
    first: int | None = None,
) -> Markup:
    """Render images with label, prediction, confidence and all ten probabilities.

    indices: of the images in the digit set. probabilities: [K, 10], a row per index. first: how
    many are shown before more are requested; None shows all.
    """
    made = [
        _tile(digit_set, index, row.tolist())
        for index, row in zip(indices, probabilities, strict=True)
    ]
    return render(
        "evaluate/tiles.html",
        heading=heading,
        note=note,
        tiles=made[:first],
        more=made[first:] if first else [],
    )


def _tile(digit_set: DigitSet, index: int, probabilities: list[float]) -> dict[str, object]:
    confidence = max(probabilities)
    return {
        "address": image_address(digit_set.images[index]),
        "index": index,
        "label": int(digit_set.labels[index]),
        "predicted": probabilities.index(confidence),
        "confidence": confidence_text(confidence),
        "probabilities": probabilities,
        "listed": ", ".join(
            f"{digit}: {confidence_text(p)}" for digit, p in enumerate(probabilities)
        ),
    }
