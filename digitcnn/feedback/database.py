"""Transactions on the feedback table, and the differences between SQLite and PostgreSQL.

A fault of disk, network or server becomes one FeedbackError. Visitors read it, so it names neither
file nor host; the log does.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from digitcnn.errors import ConfigError, FeedbackError
from digitcnn.feedback.file_format import OURS, SCHEMA_VERSION
from digitcnn.feedback.table import ENTRIES, METADATA

log = logging.getLogger(__name__)

ADDRESS = "postgresql://user:password@host/database"


def open_database(place: Path | str, busy_seconds: float) -> Database:
    """Return the database at a file path or an address; opens no connection yet.

    Raises ConfigError for an address that is neither SQLite's nor PostgreSQL's.
    """
    if isinstance(place, Path):
        return SqliteDatabase(place, busy_seconds)
    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        # Not shown: it may hold a password.
        raise ConfigError(
            f"DIGITCNN_FEEDBACK_URL is not an address; use one such as {ADDRESS}."
        ) from error
    if url.get_backend_name() == "sqlite" and url.database:
        return SqliteDatabase(Path(url.database), busy_seconds)
    if url.get_backend_name() in ("postgresql", "postgres"):
        return PostgresDatabase(url, busy_seconds)
    raise ConfigError(
        f"DIGITCNN_FEEDBACK_URL starts with {url.drivername!r:.40}; use an address such as "
        f"{ADDRESS}."
    )


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


class SqliteDatabase(Database):
    """One file; it and its folder need not exist yet.

    Each call opens and closes its own connection, which takes one or two milliseconds, so that
    any number of threads and processes may share the file. A damaged file is moved away the first
    time it is opened, and ``notice`` says so.
    """

    insert = staticmethod(sqlite.insert)

    # Words in SQLite's or the operating system's messages, and the remedy for each fault.
    REMEDIES = (
        (("locked", "busy"), "try again in a moment"),
        (("full", "no space"), "free some space and try again"),
        (
            ("readonly", "read-only", "denied", "unable to open", "file exists"),
            "give the app write access there or choose another output folder",
        ),
    )

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path
        self.location = str(path)
        self.public_location = f"{path.name} on the computer running this app"
        self.elsewhere = "move it away or choose another output folder"
        self._check = threading.Lock()
        self._checked = False
        engine = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=NullPool,
            # Without an isolation level sqlite3 itself begins nothing: _begin does.
            connect_args={"timeout": busy_seconds, "isolation_level": None},
        )
        event.listen(engine, "connect", self._configure)
        super().__init__(engine, busy_seconds)

    @staticmethod
    def _configure(raw: sqlite3.Connection, record: object) -> None:
        # A commit waits for the disk, and erased data is overwritten.
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA secure_delete = ON")
        if raw.execute("PRAGMA application_id").fetchone() == (OURS,):
            # Readers do not wait for writers in this mode, which stays with the file. SQLite
            # refuses the change while others use the file: then a later connection makes it.
            with suppress(sqlite3.OperationalError):
                raw.execute("PRAGMA journal_mode = WAL")

    def _begin(self, connection: Connection) -> None:
        # Writers lock at once: SQLite refuses a write after a read if another wrote in between.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _format(self, connection: Connection) -> int | None:
        def ask(query: str) -> Any:
            return connection.exec_driver_sql(query).scalar()

        owner, version = ask("PRAGMA application_id"), ask("PRAGMA user_version")
        if owner == OURS:
            return int(version)
        return 0 if owner or version or ask("SELECT count(*) FROM sqlite_master") else None

    def _create_table(self, connection: Connection) -> None:
        METADATA.create_all(connection, checkfirst=False)
        connection.exec_driver_sql(f"PRAGMA application_id = {OURS}")
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    # --- Damage -----------------------------------------------------------------------------

    def _exists(self, create: bool = False) -> bool:
        """Return whether there is a file; moves a damaged one away, and makes the folder."""
        with self._check:
            if self._path.exists() and not self._checked:
                if not self._is_sound():
                    self._move_away()
                self._checked = True
        if create:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        return create or self._path.exists()

    def _is_sound(self) -> bool:
        try:
            with self._engine.connect() as connection:
                return connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() == "ok"
        except DBAPIError as error:
            if _means_damage(error.orig):
                return False
            raise

    def _move_away(self) -> None:
        """Rename the file after the time of its last change."""
        changed = datetime.fromtimestamp(self._path.stat().st_mtime, timezone.utc)
        stem = f"{self._path.stem}.damaged-{changed:%Y%m%dT%H%M%SZ}"
        target, attempt = self._path.with_name(stem + self._path.suffix), 1
        while target.exists():
            attempt += 1
            target = target.with_name(f"{stem}-{attempt}{self._path.suffix}")
        # The log goes first: SQLite would replay it into a new file beside it.
        for ending in ("-wal", "-shm", ""):
            part = self._path.with_name(self._path.name + ending)
            if part.exists():
                part.rename(target.with_name(target.name + ending))
        self.notice = (
            f"The feedback in {self._path} was damaged and is now {target.name}; the next feedback "
            "starts a new file."
        )

    def _explain(self, cause: BaseException | None) -> tuple[str, str]:
        fault = (isinstance(cause, OSError) and cause.strerror) or str(cause)
        if _means_damage(cause):
            with self._check:
                self._checked = False  # the next call checks the file
            return fault, "try again to start a new file"
        for words, remedy in self.REMEDIES:
            if any(word in fault.lower() for word in words):
                return fault, remedy
        return fault, "check the disk and the permissions of the output folder"


def _means_damage(error: BaseException | None) -> bool:
    # Python 3.10 has no sqlite_errorcode, but only SQLITE_CORRUPT and SQLITE_NOTADB (and others
    # that cannot occur here) raise DatabaseError itself: all else raises one of its children.
    return type(error) is sqlite3.DatabaseError


class PostgresDatabase(Database):
    """The database at an address, for machines without a permanent disk or for several processes.

    Raises ConfigError without the driver, psycopg.
    """

    insert = staticmethod(postgresql.insert)
    public_location, elsewhere = "the app owner's database", "choose another database"

    # By the beginning of a fault's SQLSTATE (PostgreSQL manual, appendix A): meaning and remedy.
    FAULTS: ClassVar[dict[str, tuple[str, str]]] = {
        "25006": ("the database is read-only", "give the app write access"),
        "42501": (
            "the database's user lacks permission",
            "grant the right to create and change tables",
        ),
        "53": (
            "the database is full",
            "free some space or connections there, then try again",
        ),
        "55P03": ("another program has locked the table", "try again in a moment"),
        "57014": ("the database timed out", "try again in a moment"),
    }
    # Errors before a connection exists have no SQLSTATE.
    UNREACHED = (
        "the database cannot be reached or refuses the login",
        "start the server, or correct DIGITCNN_FEEDBACK_URL",
    )

    # The table's comment; no row without a table.
    COMMENT = text(
        "SELECT obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relname = :table AND pg_table_is_visible(oid)"
    )
    # For one transaction, so that it holds behind a connection pooler too: a commit waits for the
    # disk, whatever the server does for others, and nothing waits for ever.
    SETTINGS = text(
        "SELECT set_config('synchronous_commit', 'on', true), "
        "set_config('lock_timeout', :wait, true), set_config('statement_timeout', :wait, true)"
    )

    def __init__(self, url: URL, busy_seconds: float) -> None:
        if find_spec("psycopg") is None:
            raise ConfigError(
                "DIGITCNN_FEEDBACK_URL names a PostgreSQL database, but psycopg is not installed; "
                "install it with: pip install 'psycopg[binary]'"
            )
        self.location = f"{url.database or url.username} on {url.host or 'this machine'}"
        self._wait = str(max(1, round(1000 * busy_seconds)))
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # the server may have restarted
            pool_timeout=busy_seconds,
            # A pooler may give each transaction another session: none prepares statements.
            connect_args={
                "connect_timeout": max(2, round(busy_seconds)),
                "prepare_threshold": None,
            },
        )
        super().__init__(engine, busy_seconds)

    def _begin(self, connection: Connection) -> None:
        connection.execute(self.SETTINGS, {"wait": self._wait})

    def _format(self, connection: Connection) -> int | None:
        row = connection.execute(self.COMMENT, {"table": ENTRIES.name}).one_or_none()
        if row is None:
            return None
        version = re.fullmatch(r"digitcnn feedback, format (\d+)", row[0] or "")
        return int(version[1]) if version else 0

    def _create_table(self, connection: Connection) -> None:
        # Held until this transaction ends: processes that start together create it once.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": OURS})
        if not self._has_table(connection):
            METADATA.create_all(connection)

    def _explain(self, cause: BaseException | None) -> tuple[str, str]:
        if isinstance(cause, PoolTimeout):
            return "all connections are in use", "try again in a moment"
        state = getattr(cause, "sqlstate", None) or ""
        return self.FAULTS.get(state) or self.FAULTS.get(state[:2]) or self.UNREACHED
