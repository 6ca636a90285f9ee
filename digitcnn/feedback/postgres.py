"""Feedback in a PostgreSQL database: for a place whose disk forgets, or several app processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from digitcnn.errors import ConfigError, FeedbackError
from digitcnn.feedback.schema import METADATA, SCHEMA_VERSION, VERDICTS

log = logging.getLogger(__name__)

# Held while the table is made: processes that start together make it once. Any number will do,
# but all processes must take the same.
_MAKING = 0x44434E4E

# A fault by the beginning of its SQLSTATE (PostgreSQL manual, appendix A): what it means, and what
# a person can do about it.
_FAULTS = {
    "25006": ("it takes no changes", "let the app write to that database"),
    "42501": (
        "its user may not do that",
        "give the database's user the right to make and change tables",
    ),
    "42P01": ("its table is gone", "try again, and the table is made anew"),
    "53": ("it has no room for more", "free some space or connections there, then try again"),
    "55P03": ("another program holds the table", "try again in a moment"),
    "57014": ("it was too slow", "try again in a moment"),
}
# The driver gives no SQLSTATE for what goes wrong before a connection stands.
_UNREACHED = (
    "it cannot be reached, or does not let the app in",
    "start the server, or correct DIGITCNN_FEEDBACK_URL",
)

# The table's comment; no row where there is no table. Both as of one moment: to_regclass would see
# a table that was made a moment later, and without its comment.
_COMMENT = text(
    "SELECT obj_description(oid, 'pg_class') FROM pg_class "
    "WHERE relname = :table AND pg_table_is_visible(oid)"
)
# For this transaction alone, so that it holds behind a pooler as well: a commit waits for the
# disk, whatever the server does for others, and nothing waits for ever.
_SETTINGS = text(
    "SELECT set_config('synchronous_commit', 'on', true), "
    "set_config('lock_timeout', :wait, true), set_config('statement_timeout', :wait, true)"
)


class PostgresServer:
    """The database that an address names; its table is made with the first verdict.

    url: with host, database, user and password as the server needs them. busy_seconds: how long
    a call waits for a connection, and then for others who hold the table.

    Opens no connection before the first call. Errors may reach visitors, so they name neither host
    nor database; the log does, with the server's own words. Raises ConfigError without the driver,
    psycopg.
    """

    notice: str | None = None  # damage is the server's affair

    def __init__(self, url: URL, busy_seconds: float) -> None:
        if find_spec("psycopg") is None:
            raise ConfigError(
                "DIGITCNN_FEEDBACK_URL names a PostgreSQL database, but psycopg is not installed; "
                "install it with: pip install 'psycopg[binary]'"
            )
        self._url = url
        self._wait = str(max(1, round(1000 * busy_seconds)))
        self._engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # the server may have been started anew meanwhile
            pool_timeout=busy_seconds,
            # Statements prepared in one transaction are not there in the next behind a pooler.
            connect_args={
                "connect_timeout": max(2, round(busy_seconds)),
                "prepare_threshold": None,
            },
        )
        self._ready = False  # whether the table is known to be there

    @property
    def location(self) -> str:
        """Without the password."""
        return f"{self._url.database or self._url.username} on {self._url.host or 'this machine'}"

    @property
    def public_location(self) -> str:
        return "the database of whoever runs this app"

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """One transaction that sees one state; None while there is no verdict yet."""
        with (
            self._faults_in_a_sentence("read"),
            self._engine.execution_options(isolation_level="REPEATABLE READ").begin() as connection,
        ):
            connection.execute(_SETTINGS, {"wait": self._wait})
            yield connection if self._is_ready(connection) else None

    @contextmanager
    def writing(self, *, make: bool = True) -> Iterator[Connection | None]:
        """One transaction, rolled back on any error, on the disk when the block has ended.

        make: make the table where there is none; else None is given.
        """
        with self._faults_in_a_sentence("kept"):
            if not self._ready:  # else there is no need to ask again
                with self._engine.begin() as connection:
                    if not self._is_ready(connection) and not make:
                        yield None
                        return
                self._make_table()
            with self._engine.begin() as connection:
                connection.execute(_SETTINGS, {"wait": self._wait})
                yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _is_ready(self, connection: Connection) -> bool:
        """Whether the table is there, and ours; asked once for all."""
        if not self._ready:
            found = connection.execute(_COMMENT, {"table": VERDICTS.name}).one_or_none()
            if found is not None:
                self._require_ours(found[0])
            self._ready = found is not None
        return self._ready

    def _make_table(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
            if not self._is_ready(connection):  # no other process was quicker
                METADATA.create_all(connection)
        self._ready = True

    def _require_ours(self, comment: str | None) -> None:
        if comment == VERDICTS.comment:
            return
        if comment and comment.startswith("digitcnn feedback"):
            raise FeedbackError(
                f"The feedback in {self.public_location} was written by another digitcnn "
                f"({comment}, this one has format {SCHEMA_VERSION}); use that one, or choose "
                "another database."
            )
        raise FeedbackError(
            f"The table {VERDICTS.name} in {self.public_location} is another program's; choose "
            "another database."
        )

    @contextmanager
    def _faults_in_a_sentence(self, done: str) -> Iterator[None]:
        """Turn faults of network and server into one FeedbackError; ``done``: kept or read."""
        try:
            yield
        except PoolTimeout as error:
            meaning, remedy = "all connections are in use", "try again in a moment"
            raise self._fault(done, error, meaning, remedy) from error
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None) or ""
            if state == "42P01":  # somebody dropped the table
                self._ready = False
            meaning, remedy = _FAULTS.get(state) or _FAULTS.get(state[:2]) or _UNREACHED
            raise self._fault(done, error.orig, meaning, remedy) from error

    def _fault(
        self, done: str, error: BaseException | None, meaning: str, remedy: str
    ) -> FeedbackError:
        # What the driver says never holds the password.
        log.warning("Feedback could not be %s in %s: %s", done, self.location, error)
        return FeedbackError(
            f"Feedback could not be {done} in {self.public_location} ({meaning}); {remedy}."
        )
