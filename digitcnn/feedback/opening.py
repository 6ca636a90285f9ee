"""Open the database at a file path or an address."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from digitcnn.errors import ConfigError
from digitcnn.feedback.database import Database
from digitcnn.feedback.postgres_database import PostgresDatabase
from digitcnn.feedback.sqlite_database import SqliteDatabase

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
