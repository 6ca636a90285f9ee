"""The one table, the same in both databases, and the one statement that fills it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    or_,
)
from sqlalchemy.dialects import postgresql, sqlite

from digitcnn.digits.digit_set import SIDE

SCHEMA_VERSION = 2

METADATA = MetaData()

# Texts that hold lists are JSON; times are ISO 8601 in UTC, which sort as they follow each other.
VERDICTS = Table(
    "verdicts",
    METADATA,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("visitor_hash", Text, nullable=False),
    Column("sketch_id", Text, nullable=False),
    Column("model_digest", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("answer", SmallInteger, CheckConstraint("answer BETWEEN 0 AND 9")),
    Column("probabilities", Text, nullable=False),
    # The greatest of them: what counts of calibration read without taking the list apart.
    Column("confidence", Double, nullable=False),
    Column("true_digit", SmallInteger, CheckConstraint("true_digit BETWEEN 0 AND 9")),
    Column("strokes", Text),
    Column("image", LargeBinary, CheckConstraint(f"length(image) = {SIDE**2}"), nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("corrected_at", Text),
    UniqueConstraint("visitor_hash", "sketch_id"),
    # All that a score reads: counting never touches the images.
    Index("verdicts_counted", "visitor_hash", "answer", "true_digit"),
    # PostgreSQL keeps it; says whose table this is and in which format.
    comment=f"digitcnn feedback, format {SCHEMA_VERSION}",
    # A page may name a row that was deleted meanwhile: no other row may have its number.
    sqlite_autoincrement=True,
)

# Of a verdict that replaces another; the row keeps its number, its sketch and its first time.
_REPLACED = (
    "model_digest",
    "model_name",
    "answer",
    "probabilities",
    "confidence",
    "true_digit",
    "strokes",
    "image",
)

# What makes it another verdict, rather than the same one sent twice.
_TELLING = ("true_digit", "answer", "model_digest")


def upsert(dialect: str, row: Mapping[str, Any]) -> postgresql.Insert | sqlite.Insert:
    """Insert a verdict, or put it in the place of the visitor's earlier one on the same sketch.

    dialect: ``sqlite`` or ``postgresql``. The same verdict sent twice changes nothing.
    """
    made = sqlite.insert(VERDICTS) if dialect == "sqlite" else postgresql.insert(VERDICTS)
    new = made.excluded
    return made.values(**row).on_conflict_do_update(
        index_elements=[VERDICTS.c.visitor_hash, VERDICTS.c.sketch_id],
        set_={
            **{name: new[name] for name in _REPLACED},
            "corrected_at": new.recorded_at,
        },
        where=or_(*(VERDICTS.c[name].is_distinct_from(new[name]) for name in _TELLING)),
    )
