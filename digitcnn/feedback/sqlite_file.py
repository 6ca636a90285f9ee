"""Feedback in one SQLite file: what only a file needs.

Each call opens and closes its own connection, which costs one or two milliseconds, so that one
store serves any number of threads, and several stores any number of processes.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from digitcnn.errors import FeedbackError
from digitcnn.feedback.schema import METADATA, SCHEMA_VERSION

log = logging.getLogger(__name__)

# Marks the file as ours ("DCNN"), so that another program's database is never written to.
APPLICATION_ID = 0x44434E4E

# The words of SQLite or the operating system for a fault, and what a person can do about it.
_REMEDIES = (
    (("locked", "busy"), "another program holds the file, so try again in a moment"),
    (("full", "no space"), "free some space and try again"),
    (
        ("readonly", "read-only", "denied", "unable to open", "file exists"),
        "give the app write permission there or choose another output folder",
    ),
)


class SqliteFile:
    """The file, made with the first verdict.

    path: it and its folder need not exist yet. busy_seconds: how long a call waits for another
    writer before it gives up.

    A file that is damaged is set aside the first time it is opened, and ``notice`` says so. Errors
    may reach visitors, so they name the file as visitors may know it; the log has the full path.
    """

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        # A writer says so at its begin: one that read first could not wait for another.
        self._readers = self._engine("rw", "BEGIN")
        self._writers = self._engine("rwc", "BEGIN IMMEDIATE")
        # SQLite lets waiting writers poll, and an unlucky one starves: here they queue instead.
        self._write_lock = threading.Lock()
        self._check_lock = threading.Lock()  # guards the three below
        self._checked = False
        self._suspect = False
        self._notice: str | None = None

    @property
    def location(self) -> str:
        return str(self._path)

    @property
    def public_location(self) -> str:
        # The folder's full path is the owner's business.
        return f"{'/'.join(self._path.parts[-2:])} on the computer that runs this app"

    @property
    def notice(self) -> str | None:
        return self._notice

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """One transaction that sees one state; None while there is no verdict yet."""
        with self._faults_in_a_sentence("read"):
            if not self._exists():
                yield None
                return
            with self._readers.connect() as connection:
                raw = _raw(connection)
                if _is_new(raw):  # a writer is just making it
                    yield None
                    return
                self._require_our_schema(raw)
                yield connection

    @contextmanager
    def writing(self, *, make: bool = True) -> Iterator[Connection | None]:
        """One transaction, rolled back on any error, on the disk when the block has ended.

        make: make the file where there is none; else None is given.
        """
        with self._faults_in_a_sentence("kept"):
            if not self._exists():
                if not make:
                    yield None
                    return
                self._path.parent.mkdir(parents=True, exist_ok=True)
            # Opened before the wait: the connections of those who wait keep the log open, which
            # is otherwise folded into the file, with more waits for the disk, at each last close.
            with self._writers.connect() as connection, self._turn_to_write():
                if _is_new(_raw(connection)):
                    self._make_schema(connection)
                self._require_our_schema(_raw(connection))
                with connection.begin():
                    yield connection

    def close(self) -> None:
        """Nothing to do: each call has closed its own connection."""

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        if not self._write_lock.acquire(timeout=self._busy_seconds):
            raise TimeoutError("busy: other verdicts are being written")
        try:
            yield
        finally:
            self._write_lock.release()

    # --- Connections ------------------------------------------------------------------------

    def _engine(self, mode: str, begin: str) -> Engine:
        # Opens nothing yet. sqlite3 itself begins no transaction here: see _connect.
        engine = create_engine(
            "sqlite://", creator=partial(self._connect, mode), poolclass=NullPool
        )
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        raw = sqlite3.connect(uri, uri=True, timeout=self._busy_seconds, isolation_level=None)
        try:
            # A commit waits for the disk, and what is withdrawn is overwritten, not only unlinked.
            raw.execute("PRAGMA synchronous = FULL")
            raw.execute("PRAGMA secure_delete = ON")
        except BaseException:
            raw.close()
            raise
        return raw

    def _make_schema(self, connection: Connection) -> None:
        raw = _raw(connection)
        self._write_ahead(raw)
        with connection.begin():
            if _is_new(raw):  # no other process was quicker
                METADATA.create_all(connection, checkfirst=False)
                raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                raw.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _write_ahead(self, raw: sqlite3.Connection) -> None:
        """Writers do not block readers from here on; the mode stays with the file.

        Beside another process that is making the file SQLite refuses this at once, whatever wait
        is allowed.
        """
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                raw.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _require_our_schema(self, raw: sqlite3.Connection) -> None:
        application, version = _identity(raw)
        if application != APPLICATION_ID:
            raise FeedbackError(
                f"The file {self.public_location} is the database of another program; move it "
                "away or choose another output folder."
            )
        if version != SCHEMA_VERSION:
            age, remedy = (
                ("a newer", "update digitcnn or move the file away")
                if version > SCHEMA_VERSION
                else ("an older", "move the file away, and a new one is begun")
            )
            raise FeedbackError(
                f"The file {self.public_location} was written by {age} digitcnn (format "
                f"{version}, this one has {SCHEMA_VERSION}); {remedy}."
            )

    # --- Damage -----------------------------------------------------------------------------

    def _exists(self) -> bool:
        """Whether there is a sound file; one that is damaged is set aside on its first opening."""
        with self._faults_in_a_sentence("read"):
            if not self._path.exists():
                return False
            with self._check_lock:
                if not self._checked:
                    if not self._is_sound():
                        self._set_aside()
                    self._checked, self._suspect = True, False
            return self._path.exists()

    def _is_sound(self) -> bool:
        # The long check also compares the indexes with the table; it is for a file in which an
        # error already occurred.
        check = "integrity_check" if self._suspect else "quick_check"
        try:
            with closing(self._connect("rw")) as raw:
                return raw.execute(f"PRAGMA {check}(1)").fetchall() == [("ok",)]
        except sqlite3.DatabaseError as error:
            if _means_damage(error):
                return False
            raise

    def _set_aside(self) -> None:
        # Named after its last change. The log goes first: beside a new file it would be replayed
        # into that.
        changed = datetime.fromtimestamp(self._path.stat().st_mtime, timezone.utc)
        stem = f"{self._path.stem}.damaged-{changed:%Y%m%dT%H%M%SZ}"
        aside = self._path.with_name(f"{stem}{self._path.suffix}")
        attempt = 1
        while aside.exists():
            attempt += 1
            aside = self._path.with_name(f"{stem}-{attempt}{self._path.suffix}")
        for ending in ("-wal", "-shm", ""):
            part = self._path.with_name(self._path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        self._notice = (
            f"The feedback in {self._path} was damaged: it was set aside as {aside.name}, and a "
            "new file begins with the next verdict."
        )

    @contextmanager
    def _faults_in_a_sentence(self, done: str) -> Iterator[None]:
        """Turn faults of disk and database into one FeedbackError; ``done``: kept or read."""
        try:
            yield
        except (DBAPIError, sqlite3.Error, OSError) as error:
            origin = error.orig if isinstance(error, DBAPIError) else error
            fault = (isinstance(origin, OSError) and origin.strerror) or str(origin)
            if _means_damage(origin):
                with self._check_lock:  # the next call looks closely, and sets it aside
                    self._checked, self._suspect = False, True
                remedy = "try again, and a new file is begun"
            else:
                remedy = _remedy_for(fault)
            log.warning("Feedback could not be %s in %s: %s", done, self._path, fault)
            raise FeedbackError(
                f"Feedback could not be {done} in {self.public_location} ({fault}); {remedy}."
            ) from error


def _remedy_for(fault: str) -> str:
    for words, remedy in _REMEDIES:
        if any(word in fault.lower() for word in words):
            return remedy
    return "check the disk and the permissions of that folder"


def _raw(connection: Connection) -> sqlite3.Connection:
    """The connection below, which begins nothing by itself."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _identity(raw: sqlite3.Connection) -> tuple[int, int]:
    (application,) = raw.execute("PRAGMA application_id").fetchone()
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    return application, version


def _is_new(raw: sqlite3.Connection) -> bool:
    (tables,) = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return _identity(raw) == (0, 0) and tables == 0


def _means_damage(error: BaseException | None) -> bool:
    # Python 3.10 has no sqlite_errorcode, but only SQLITE_CORRUPT and SQLITE_NOTADB (and others
    # that cannot occur here) raise DatabaseError itself: all else raises one of its children.
    return type(error) is sqlite3.DatabaseError
