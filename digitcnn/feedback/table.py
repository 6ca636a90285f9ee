"""The one table, the same in both databases. Its names are part of the stored format."""

from __future__ import annotations

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
)

from digitcnn.digits.digit_set import SIDE
from digitcnn.feedback.file_format import SCHEMA_VERSION, TABLE

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
