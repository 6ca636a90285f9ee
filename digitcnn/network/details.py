"""A checkpoint's details besides its weights: plain values, checked like all untrusted data."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from digitcnn.digits.names import listed, set_names, set_title
from digitcnn.errors import CheckpointError
from digitcnn.files import without_nan
from digitcnn.intervals import accuracy_text
from digitcnn.network.reader import InvalidCheckpoint, shown

MAX_EPOCHS = 100_000
MAX_VALUES = 50_000
MAX_DEPTH = 6
MAX_TEXT = 200


# After what is said by a file and was not measured here.
CLAIMED = " (claimed by its file)"


@dataclass(frozen=True, kw_only=True)
class Details:
    """Where a network comes from. Unknown values are None or empty.

    digits: name of the digit set trained on, or several names separated by commas; None for
    weights only.
    epochs, planned_epochs: finished and requested.
    state: ``finished``, or ``stopped at epoch 3 of 12``; empty for weights only.
    config: the training's settings. history: a row per finished epoch.
    fingerprints: SHA-256 in hex of the images, by their part (``train``, ``held_out``).
    metrics: results at the end of the run by digit set, ``held_out`` for the held-out images and
    ``held_out mnist`` for those of one of several sets; each with at least ``n`` (images) and
    ``accuracy`` (fraction). They are claims of the file.
    temperature: what logits are divided by before the softmax; None where not calibrated.
    created: ISO 8601, in UTC. versions: of the packages, by name.

    NaN and infinite numbers become None. Raises CheckpointError for values of other kinds or
    sizes.
    """

    digits: str | None = None
    epochs: int | None = None
    planned_epochs: int | None = None
    state: str = ""
    seed: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    temperature: float | None = None
    created: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("config", "history", "metrics"):
            object.__setattr__(self, part, without_nan(getattr(self, part)))
        try:
            _check(self.to_plain())
        except InvalidCheckpoint as error:
            raise CheckpointError(f"A checkpoint that {error} would not be read back.") from error

    def to_plain(self) -> dict[str, Any]:
        """Return the values by name, as a file stores them."""
        return {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}

    @classmethod
    def read(cls, values: Any, *, trained: bool = True) -> Details:
        """Read the details in a file; trained: whether they have to name a digit set.

        Raises InvalidCheckpoint for values that ``to_plain`` does not give.
        """
        names = {part.name for part in dataclasses.fields(cls)}
        if type(values) is not dict or set(values) != names:
            raise InvalidCheckpoint("has missing or unexpected training details; train it again")
        _check(values)
        if trained and values["digits"] is None:
            raise InvalidCheckpoint("does not say what it was trained on; train it again")
        return cls(**values)

    def claim(self) -> str:
        """Describe the training and the accuracy in words, as far as the file claims them."""
        if self.digits is None:
            return "no training details"
        parts = [f"trained on {listed(self.digits)}"]
        if self.epochs is not None:
            parts[0] += f" for {self.epochs} epoch{'s' * (self.epochs != 1)}"
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        if self.state.startswith("stopped"):
            parts.append(self.state)
        which, where = self.first_result
        if which in self.metrics:
            claimed = self.metrics[which]
            accuracy = accuracy_text(claimed["accuracy"], claimed["n"])
            parts.append(f"{accuracy} on {where} images{CLAIMED}")
        return ", ".join(parts)

    @property
    def first_result(self) -> tuple[str, str]:
        """The result to name the model by, as its key in ``metrics`` and for people.

        It is that of the first of its sets with a tested one, else of the held-out images.
        """
        names = set_names(self.digits or "")
        tested = next((name for name in names if name in self.metrics), None)
        if tested is not None:
            return tested, set_title(tested, "test")
        return "held_out", f"held-out {listed(self.digits or '')}"


# What each value has to be, in code and in words.
_EXPECTED: dict[str, tuple[Callable[[Any], object], str]] = {
    "digits": (lambda value: value is None or (_is_text(value) and value), "a set's name"),
    "epochs": (lambda value: _is_whole(value, MAX_EPOCHS), "a whole number"),
    "planned_epochs": (lambda value: _is_whole(value, MAX_EPOCHS), "a whole number"),
    "seed": (lambda value: _is_whole(value, 2**63 - 1), "a whole number"),
    "temperature": (
        lambda value: value is None or (_is_number(value) and 1e-2 <= value <= 1e2),
        "a number from 0.01 to 100",
    ),
    "created": (lambda value: value is None or _is_utc(value), "a time in UTC"),
    "config": (lambda value: type(value) is dict, "a dictionary"),
    "versions": (lambda value: _is_dict_of(_is_text, value), "a text for each name"),
    "fingerprints": (
        lambda value: _is_dict_of(_is_sha256, value),
        "a SHA-256 in hex for each name",
    ),
    "history": (
        lambda value: type(value) is list and all(type(row) is dict for row in value),
        "a list of rows",
    ),
    "metrics": (lambda value: type(value) is dict, "a dictionary"),
}


def _check(values: dict[str, Any]) -> None:
    """Raise InvalidCheckpoint, naming the value, for values that people or the page cannot use."""
    _check_plain(values)
    for name, (is_usable, expected) in _EXPECTED.items():
        _expect(is_usable(values[name]), name, values[name], expected)
    epochs, planned = values["epochs"], values["planned_epochs"]
    if epochs is None or planned is None:
        state = ""
    elif epochs == planned:
        state = "finished"
    else:
        state = f"stopped at epoch {epochs} of {planned}"
    _expect(values["state"] == state, "state", values["state"], f"{state!r}")
    for row in values["history"]:
        for name in ("epoch", "loss", "accuracy"):
            _expect(_is_number(row.get(name)), f"history's {name}", row.get(name), "a number")
    for name, result in values["metrics"].items():
        expected = "a number of images and an accuracy from 0 to 1"
        _expect(_is_result(result), f"metrics of {shown(name, 30)}", result, expected)


def _expect(usable: Any, name: str, value: Any, expected: str) -> None:
    if usable:
        return
    name = name.replace("_", " ")
    # A list or dictionary from outside may be endless to print.
    is_single = type(value) in (str, int, float, bool)
    has = f"{name} {shown(repr(value), 40)}" if is_single else f"unusable {name}"
    raise InvalidCheckpoint(f"has {has} where {expected} is expected; copy it again or train anew")


def _check_plain(values: Any) -> None:
    """Raise InvalidCheckpoint unless ``values`` can be written as JSON, within bounds."""
    # Counted, since lists that contain each other are endless to walk.
    pending, count = [(values, 0)], 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > MAX_VALUES:
            raise InvalidCheckpoint(
                f"has more than {MAX_VALUES} details; copy it again or train anew"
            )
        if depth > MAX_DEPTH:
            raise InvalidCheckpoint(
                f"has details nested more than {MAX_DEPTH} deep; train it again"
            )
        if type(value) is dict:
            for key in value:
                _expect(_is_text(key) and len(key) <= 100, "the name", key, "a short text")
            pending += [(item, depth + 1) for item in value.values()]
        elif type(value) is list:
            pending += [(item, depth + 1) for item in value]
        elif type(value) is str:
            _expect(_is_text(value), "the text", value, "a short text on one line")
        elif value is not None and type(value) is not bool:
            _expect(_is_number(value), "the value", value, "a finite number")


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_TEXT and value.isprintable()


def _is_whole(value: Any, highest: int) -> bool:
    return value is None or (type(value) is int and 0 <= value <= highest)


def _is_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and -(2**63) <= value < 2**63


def _is_dict_of(is_usable: Callable[[Any], bool], value: Any) -> bool:
    return type(value) is dict and all(map(is_usable, value.values()))


def _is_result(value: Any) -> bool:
    """Return whether a value has a number of images above 0, and an accuracy."""
    if type(value) is not dict or not _is_whole(value.get("n"), 10**9) or not value.get("n"):
        return False
    accuracy: Any = value.get("accuracy")
    return _is_number(accuracy) and 0 <= accuracy <= 1


def _is_sha256(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_utc(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except (TypeError, ValueError):
        return False
