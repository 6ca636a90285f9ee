"""The feedback table, and transactions on it, as SQLite and PostgreSQL share them.

The names in the table are part of the stored format. A fault of disk, network or server becomes one
FeedbackError. Visitors read it, so it names neither file nor host; the log does.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from digitcnn.digits.digit_set import SIDE
from digitcnn.errors import FeedbackError
from digitcnn.feedback.file_format import SCHEMA_VERSION, TABLE

log = logging.getLogger(__name__)

METADATA = MetaData()

# Texts that hold lists are JSON; times are ISO 8601 in UTC, which sort as texts.
ENTRIES = Table(
    TABLE,
    METADATA,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("visitor_hash", Text, nullable=False),
    Column("sketch_id", Text, nullable=False),
    Column("model_digest", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("answer", SmallInteger, CheckConstraint("answer BETWEEN 0 AND 9")),
    Column("probabilities", Text, nullable=False),
    # The highest probability, so that calibration need not parse the list.
    Column("confidence", Double, nullable=False),
    Column("true_digit", SmallInteger, CheckConstraint("true_digit BETWEEN 0 AND 9")),
    Column("strokes", Text),
    Column("image", LargeBinary, CheckConstraint(f"length(image) = {SIDE**2}"), nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("corrected_at", Text),
    UniqueConstraint("visitor_hash", "sketch_id"),
    # All that a score reads: counting never touches the images.
    Index("verdicts_counted", "visitor_hash", "answer", "true_digit"),
    # Stored by PostgreSQL; names the owner and the format of the table.
    comment=f"digitcnn feedback, format {SCHEMA_VERSION}",
    # A page may name an entry that was deleted meanwhile: its number is never reused.
    sqlite_autoincrement=True,
)

# Columns that later feedback on the same sketch replaces; id, sketch and first time stay.
REPLACED = (
    "model_digest",
    "model_name",
    "answer",
    "probabilities",
    "confidence",
    "true_digit",
    "strokes",
    "image",
)

# Feedback that differs in one of these replaces the old; else it is a repetition, as of a retry.
DECISIVE = ("true_digit", "answer", "model_digest")


class Database(ABC):
    """One database with the feedback table, which the first feedback creates. Thread-safe.

    location: for the log, without a password. public_location: for visitors. elsewhere: what to do
    where others use it. notice: a sentence for the owner about a damaged file that was moved away,
    or None. insert: the statement that knows ON CONFLICT.
    """

    location: str
    public_location: str
    elsewhere: str
    notice: str | None = None
    insert: ClassVar[Any]

    def __init__(self, engine: Engine, busy_seconds: float) -> None:
        self._engine, self._busy_seconds = engine, busy_seconds
        event.listen(engine, "begin", self._begin)
        # SQLite lets waiting writers poll, and an unlucky one starves: here they queue instead.
        self._writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """Open a transaction that only reads; yields None while there is no table."""
        with self._explaining("read"):
            if not self._exists():
                yield None
                return
            with self._engine.begin() as connection:
                yield connection if self._has_table(connection) else None

    @contextmanager
    def writing(self, *, create: bool = True) -> Iterator[Connection | None]:
        """Open a transaction that is on the disk when the block ends, and undone by any error.

        create: whether to create a missing table; else None is yielded for it.
        """
        with self._explaining("saved"):
            if not self._exists(create):
                yield None
                return
            # Connected before the wait: while others have SQLite's log open, closing a connection
            # need not fold it into the file.
            with (
                self._engine.connect() as connection,
                self._next_writer(),
                connection.execution_options(writes=True).begin(),
            ):
                ready = self._has_table(connection)
                if create and not ready:
                    self._create_table(connection)
                yield connection if ready or create else None

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        self._engine.dispose()

    @contextmanager
    def _next_writer(self) -> Iterator[None]:
        if not self._writer.acquire(timeout=self._busy_seconds):
            raise FeedbackError("Other feedback is being saved; try again in a moment.")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def _explaining(self, done: str) -> Iterator[None]:
        """Turn faults into one FeedbackError. done: ``saved`` or ``read``."""
        try:
            yield
        except (DBAPIError, PoolTimeout, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            fault, remedy = self._explain(cause)
            # A driver's own words never hold the password.
            log.warning("Feedback could not be %s in %s: %s", done, self.location, cause)
            raise FeedbackError(f"Feedback could not be {done} ({fault}); {remedy}.") from error

    def _has_table(self, connection: Connection) -> bool:
        """Return whether the table exists; FeedbackError for another program's or format."""
        version = self._format(connection)
        if version in (None, SCHEMA_VERSION):
            return version is not None
        if version == 0:
            raise FeedbackError(
                f"{self.public_location} belongs to another program; {self.elsewhere}."
            )
        raise FeedbackError(
            f"The feedback in {self.public_location} has another format ({version}; expected "
            f"{SCHEMA_VERSION}); use the digitcnn that wrote it, or {self.elsewhere}."
        )

    # --- Differences ------------------------------------------------------------------------

    def _exists(self, create: bool = False) -> bool:
        """Return whether there is something to connect to, or prepare for it being created."""
        return True

    @abstractmethod
    def _begin(self, connection: Connection) -> None:
        """Begin a transaction that SQLAlchemy has opened."""

    @abstractmethod
    def _format(self, connection: Connection) -> int | None:
        """Return the table's format: None without a table, 0 for another program's."""

    @abstractmethod
    def _create_table(self, connection: Connection) -> None: ...

    @abstractmethod
    def _explain(self, cause: BaseException | None) -> tuple[str, str]:
        """Return what a fault means, and what a person can do about it."""
