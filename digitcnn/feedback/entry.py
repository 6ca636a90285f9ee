"""Records of one person's feedback, and checks of the values that a browser sends."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, NoReturn

import torch

from digitcnn.digits.digit_set import CLASSES
from digitcnn.errors import FeedbackError

# Holds a minute of drawing at 120 points a second.
MAX_STROKES_BYTES = 256 * 1024

_TOKEN = re.compile(r"[!-~]{1,128}")
_ALIAS_LENGTH = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class NewFeedback:
    """One person's feedback on one prediction; what any program may have sent is not yet checked.

    visitor: the secret of the person's browser. sketch_id: the browser's name for the sketch.
    answer, true_digit: 0 to 9, or None for 'not a digit'. probabilities: the prediction's ten.
    strokes: anything that JSON can hold, at most 256 KiB; None for an image.
    image: uint8 [28, 28], ink high. now: with a time zone.
    """

    visitor: str
    sketch_id: str
    model_digest: str
    model_name: str
    answer: int | None
    probabilities: list[float]
    true_digit: int | None
    strokes: list[Any] | None
    image: torch.Tensor
    now: datetime

    def to_row(self) -> dict[str, Any]:
        """Return the values of the table's columns. Raises FeedbackError for an invalid part."""
        return {
            "visitor_hash": hash_of(self.visitor),
            "sketch_id": checked_token("sketch id", self.sketch_id),
            "model_digest": self.model_digest,
            "model_name": self.model_name,
            "answer": self.answer,
            "probabilities": json.dumps(self.probabilities),
            "confidence": max(self.probabilities),
            "true_digit": checked_digit("true digit", self.true_digit),
            "strokes": checked_strokes(self.strokes),
            "image": self.image.contiguous().numpy().tobytes(),
            "recorded_at": stored_time(self.now),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class FeedbackEntry:
    """One stored sketch with the latest feedback on it.

    id: grows with each new sketch and is never reused. visitor_hash: the same for all entries of
    one visitor; never leaves the program, which shows ``alias``. answer, true_digit: None means
    'not a digit'. right: whether they are equal. confidence: the highest of the ten probabilities.
    image: uint8 [28, 28], ink high. time: of the first feedback; corrected: of the latest change,
    or None. Both are in UTC.
    """

    id: int
    sketch_id: str
    visitor_hash: str = field(repr=False)
    model_name: str
    model_digest: str
    answer: int | None
    true_digit: int | None
    confidence: float
    image: torch.Tensor = field(repr=False)
    time: datetime
    corrected: datetime | None

    @property
    def alias(self) -> str:
        """Return the short name under which the visitor is shown."""
        return self.visitor_hash[:_ALIAS_LENGTH]

    @property
    def right(self) -> bool:
        """Return whether the prediction was right."""
        return self.answer == self.true_digit


@dataclass(frozen=True)
class FeedbackFilter:
    """Which entries a query covers; by default all.

    visitor: the author's secret. right: whether the prediction was called right. true_digit: 0 to
    9, or ``none`` for 'not a digit'. model: the digest of the network that made the prediction.
    """

    visitor: str | None = None
    right: bool | None = None
    true_digit: int | Literal["any", "none"] = "any"
    model: str | None = None


EVERYTHING = FeedbackFilter()


@dataclass(frozen=True)
class Score:
    """How many predictions were called right, with the 95% Wilson interval.

    share, low, high: fractions, NaN when total is 0.
    """

    right: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelScore:
    """The score of one network, with its digest and the name that it had last."""

    digest: str
    name: str
    score: Score


def visitor_alias(visitor: str) -> str:
    """Return a visitor's public name: eight hex digits that do not reveal the secret."""
    return hash_of(visitor)[:_ALIAS_LENGTH]


def hash_of(visitor: str) -> str:
    """Return the stored hash of a visitor's secret. Raises FeedbackError for an invalid one."""
    return hashlib.sha256(checked_token("visitor id", visitor).encode()).hexdigest()


# --- Checks: each returns the value as it is stored, or raises FeedbackError ---------------------


def checked_token(what: str, value: str) -> str:
    """Return a valid visitor or sketch id, 1 to 128 characters. Raises FeedbackError."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        expected = "1 to 128 printable ASCII characters without spaces are expected"
        _refuse(what, value, f"{expected}; reload the page and try again")
    return value


def checked_digit(what: str, value: int | None) -> int | None:
    """Return a digit, or None for not a digit. Raises FeedbackError for other values."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < CLASSES:
        _refuse(what, value, "0 to 9, or null for not a digit, is expected; choose one of these")
    return value


def checked_strokes(strokes: list[Any] | None) -> str | None:
    """Return the strokes as JSON; None for an image."""
    if strokes is None:
        return None
    try:
        if not isinstance(strokes, list):
            raise TypeError("not a list")
        text = json.dumps(strokes, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise FeedbackError(
            f"The strokes cannot be stored as JSON ({error}), but a list of points with finite "
            "coordinates is expected; clear the pad and draw again."
        ) from error
    if len(text) > MAX_STROKES_BYTES:  # json.dumps writes ASCII: characters are bytes
        raise FeedbackError(
            f"The sketch takes {len(text):,} bytes, but {MAX_STROKES_BYTES:,} are allowed; clear "
            "the pad and draw with fewer strokes."
        )
    return text


def stored_time(now: datetime) -> str:
    """Return a time with its zone as ISO 8601 text in UTC."""
    return now.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _refuse(what: str, value: object, expected: str) -> NoReturn:
    text = ascii(value)
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    raise FeedbackError(f"The {what} is {shown}, but {expected}.")
