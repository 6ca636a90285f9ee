"""The feedback file's marks, and a count from it that does without SQLAlchemy and PyTorch."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

# "DCNN" marks an SQLite file as ours; in PostgreSQL it is the lock that creating the table takes.
OURS = 0x44434E4E
SCHEMA_VERSION = 2
TABLE = "verdicts"


def count_labelled(path: Path) -> int | None:
    """Return how many sketches of a feedback file show one of the ten digits.

    None for a file that cannot be read this way. ``FeedbackStore`` then gives the reason, but its
    library takes a second to import.
    """
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            marks = [
                file.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
            if marks != [OURS, SCHEMA_VERSION]:
                return None
            return int(file.execute(f"SELECT count(true_digit) FROM {TABLE}").fetchone()[0])
    except sqlite3.Error:
        return None
