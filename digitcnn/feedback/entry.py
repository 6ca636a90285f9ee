"""What a verdict is: the records that the store gives, and what it takes.

A verdict comes from a browser, which may be anybody's program, so each part of it is checked here,
with FeedbackError for what is off.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

import torch

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.errors import FeedbackError

# A minute of drawing at 120 points a second fits in.
MAX_STROKES_BYTES = 256 * 1024

_TOKEN = re.compile(r"[!-~]{1,128}")
_ALIAS_LENGTH = 8


@dataclass(frozen=True)
class Score:
    """How many verdicts said that the answer was right, with the 95 % Wilson interval.

    share, low and high are fractions; all three are NaN when total is 0.
    """

    right: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelScore:
    """The score of one network, by its digest and the name that it was last judged under."""

    digest: str
    name: str
    score: Score


@dataclass(frozen=True, eq=False)
class FeedbackEntry:
    """One verdict as lists show it, without what leads to the visitor who gave it.

    id: grows in the order in which the sketches came, and is never used again.
    answer and true_digit: None means 'no digit'. right: the two are equal.
    confidence: the highest of the ten probabilities. image: uint8 [28, 28], ink high. Times are in
    UTC; corrected is None until another verdict on the same sketch replaced the first.
    """

    id: int
    sketch_id: str
    alias: str
    model_name: str
    model_digest: str
    answer: int | None
    true_digit: int | None
    right: bool
    confidence: float
    image: torch.Tensor = field(repr=False)
    time: datetime
    corrected: datetime | None


@dataclass(frozen=True, eq=False)
class Sketch:
    """One sketch with all that was kept of it: what a network can be trained or tested on.

    visitor_hash: the same for all sketches of one visitor; stays inside the program.
    answer and true_digit: None means 'no digit'. probabilities: ten. strokes: None for a picture.
    image: uint8 [28, 28], ink high. time: of the first verdict on it, in UTC.
    """

    id: int
    visitor_hash: str
    image: torch.Tensor = field(repr=False)
    true_digit: int | None
    model_digest: str
    answer: int | None
    probabilities: tuple[float, ...]
    strokes: list | None
    time: datetime


@dataclass(frozen=True)
class FeedbackFilter:
    """Which verdicts a question is about; by default all of them.

    visitor: the secret of the one who gave them. right: what they said of the answer.
    true_digit: 0 to 9, or ``none`` for 'no digit'. model: the digest of the network that answered.
    """

    visitor: str | None = None
    right: bool | None = None
    true_digit: int | Literal["any", "none"] = "any"
    model: str | None = None


EVERYTHING = FeedbackFilter()


def visitor_alias(visitor: str) -> str:
    """The name under which lists show a visitor: eight hex digits that do not lead back."""
    return alias_of(hash_of(visitor))


def alias_of(visitor_hash: str) -> str:
    return visitor_hash[:_ALIAS_LENGTH]


def hash_of(visitor: str) -> str:
    """What is kept of a visitor's secret. Raises FeedbackError for what cannot be one."""
    return hashlib.sha256(checked_token("visitor id", visitor).encode()).hexdigest()


def image_of(content: bytes) -> torch.Tensor:
    """The kept bytes as uint8 [28, 28]."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(SIDE, SIDE)


# --- Checks -------------------------------------------------------------------------------------


def checked_token(what: str, value: str) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise FeedbackError(
            f"The {what} is {_short(value)}, but 1 to 128 printable ASCII characters without "
            "spaces are expected; reload the page and try again."
        )
    return value


def checked_name(value: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable():
        raise FeedbackError(
            f"The model's name is {_short(value)}, but 1 to 200 printable characters are expected; "
            "rename the checkpoint."
        )
    return value


def checked_digit(what: str, value: int | None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < CLASSES:
        raise FeedbackError(
            f"The {what} is {_short(value)}, but 0 to 9, or nothing for 'no digit', is expected; "
            "pick one of these."
        )
    return value


def checked_probabilities(values: Sequence[float]) -> list[float]:
    expected = f"{CLASSES} numbers from 0 to 1 that add up to 1 are expected; draw the sketch again"
    try:
        probabilities = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError) as error:
        raise FeedbackError(f"The probabilities are {_short(values)}, but {expected}.") from error
    # Written so that NaN fails each comparison.
    sound = len(probabilities) == CLASSES and all(0.0 <= value <= 1.0 for value in probabilities)
    if not sound or not abs(sum(probabilities) - 1.0) <= 1e-3:
        raise FeedbackError(f"The probabilities are {_short(values)}, but {expected}.")
    return probabilities


def checked_strokes(strokes: list | None) -> str | None:
    """The strokes as JSON; None for none."""
    if strokes is None:
        return None
    try:
        if not isinstance(strokes, list):
            raise TypeError("not a list")
        text = json.dumps(strokes, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise FeedbackError(
            f"The strokes cannot be kept as JSON ({error}), but a list of points with finite "
            "coordinates is expected; clear the pad and draw again."
        ) from error
    if len(text) > MAX_STROKES_BYTES:  # json.dumps writes ASCII: characters are bytes
        raise FeedbackError(
            f"The sketch takes {len(text):,} bytes, but {MAX_STROKES_BYTES:,} are allowed; clear "
            "the pad and draw with fewer strokes."
        )
    return text


def checked_image(image: torch.Tensor) -> bytes:
    if not isinstance(image, torch.Tensor):
        raise FeedbackError(
            f"The image is {_short(image)}, but a uint8 tensor [{SIDE}, {SIDE}] is expected; draw "
            "the sketch again."
        )
    if image.dtype != torch.uint8 or tuple(image.shape) != (SIDE, SIDE):
        raise FeedbackError(
            f"The image is {image.dtype} {list(image.shape)}, but uint8 [{SIDE}, {SIDE}] is "
            "expected; draw the sketch again."
        )
    return image.cpu().contiguous().numpy().tobytes()


def checked_time(now: datetime) -> str:
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise FeedbackError(
            f"The time is {_short(now)}, but a time with its zone is expected; pass "
            "datetime.now(timezone.utc)."
        )
    return now.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
