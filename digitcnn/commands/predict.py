"""``predict``: classify image files."""

from __future__ import annotations

import argparse
from pathlib import Path

from digitcnn.commands.base import Result, opened_checkpoint
from digitcnn.digits.image_files import MAX_BYTES
from digitcnn.errors import SketchError
from digitcnn.intervals import confidence_text
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.prediction import AnyReading, Reading, Refusal, read_image_file


def run(args: argparse.Namespace) -> Result:
    """Classify image files."""
    checkpoint = opened_checkpoint(args.checkpoint, args)
    readings = {image: _read(checkpoint, Path(image)) for image in args.images}
    lines = [f"{image}: {_text(reading)}" for image, reading in readings.items()]
    blank = {"digit": None, "blank": True}
    values = {image: reading.to_json() if reading else blank for image, reading in readings.items()}
    return values, "\n".join(lines), 0


def _read(checkpoint: Checkpoint, path: Path) -> AnyReading | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # a device may have no end
    except OSError as error:
        raise SketchError(
            f"{path} cannot be read ({error.strerror}); choose an image file."
        ) from error
    try:
        return read_image_file(checkpoint, content)
    except SketchError as error:
        raise SketchError(f"{path}: {error}") from error


def _text(reading: AnyReading | None) -> str:
    if reading is None:
        return "blank"
    if isinstance(reading, Refusal):
        return f"not a digit: {reading.reason}"
    if isinstance(reading, Reading):
        return _digit_text(reading)
    digits = ", ".join(_digit_text(part) for part in reading.parts)
    return f"number {reading.number}: {digits}"


def _digit_text(reading: Reading) -> str:
    if reading.prediction is None:
        return f"not a digit, closest {reading.closest}"
    return f"{reading.closest} ({confidence_text(reading.confidence)})"
