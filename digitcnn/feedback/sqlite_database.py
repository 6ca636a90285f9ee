"""The feedback table in an SQLite file; a damaged file is moved away."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, NullPool, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from digitcnn.feedback.database import METADATA, Database
from digitcnn.feedback.file_format import OURS, SCHEMA_VERSION


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
