"""The feedback store: one table of verdicts, the questions asked of it, and who may change what."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import torch
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Select,
    delete,
    func,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.errors import ConfigError, FeedbackError, NotOwnerError
from digitcnn.feedback import entry
from digitcnn.feedback.entry import (
    EVERYTHING,
    FeedbackEntry,
    FeedbackFilter,
    ModelScore,
    Score,
    Sketch,
    hash_of,
)
from digitcnn.feedback.postgres import PostgresServer
from digitcnn.feedback.schema import VERDICTS, upsert
from digitcnn.feedback.sqlite_file import SqliteFile
from digitcnn.intervals import wilson_interval

_ROW = VERDICTS.c
_RIGHT = _ROW.answer.is_not_distinct_from(_ROW.true_digit)
_LISTED = select(
    _ROW.id, _ROW.sketch_id, _ROW.visitor_hash, _ROW.model_name, _ROW.model_digest, _ROW.answer,
    _ROW.true_digit, _RIGHT.label("right"), _ROW.confidence, _ROW.image, _ROW.recorded_at,
    _ROW.corrected_at,
)  # fmt: skip


class Database(Protocol):
    """Where the table is. Faults leave both transactions as one FeedbackError."""

    @property
    def location(self) -> str: ...

    @property
    def public_location(self) -> str: ...

    @property
    def notice(self) -> str | None: ...

    def reading(self) -> AbstractContextManager[Connection | None]: ...

    def writing(self, *, make: bool = True) -> AbstractContextManager[Connection | None]: ...

    def close(self) -> None: ...


class FeedbackStore:
    """The feedback in one place, made there with the first verdict.

    place: an SQLite file, which like its folder need not exist yet, or the address of a
        PostgreSQL database; until the first verdict every question is answered as for an empty
        store.
    busy_seconds: how long a call waits for another writer before it gives up.

    Safe to use from many threads, and from many processes at the same place. Raises ConfigError
    for an address that is neither; every method raises FeedbackError when the place cannot be read
    or written.
    """

    def __init__(self, place: Path | str, *, busy_seconds: float = 10.0) -> None:
        self._database = _database_at(place, busy_seconds)

    @property
    def location(self) -> str:
        """Where the drawings are kept, without a password."""
        return self._database.location

    @property
    def public_location(self) -> str:
        """Where the drawings are kept, in words for whoever draws them."""
        return self._database.public_location

    @property
    def notice(self) -> str | None:
        """A sentence about a damaged file that was set aside, or None."""
        return self._database.notice

    def close(self) -> None:
        """Give idle connections back; a later call opens new ones."""
        self._database.close()

    # --- Keep, correct, erase ---------------------------------------------------------------

    def record(
        self,
        *,
        visitor: str,
        sketch_id: str,
        model_digest: str,
        model_name: str,
        answer: int | None,
        probabilities: Sequence[float],
        true_digit: int | None,
        strokes: list | None,
        image: torch.Tensor,
        now: datetime,
    ) -> None:
        """Keep one verdict; it is on the disk when this returns.

        A second verdict of the same visitor on the same sketch replaces the first, which stays one
        row with its first time. ``answer`` and ``true_digit``: 0 to 9, or None for 'no digit'.
        ``probabilities``: ten, adding up to 1. ``strokes``: what JSON can hold, at most 256 KiB.
        ``image``: uint8 [28, 28], ink high. ``now``: with a time zone.

        Raises FeedbackError when an argument is off or it cannot be kept; the store is then as it
        was before.
        """
        ten = entry.checked_probabilities(probabilities)
        row = {
            "visitor_hash": hash_of(visitor),
            "sketch_id": entry.checked_token("sketch id", sketch_id),
            "model_digest": entry.checked_token("model digest", model_digest),
            "model_name": entry.checked_name(model_name),
            "answer": entry.checked_digit("answer", answer),
            "probabilities": json.dumps(ten),
            "confidence": max(ten),
            "true_digit": entry.checked_digit("true digit", true_digit),
            "strokes": entry.checked_strokes(strokes),
            "image": entry.checked_image(image),
            "recorded_at": entry.checked_time(now),
        }
        with self._database.writing() as connection:
            assert connection is not None
            connection.execute(upsert(connection.dialect.name, row))

    def withdraw(self, visitor: str, sketch_id: str) -> bool:
        """Erase a visitor's own verdict with its sketch; False when there is none."""
        mine = _ROW.visitor_hash == hash_of(visitor)
        this = _ROW.sketch_id == entry.checked_token("sketch id", sketch_id)
        with self._database.writing(make=False) as connection:
            if connection is None:
                return False
            return connection.execute(delete(VERDICTS).where(mine, this)).rowcount > 0

    def correct(
        self, row_id: int, true_digit: int | None, now: datetime, *, visitor: str | None
    ) -> None:
        """Say anew what a listed sketch shows; None for 'no digit'.

        visitor: the secret of who asks, who may change only what is their own; None for the owner
        of the lab, who may change all. Raises NotOwnerError for another's verdict, FeedbackError
        for one that is not there any more.
        """
        digit = entry.checked_digit("true digit", true_digit)
        changed = {"true_digit": digit, "corrected_at": entry.checked_time(now)}
        with self._changing(row_id, visitor) as (connection, this):
            connection.execute(
                update(VERDICTS)
                .where(this, _ROW.true_digit.is_distinct_from(digit))
                .values(**changed)
            )

    def erase(self, row_id: int, *, visitor: str | None) -> None:
        """Erase a listed verdict with its sketch; ``visitor`` and errors as ``correct``."""
        with self._changing(row_id, visitor) as (connection, this):
            connection.execute(delete(VERDICTS).where(this))

    @contextmanager
    def _changing(
        self, row_id: int, visitor: str | None
    ) -> Iterator[tuple[Connection, ColumnElement[bool]]]:
        """A transaction for a row that may be changed, and the condition that names it."""
        gone = "That verdict is not there any more; refresh the list."
        if not isinstance(row_id, int) or not 0 < row_id < 2**63:
            raise FeedbackError(gone)
        this = _ROW.id == row_id
        with self._database.writing(make=False) as connection:
            if connection is None:
                raise FeedbackError(gone)
            # Nobody changes it between this question and the change.
            kept = connection.scalar(select(_ROW.visitor_hash).where(this).with_for_update())
            if kept is None:
                raise FeedbackError(gone)
            if visitor is not None and not hmac.compare_digest(hash_of(visitor), kept):
                raise NotOwnerError(
                    "Only whoever gave a verdict may change it, or the owner of this lab, who "
                    "opens the address that was printed when the app was started."
                )
            yield connection, this

    # --- Scores -----------------------------------------------------------------------------

    def score(self, visitor: str | None) -> Score:
        """The share of right answers by the verdicts of one visitor, or of all (None)."""
        rows = self._select(
            select(func.count(), func.count().filter(_RIGHT)).where(
                *_which(FeedbackFilter(visitor))
            )
        )
        total, right = rows[0] if rows else (0, 0)
        return _score(total, right)

    def scores_by_digit(self, wanted: FeedbackFilter = EVERYTHING) -> dict[int | None, Score]:
        """The score on the sketches of each digit that was drawn, by it; None is 'no digit'."""
        rows = self._select(
            select(_ROW.true_digit, func.count(), func.count().filter(_RIGHT))
            .where(*_which(wanted))
            .group_by(_ROW.true_digit)
        )
        scores = {digit: _score(total, right) for digit, total, right in rows}
        return {digit: scores[digit] for digit in (*range(CLASSES), None) if digit in scores}

    def scores_by_model(self, wanted: FeedbackFilter = EVERYTHING) -> list[ModelScore]:
        """The score of each network that was judged, the one judged last first."""
        latest = func.max(_ROW.id).label("latest")
        groups = (
            select(_ROW.model_digest, func.count(), func.count().filter(_RIGHT), latest)
            .where(*_which(wanted))
            .group_by(_ROW.model_digest)
            .subquery()
        )
        rows = self._select(
            select(groups, _ROW.model_name)
            .join(VERDICTS, _ROW.id == groups.c.latest)
            .order_by(groups.c.latest.desc())
        )
        return [
            ModelScore(digest, name, _score(total, right)) for digest, total, right, _, name in rows
        ]

    def confidences(self, wanted: FeedbackFilter = EVERYTHING) -> tuple[torch.Tensor, torch.Tensor]:
        """How sure the answers were, and whether people said that they were right.

        float64 [N], 0 to 1; bool [N]. An answer 'no digit' shows no confidence and is left out.
        """
        rows = self._select(
            select(_ROW.confidence, _RIGHT).where(_ROW.answer.is_not(None), *_which(wanted))
        )
        return (
            torch.tensor([confidence for confidence, _ in rows], dtype=torch.float64),
            torch.tensor([bool(right) for _, right in rows], dtype=torch.bool),
        )

    # --- Lists ------------------------------------------------------------------------------

    def count(self, wanted: FeedbackFilter = EVERYTHING) -> int:
        rows = self._select(select(func.count()).select_from(VERDICTS).where(*_which(wanted)))
        return int(rows[0][0]) if rows else 0

    def rows(
        self, wanted: FeedbackFilter = EVERYTHING, *, offset: int = 0, limit: int | None = None
    ) -> list[FeedbackEntry]:
        """The verdicts from ``offset`` on, the newest sketch first.

        The order is that in which the sketches came, whatever the clock said then.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise FeedbackError(
                f"{limit} verdicts from the {offset}th on were asked for; ask for 0 or more."
            )
        listed = _LISTED.where(*_which(wanted)).order_by(_ROW.id.desc())
        return [_as_entry(row) for row in self._select(listed.offset(offset).limit(limit))]

    def recent(self, visitor: str | None, limit: int) -> list[FeedbackEntry]:
        """The latest verdicts of one visitor, or of all (None), as ``rows`` gives them."""
        return self.rows(FeedbackFilter(visitor), limit=limit)

    # --- Sketches to train and test on ------------------------------------------------------

    def sketches(self, wanted: FeedbackFilter = EVERYTHING) -> list[Sketch]:
        """Every sketch with its latest verdict, by ``id``; also those that show 'no digit'."""
        rows = self._select(
            select(
                _ROW.id, _ROW.visitor_hash, _ROW.image, _ROW.true_digit, _ROW.model_digest,
                _ROW.answer, _ROW.probabilities, _ROW.strokes, _ROW.recorded_at,
            ).where(*_which(wanted)).order_by(_ROW.id)
        )  # fmt: skip
        return [
            Sketch(
                id=row.id,
                visitor_hash=row.visitor_hash,
                image=entry.image_of(row.image),
                true_digit=row.true_digit,
                model_digest=row.model_digest,
                answer=row.answer,
                probabilities=tuple(json.loads(row.probabilities)),
                strokes=None if row.strokes is None else json.loads(row.strokes),
                time=datetime.fromisoformat(row.recorded_at),
            )
            for row in rows
        ]

    def count_labelled(self, wanted: FeedbackFilter = EVERYTHING) -> int:
        """How many sketches show one of the ten digits."""
        rows = self._select(
            select(func.count(_ROW.true_digit)).select_from(VERDICTS).where(*_which(wanted))
        )
        return int(rows[0][0]) if rows else 0

    def labelled(self, wanted: FeedbackFilter = EVERYTHING) -> tuple[torch.Tensor, torch.Tensor]:
        """The sketches that show one of the ten digits, by ``id``.

        Images uint8 [N, 28, 28], ink high, and true digits uint8 [N].
        """
        rows = self._select(
            select(_ROW.image, _ROW.true_digit)
            .where(_ROW.true_digit.is_not(None), *_which(wanted))
            .order_by(_ROW.id)
        )
        content = bytearray(b"".join(row.image for row in rows))
        images = (
            torch.frombuffer(content, dtype=torch.uint8)
            if content
            else torch.empty(0, dtype=torch.uint8)
        )
        labels = torch.tensor([row.true_digit for row in rows], dtype=torch.uint8)
        return images.reshape(-1, SIDE, SIDE), labels

    def _select(self, query: Select) -> Sequence[Any]:
        """No rows at all while there is no verdict yet."""
        with self._database.reading() as connection:
            return [] if connection is None else connection.execute(query).all()


def _database_at(place: Path | str, busy_seconds: float) -> Database:
    if isinstance(place, Path):
        return SqliteFile(place, busy_seconds)
    url = _url(place)
    if url.get_backend_name() == "sqlite" and url.database:
        return SqliteFile(Path(url.database), busy_seconds)
    if url.get_backend_name() in ("postgresql", "postgres"):
        return PostgresServer(url, busy_seconds)
    raise ConfigError(
        f"DIGITCNN_FEEDBACK_URL begins with {url.drivername!r:.40}, but an address like "
        "postgresql://user:password@host/database is expected; correct it."
    )


def _url(place: str) -> URL:
    try:
        return make_url(place)
    except (ArgumentError, ValueError) as error:
        # Not shown: it may hold a password.
        raise ConfigError(
            "DIGITCNN_FEEDBACK_URL is no address; write it like "
            "postgresql://user:password@host/database."
        ) from error


def _which(wanted: FeedbackFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.visitor is not None:
        conditions.append(_ROW.visitor_hash == hash_of(wanted.visitor))
    if wanted.right is not None:
        conditions.append(_RIGHT if wanted.right else ~_RIGHT)
    if wanted.true_digit == "none":
        conditions.append(_ROW.true_digit.is_(None))
    elif wanted.true_digit != "any":
        conditions.append(_ROW.true_digit == entry.checked_digit("digit", wanted.true_digit))
    if wanted.model is not None:
        conditions.append(_ROW.model_digest == entry.checked_token("model digest", wanted.model))
    return conditions


def _score(total: int, right: int) -> Score:
    low, high = wilson_interval(right, total)
    return Score(right, total, right / total if total else math.nan, low, high)


def _as_entry(row: Any) -> FeedbackEntry:
    return FeedbackEntry(
        id=row.id,
        sketch_id=row.sketch_id,
        alias=entry.alias_of(row.visitor_hash),
        model_name=row.model_name,
        model_digest=row.model_digest,
        answer=row.answer,
        true_digit=row.true_digit,
        right=bool(row.right),
        confidence=row.confidence,
        image=entry.image_of(row.image),
        time=datetime.fromisoformat(row.recorded_at),
        corrected=None if row.corrected_at is None else datetime.fromisoformat(row.corrected_at),
    )
