"""``predict``: read digits from image files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from digitcnn.commands.base import Answer, opened_checkpoint
from digitcnn.digits.sketch import from_picture, open_picture
from digitcnn.errors import SketchError
from digitcnn.network.checkpoint import Checkpoint


def run(args: argparse.Namespace) -> Answer:
    loaded = opened_checkpoint(args.checkpoint, args.device)
    result = {image: _answer(loaded, Path(image)) for image in args.images}
    lines = []
    for image, answer in result.items():
        if answer.get("blank"):
            lines.append(f"{image}: blank")
        else:
            digit = answer["digit"]
            sure = f"{100 * answer['probabilities'][digit]:.1f} %"
            refused = answer.get("is_digit") is False
            lines.append(
                f"{image}: no digit, closest {digit}" if refused else f"{image}: {digit} ({sure})"
            )
    return result, "\n".join(lines), 0


def _answer(loaded: Checkpoint, path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SketchError(f"{path} cannot be read ({error.strerror}).") from error
    try:
        image = from_picture(open_picture(data))
    except SketchError as error:
        raise SketchError(f"{path}: {error}") from error
    if image is None:
        return {"digit": None, "blank": True}
    images = image.unsqueeze(0).to(loaded.network.output.weight.device)
    found = loaded.answers(images)
    probabilities = found.probabilities[0].tolist()
    answer = {
        "digit": max(range(10), key=probabilities.__getitem__),
        "probabilities": probabilities,
    }
    if found.is_digit is not None:
        answer["is_digit"] = bool(found.is_digit[0])
    return answer
