"""What people said about the model's answers, kept in one SQLite file.

A verdict is kept with its sketch: the strokes, the 28x28 image that the network saw, which model
answered what with which probabilities, and what the person says it is. That is all that is needed
to turn the feedback into a digit set later. ``record`` returns when the verdict is on the disk.

Who gave a verdict is kept only as a hash of the secret in that person's browser: the file tells
which verdicts belong together, but nobody who reads it can act as that person.

Each call opens and closes its own connection, which costs one or two milliseconds, so that one
store serves any number of threads, and several stores any number of processes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.errors import FeedbackError
from digitcnn.intervals import wilson_interval

# A minute of drawing at 120 points a second fits in.
MAX_STROKES_BYTES = 256 * 1024

SCHEMA_VERSION = 1
# Marks the file as ours ("DCNN"), so that another program's database is never written to.
APPLICATION_ID = 0x44434E4E

# verdicts_counted holds all that a score reads: counting never touches the images.
_SCHEMA = (
    f"""CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY,
        visitor_hash TEXT NOT NULL,
        sketch_id TEXT NOT NULL,
        model_digest TEXT NOT NULL,
        model_name TEXT NOT NULL,
        answer INTEGER CHECK (answer BETWEEN 0 AND 9),
        probabilities TEXT NOT NULL,
        true_digit INTEGER CHECK (true_digit BETWEEN 0 AND 9),
        strokes TEXT,
        image BLOB NOT NULL CHECK (length(image) = {SIDE * SIDE}),
        recorded_at TEXT NOT NULL,
        corrected_at TEXT,
        UNIQUE (visitor_hash, sketch_id)
    )""",
    "CREATE INDEX verdicts_counted ON verdicts (visitor_hash, answer, true_digit)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

# The same verdict sent twice changes nothing; another one keeps its place and its first time.
_UPSERT = """
INSERT INTO verdicts (visitor_hash, sketch_id, model_digest, model_name, answer, probabilities,
                      true_digit, strokes, image, recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (visitor_hash, sketch_id) DO UPDATE SET
    model_digest = excluded.model_digest, model_name = excluded.model_name,
    answer = excluded.answer, probabilities = excluded.probabilities,
    true_digit = excluded.true_digit, strokes = excluded.strokes, image = excluded.image,
    corrected_at = excluded.recorded_at
WHERE true_digit IS NOT excluded.true_digit OR answer IS NOT excluded.answer
   OR model_digest <> excluded.model_digest
"""

_LISTED = """
SELECT sketch_id, visitor_hash, model_name, model_digest, answer, true_digit,
       answer IS true_digit, probabilities, recorded_at, corrected_at FROM verdicts
"""

# The words of SQLite or the operating system for a fault, and what a person can do about it.
_REMEDIES = (
    (("locked", "busy"), "another program holds the file, so try again in a moment"),
    (("full", "no space"), "free some space and try again"),
    (
        ("readonly", "read-only", "denied", "unable to open", "file exists"),
        "give the app write permission there or choose another output folder",
    ),
)

_TOKEN = re.compile(r"[!-~]{1,128}")
_ALIAS_LENGTH = 8


@dataclass(frozen=True)
class Score:
    """How many verdicts said that the answer was right, with the 95 % Wilson interval.

    share, low and high are fractions; all three are NaN when total is 0.
    """

    right: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class FeedbackRow:
    """One verdict as lists show it, without the secret of the visitor who gave it.

    answer and true_digit: None means 'no digit'. right: the two are equal.
    confidence: the highest of the ten probabilities. Times are in UTC; corrected is None until
    another verdict on the same sketch replaced the first.
    """

    sketch_id: str
    alias: str
    model_name: str
    model_digest: str
    answer: int | None
    true_digit: int | None
    right: bool
    confidence: float
    time: datetime
    corrected: datetime | None


def visitor_alias(visitor: str) -> str:
    """The name under which lists show a visitor: eight hex digits that do not lead back."""
    return _hash_of(visitor)[:_ALIAS_LENGTH]


class FeedbackStore:
    """The feedback in one SQLite file, made with the first verdict.

    path: the file; it and its folder need not exist yet, and until the first verdict every
        question is answered as for an empty store.
    busy_seconds: how long a call waits for another writer before it gives up.

    A file that is damaged is set aside the first time it is opened, and ``notice`` says so.
    Every method raises FeedbackError when the file cannot be read or written.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 10.0) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        # SQLite lets waiting writers poll, and an unlucky one starves: here they queue instead.
        self._write_lock = threading.Lock()
        self._check_lock = threading.Lock()  # guards the three below
        self._checked = False
        self._suspect = False
        self._notice: str | None = None

    @property
    def location(self) -> str:
        """Where the drawings are kept, for the line on the page that says so."""
        return str(self._path)

    @property
    def notice(self) -> str | None:
        """A sentence about a damaged file that was set aside, or None."""
        return self._notice

    def record(
        self,
        *,
        visitor: str,
        sketch_id: str,
        model_digest: str,
        model_name: str,
        answer: int | None,
        probabilities: Sequence[float],
        true_digit: int | None,
        strokes: list | None,
        image: torch.Tensor,
        now: datetime,
    ) -> None:
        """Keep one verdict; it is on the disk when this returns.

        A second verdict of the same visitor on the same sketch replaces the first, which stays one
        row with its first time. ``answer`` and ``true_digit``: 0 to 9, or None for 'no digit'.
        ``probabilities``: ten, adding up to 1. ``strokes``: what JSON can hold, at most 256 KiB.
        ``image``: uint8 [28, 28], ink high. ``now``: with a time zone.

        Raises FeedbackError when an argument is off or the file cannot be written; the store is
        then as it was before.
        """
        row = (
            _hash_of(_checked_token("visitor id", visitor)),
            _checked_token("sketch id", sketch_id),
            _checked_token("model digest", model_digest),
            _checked_name(model_name),
            _checked_digit("answer", answer),
            json.dumps(_checked_probabilities(probabilities)),
            _checked_digit("true digit", true_digit),
            _checked_strokes(strokes),
            _checked_image(image),
            _checked_time(now),
        )
        with self._writing() as connection:
            connection.execute(_UPSERT, row)

    def withdraw(self, visitor: str, sketch_id: str) -> bool:
        """Erase a visitor's own verdict with its sketch; False when there is none."""
        visitor_hash = _hash_of(_checked_token("visitor id", visitor))
        _checked_token("sketch id", sketch_id)
        if not self._exists():
            return False
        with self._writing() as connection:
            erased = connection.execute(
                "DELETE FROM verdicts WHERE visitor_hash = ? AND sketch_id = ?",
                (visitor_hash, sketch_id),
            )
            return erased.rowcount > 0

    def score(self, visitor: str | None) -> Score:
        """The share of right answers by the verdicts of one visitor, or of all (None)."""
        where, arguments = _of(visitor)
        rows = self._select(
            f"SELECT count(*), total(answer IS true_digit) FROM verdicts {where}", arguments
        )
        total, right = (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)
        low, high = wilson_interval(right, total)
        return Score(right, total, right / total if total else math.nan, low, high)

    def recent(self, visitor: str | None, limit: int) -> list[FeedbackRow]:
        """The latest verdicts of one visitor, or of all (None), the newest sketch first.

        The order is that in which the sketches came, whatever the clock said then.
        """
        if limit < 0:
            raise FeedbackError(f"{limit} verdicts were asked for; ask for 0 or more.")
        where, arguments = _of(visitor)
        rows = self._select(f"{_LISTED} {where} ORDER BY id DESC LIMIT ?", (*arguments, limit))
        return [_as_feedback_row(row) for row in rows]

    # --- The file ---------------------------------------------------------------------------

    def _select(self, query: str, arguments: tuple) -> list[tuple]:
        with self._faults_in_a_sentence("read"):
            if not self._exists():
                return []
            with self._connection("rw") as connection:
                if _is_new(connection):  # a writer is just making it
                    return []
                self._require_our_schema(connection)
                return connection.execute(query, arguments).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, the file made before it where needed; rolled back on any error."""
        with self._faults_in_a_sentence("kept"):
            if not self._exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
            # Opened before the wait: the connections of those who wait keep the log open, which
            # is otherwise folded into the file, with more waits for the disk, at each last close.
            with self._connection("rwc") as connection, self._turn_to_write():
                if _is_new(connection):
                    self._make_schema(connection)
                self._require_our_schema(connection)
                with _transaction(connection):
                    yield connection

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        if not self._write_lock.acquire(timeout=self._busy_seconds):
            raise TimeoutError("busy: other verdicts are being written")
        try:
            yield
        finally:
            self._write_lock.release()

    @contextmanager
    def _connection(self, mode: str) -> Iterator[sqlite3.Connection]:
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        with closing(
            sqlite3.connect(uri, uri=True, timeout=self._busy_seconds, isolation_level=None)
        ) as connection:
            # A commit waits for the disk, and what is withdrawn is overwritten, not only unlinked.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            yield connection

    def _make_schema(self, connection: sqlite3.Connection) -> None:
        # Writers do not block readers; the mode stays with the file.
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            if _is_new(connection):  # no other process was quicker
                for statement in _SCHEMA:
                    connection.execute(statement)

    def _require_our_schema(self, connection: sqlite3.Connection) -> None:
        application, version = _identity(connection)
        if application != APPLICATION_ID:
            raise FeedbackError(
                f"{self._path} is the database of another program; move it away or choose another "
                "output folder."
            )
        if version > SCHEMA_VERSION:
            raise FeedbackError(
                f"{self._path} was written by a newer digitcnn (format {version}, this one reads "
                f"up to {SCHEMA_VERSION}); update digitcnn or move the file away."
            )

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
            with self._connection("rw") as connection:
                return connection.execute(f"PRAGMA {check}(1)").fetchall() == [("ok",)]
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
        except (sqlite3.Error, OSError) as error:
            fault = (isinstance(error, OSError) and error.strerror) or str(error)
            if _means_damage(error):
                with self._check_lock:  # the next call looks closely, and sets it aside
                    self._checked, self._suspect = False, True
                remedy = "try again, and a new file is begun"
            else:
                remedy = _remedy_for(fault)
            raise FeedbackError(
                f"Feedback could not be {done} in {self._path} ({fault}); {remedy}."
            ) from error


def _remedy_for(fault: str) -> str:
    for words, remedy in _REMEDIES:
        if any(word in fault.lower() for word in words):
            return remedy
    return "check the disk and the permissions of that folder"


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _is_new(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return _identity(connection) == (0, 0) and tables == 0


def _means_damage(error: BaseException) -> bool:
    # Python 3.10 has no sqlite_errorcode, but only SQLITE_CORRUPT and SQLITE_NOTADB (and others
    # that cannot occur here) raise DatabaseError itself: all else raises one of its children.
    return type(error) is sqlite3.DatabaseError


def _of(visitor: str | None) -> tuple[str, tuple]:
    if visitor is None:
        return "", ()
    return "WHERE visitor_hash = ?", (_hash_of(_checked_token("visitor id", visitor)),)


def _hash_of(visitor: str) -> str:
    return hashlib.sha256(visitor.encode()).hexdigest()


def _as_feedback_row(row: tuple) -> FeedbackRow:
    sketch_id, visitor_hash, name, digest, answer, true_digit, right, probabilities, *times = row
    recorded_at, corrected_at = times
    return FeedbackRow(
        sketch_id=sketch_id,
        alias=visitor_hash[:_ALIAS_LENGTH],
        model_name=name,
        model_digest=digest,
        answer=answer,
        true_digit=true_digit,
        right=bool(right),
        confidence=max(json.loads(probabilities)),
        time=datetime.fromisoformat(recorded_at),
        corrected=None if corrected_at is None else datetime.fromisoformat(corrected_at),
    )


# --- What a verdict must be: it comes from a browser, which may be anybody's program -------------


def _checked_token(what: str, value: str) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise FeedbackError(
            f"The {what} is {_short(value)}, but 1 to 128 printable ASCII characters without "
            "spaces are expected; reload the page and try again."
        )
    return value


def _checked_name(value: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable():
        raise FeedbackError(
            f"The model's name is {_short(value)}, but 1 to 200 printable characters are expected; "
            "rename the checkpoint."
        )
    return value


def _checked_digit(what: str, value: int | None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < CLASSES:
        raise FeedbackError(
            f"The {what} is {_short(value)}, but 0 to 9, or nothing for 'no digit', is expected; "
            "pick one of these."
        )
    return value


def _checked_probabilities(values: Sequence[float]) -> list[float]:
    expected = f"{CLASSES} numbers from 0 to 1 that add up to 1 are expected; draw the sketch again"
    try:
        probabilities = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError) as error:
        raise FeedbackError(f"The probabilities are {_short(values)}, but {expected}.") from error
    # Written so that NaN fails each comparison.
    sound = len(probabilities) == CLASSES and all(0.0 <= value <= 1.0 for value in probabilities)
    if not sound or not abs(sum(probabilities) - 1.0) <= 1e-3:
        raise FeedbackError(f"The probabilities are {_short(values)}, but {expected}.")
    return probabilities


def _checked_strokes(strokes: list | None) -> str | None:
    if strokes is None:
        return None
    try:
        if not isinstance(strokes, list):
            raise TypeError("not a list")
        text = json.dumps(strokes, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise FeedbackError(
            f"The strokes cannot be kept as JSON ({error}), but a list of points with finite "
            "coordinates is expected; clear the pad and draw again."
        ) from error
    if len(text) > MAX_STROKES_BYTES:  # json.dumps writes ASCII: characters are bytes
        raise FeedbackError(
            f"The sketch takes {len(text):,} bytes, but {MAX_STROKES_BYTES:,} are allowed; clear "
            "the pad and draw with fewer strokes."
        )
    return text


def _checked_image(image: torch.Tensor) -> bytes:
    if not isinstance(image, torch.Tensor):
        raise FeedbackError(
            f"The image is {_short(image)}, but a uint8 tensor [{SIDE}, {SIDE}] is expected; draw "
            "the sketch again."
        )
    if image.dtype != torch.uint8 or tuple(image.shape) != (SIDE, SIDE):
        raise FeedbackError(
            f"The image is {image.dtype} {list(image.shape)}, but uint8 [{SIDE}, {SIDE}] is "
            "expected; draw the sketch again."
        )
    return image.cpu().contiguous().numpy().tobytes()


def _checked_time(now: datetime) -> str:
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise FeedbackError(
            f"The time is {_short(now)}, but a time with its zone is expected; pass "
            "datetime.now(timezone.utc)."
        )
    return now.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
