"""The feedback store: queries and changes of the table of entries, and permission to change."""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    delete,
    func,
    make_url,
    or_,
    select,
    update,
)  # fmt: skip
from sqlalchemy.exc import ArgumentError

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.errors import ConfigError, FeedbackError, NotOwnerError
from digitcnn.feedback.database import DECISIVE, ENTRIES, REPLACED, Database
from digitcnn.feedback.entry import (
    EVERYTHING,
    FeedbackEntry,
    FeedbackFilter,
    ModelScore,
    NewFeedback,
    Score,
    checked_digit,
    checked_token,
    hash_of,
    stored_time,
)
from digitcnn.feedback.postgres_database import PostgresDatabase
from digitcnn.feedback.sqlite_database import SqliteDatabase
from digitcnn.intervals import wilson_interval

_COLUMN = ENTRIES.c
_RIGHT = _COLUMN.answer.is_not_distinct_from(_COLUMN.true_digit)
_COUNTS = (func.count(), func.count().filter(_RIGHT))

_ADDRESS = "postgresql://user:password@host/database"


class FeedbackStore:
    """All feedback in one file or database, which the first entry creates.

    place: an SQLite file, which like its folder need not exist yet, or the address of a PostgreSQL
    database. busy_seconds: how long a call waits for other writers before it gives up.

    Safe to use from many threads, and from many processes at the same place. Raises ConfigError
    for an invalid address; every method raises FeedbackError where the place cannot be read or
    written.
    """

    def __init__(self, place: Path | str, *, busy_seconds: float = 10.0) -> None:
        self._database = _database_at(place, busy_seconds)

    @property
    def public_location(self) -> str:
        """Where sketches are stored, in words for visitors."""
        return self._database.public_location

    @property
    def notice(self) -> str | None:
        """A sentence for the owner about a damaged file that was moved away, or None."""
        return self._database.notice

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        self._database.close()

    # --- Changes ----------------------------------------------------------------------------

    def record(self, feedback: NewFeedback) -> None:
        """Store feedback; it is on the disk when this returns.

        Later feedback of the same visitor on the same sketch replaces the first, which stays one
        entry with its first time; the same feedback sent again changes nothing. Raises
        FeedbackError, also for an invalid part; the store is then unchanged.
        """
        row = feedback.to_row()
        insert = self._database.insert(ENTRIES).values(**row)
        new = insert.excluded
        upsert = insert.on_conflict_do_update(
            index_elements=[_COLUMN.visitor_hash, _COLUMN.sketch_id],
            set_={name: new[name] for name in REPLACED} | {"corrected_at": new.recorded_at},
            where=or_(*(_COLUMN[name].is_distinct_from(new[name]) for name in DECISIVE)),
        )
        with self._database.writing() as connection:
            assert connection is not None
            connection.execute(upsert)

    def correct(
        self, entry_id: int, true_digit: int | None, now: datetime, *, visitor: str | None
    ) -> None:
        """Change what an entry's sketch shows; None for 'not a digit'.

        visitor: the caller's secret, which permits changing the caller's own entries; None for the
        owner of the lab, who may change all. Raises NotOwnerError for another visitor's entry,
        FeedbackError for one that no longer exists.
        """
        digit = checked_digit("true digit", true_digit)
        changed = {"true_digit": digit, "corrected_at": stored_time(now)}
        with self._changing(entry_id, visitor) as (connection, this):
            different = _COLUMN.true_digit.is_distinct_from(digit)
            connection.execute(update(ENTRIES).where(this, different).values(**changed))

    def erase(self, entry_id: int, *, visitor: str | None) -> None:
        """Erase an entry with its sketch; ``visitor`` and errors as for ``correct``."""
        with self._changing(entry_id, visitor) as (connection, this):
            connection.execute(delete(ENTRIES).where(this))

    def erase_all(self) -> int:
        """Erase every entry; return how many there were. Raises FeedbackError."""
        with self._database.writing(create=False) as connection:
            return 0 if connection is None else connection.execute(delete(ENTRIES)).rowcount

    @contextmanager
    def _changing(
        self, entry_id: int, visitor: str | None
    ) -> Iterator[tuple[Connection, ColumnElement[bool]]]:
        """Open a transaction for a changeable entry; yields it with the entry's condition."""
        gone = FeedbackError("This entry no longer exists; refresh the list.")
        if not isinstance(entry_id, int) or not 0 < entry_id < 2**63:
            raise gone
        this = _COLUMN.id == entry_id
        with self._database.writing(create=False) as connection:
            if connection is None:
                raise gone
            # Locks the row: nothing changes it between this query and the change.
            author = connection.scalar(select(_COLUMN.visitor_hash).where(this).with_for_update())
            if author is None:
                raise gone
            if visitor is not None and not hmac.compare_digest(hash_of(visitor), author):
                raise NotOwnerError(
                    "Only its author or the owner can change an entry; the owner uses the link "
                    "printed in the terminal at startup."
                )
            yield connection, this

    # --- Scores -----------------------------------------------------------------------------

    def score(self, which: FeedbackFilter = EVERYTHING) -> Score:
        """Return the share of predictions that were called right."""
        rows = self._select(select(*_COUNTS).where(*_conditions(which)))
        return _score(*rows[0]) if rows else _score(0, 0)

    def scores_by_digit(self, which: FeedbackFilter = EVERYTHING) -> dict[int | None, Score]:
        """Return the score on the sketches of each true digit; None is 'not a digit'."""
        digit = _COLUMN.true_digit
        rows = self._select(select(digit, *_COUNTS).where(*_conditions(which)).group_by(digit))
        scores = {digit: _score(total, right) for digit, total, right in rows}
        return {digit: scores[digit] for digit in (*range(CLASSES), None) if digit in scores}

    def scores_by_model(self, which: FeedbackFilter = EVERYTHING) -> list[ModelScore]:
        """Return the score of each network with feedback, the one with the latest first."""
        groups = (
            select(_COLUMN.model_digest, *_COUNTS, func.max(_COLUMN.id).label("latest"))
            .where(*_conditions(which))
            .group_by(_COLUMN.model_digest)
            .subquery()
        )
        rows = self._select(
            select(groups, _COLUMN.model_name)
            .join(ENTRIES, _COLUMN.id == groups.c.latest)
            .order_by(groups.c.latest.desc())
        )
        return [
            ModelScore(digest, name, _score(total, right)) for digest, total, right, _, name in rows
        ]

    def confidences(self, which: FeedbackFilter = EVERYTHING) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the predictions' confidences, and whether each was called right.

        float64 [N], 0 to 1; bool [N]. 'Not a digit' shows no confidence and is left out.
        """
        rows = self._select(
            select(_COLUMN.confidence, _RIGHT).where(
                _COLUMN.answer.is_not(None), *_conditions(which)
            )
        )
        return (
            torch.tensor([confidence for confidence, _ in rows], dtype=torch.float64),
            torch.tensor([bool(right) for _, right in rows], dtype=torch.bool),
        )

    # --- Entries ----------------------------------------------------------------------------

    def count(self, which: FeedbackFilter = EVERYTHING) -> int:
        """Return the number of entries."""
        return self.score(which).total

    def entries(
        self, which: FeedbackFilter = EVERYTHING, *, offset: int = 0, limit: int | None = None
    ) -> list[FeedbackEntry]:
        """Return the entries from ``offset`` on, the newest sketch (by id) first."""
        columns = [column for column in _COLUMN if column.name not in ("probabilities", "strokes")]
        query = select(*columns).where(*_conditions(which)).order_by(_COLUMN.id.desc())
        return [_entry(row) for row in self._select(query.offset(offset).limit(limit))]

    def count_labelled(self, which: FeedbackFilter = EVERYTHING) -> int:
        """Return how many sketches show one of the ten digits."""
        query = select(func.count(_COLUMN.true_digit)).where(*_conditions(which))
        rows = self._select(query)
        return int(rows[0][0]) if rows else 0

    def labelled(
        self, which: FeedbackFilter = EVERYTHING
    ) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        """Return the sketches that show one of the ten digits, the oldest first.

        Images uint8 [N, 28, 28], ink high; true digits uint8 [N]; the hash of each visitor.
        """
        rows = self._select(
            select(_COLUMN.image, _COLUMN.true_digit, _COLUMN.visitor_hash)
            .where(_COLUMN.true_digit.is_not(None), *_conditions(which))
            .order_by(_COLUMN.id)
        )
        images = torch.empty(len(rows), SIDE, SIDE, dtype=torch.uint8)
        for place, row in enumerate(rows):
            images[place] = _image(row.image)
        digits = torch.tensor([row.true_digit for row in rows], dtype=torch.uint8)
        return images, digits, [row.visitor_hash for row in rows]

    def _select(self, query: Executable) -> Sequence[Any]:
        """Return the rows; none while there is no feedback yet."""
        with self._database.reading() as connection:
            return [] if connection is None else connection.execute(query).all()


def _database_at(place: Path | str, busy_seconds: float) -> Database:
    """Return the database at a file path or an address; opens no connection yet."""
    if isinstance(place, Path):
        return SqliteDatabase(place, busy_seconds)
    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        # Not shown: it may hold a password.
        raise ConfigError(
            f"DIGITCNN_FEEDBACK_URL is not an address; use one such as {_ADDRESS}."
        ) from error
    if url.get_backend_name() == "sqlite" and url.database:
        return SqliteDatabase(Path(url.database), busy_seconds)
    if url.get_backend_name() in ("postgresql", "postgres"):
        return PostgresDatabase(url, busy_seconds)
    raise ConfigError(
        f"DIGITCNN_FEEDBACK_URL starts with {url.drivername!r:.40}; use an address such as "
        f"{_ADDRESS}."
    )


def _conditions(which: FeedbackFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if which.visitor is not None:
        conditions.append(_COLUMN.visitor_hash == hash_of(which.visitor))
    if which.right is not None:
        conditions.append(_RIGHT if which.right else ~_RIGHT)
    if which.true_digit == "none":
        conditions.append(_COLUMN.true_digit.is_(None))
    elif which.true_digit != "any":
        conditions.append(_COLUMN.true_digit == checked_digit("digit", which.true_digit))
    if which.model is not None:
        conditions.append(_COLUMN.model_digest == checked_token("model digest", which.model))
    return conditions


def _score(total: int, right: int) -> Score:
    low, high = wilson_interval(right, total)
    return Score(right, total, right / total if total else math.nan, low, high)


def _image(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(SIDE, SIDE)


def _entry(row: Any) -> FeedbackEntry:
    values = dict(row._mapping)
    image, time, corrected = (values.pop(key) for key in ("image", "recorded_at", "corrected_at"))
    return FeedbackEntry(
        **values,
        image=_image(image),
        time=datetime.fromisoformat(time),
        corrected=None if corrected is None else datetime.fromisoformat(corrected),
    )
