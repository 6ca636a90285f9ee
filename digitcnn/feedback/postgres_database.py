"""The feedback table in a PostgreSQL database."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import ClassVar

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import TimeoutError as PoolTimeout

from digitcnn.errors import ConfigError
from digitcnn.feedback.database import ENTRIES, METADATA, Database
from digitcnn.feedback.file_format import OURS


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
        "53": ("the database is full", "free some space or connections there, then try again"),
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
