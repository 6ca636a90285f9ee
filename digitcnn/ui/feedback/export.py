"""Feedback as files: a digit set that any program reads, and the list as a table."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass

from digitcnn.digits.idx import idx_bytes
from digitcnn.errors import FeedbackError
from digitcnn.feedback import FeedbackFilter, FeedbackStore

README = """\
{n} digits, drawn and labelled by hand in digitcnn: a test set.

test-images-idx3-ubyte: uint8 [{n}, 28, 28], ink high, as the network saw them
test-labels-idx1-ubyte: uint8 [{n}], what the person who drew it said it is

To use it elsewhere: python -m digitcnn data add feedback --name NAME
"""

# Equal content gives equal files.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class File:
    """kind: its media type."""

    name: str
    kind: str
    content: bytes


def digit_set_zip(store: FeedbackStore, wanted: FeedbackFilter) -> File:
    """The sketches that show one of the ten digits, as an IDX pair in a folder ``feedback``.

    Raises FeedbackError where there are none.
    """
    images, labels = store.labelled(wanted)
    if not len(labels):
        raise FeedbackError(
            "There are no digits to export yet; draw one and say what it is, then try again."
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            ("test-images-idx3-ubyte", idx_bytes(images)),
            ("test-labels-idx1-ubyte", idx_bytes(labels)),
            ("README.txt", README.format(n=len(labels)).encode()),
        ):
            archive.writestr(
                zipfile.ZipInfo(f"feedback/{name}", _LONG_AGO), content, zipfile.ZIP_DEFLATED
            )
    return File("feedback-digits.zip", "application/zip", packed.getvalue())


def list_csv(store: FeedbackStore, wanted: FeedbackFilter) -> File:
    """A row per verdict, the newest sketch first; 'no digit' is an empty field, times in UTC."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("id", "visitor", "answer", "true_digit", "right", "confidence", "model", "model_digest",
         "time", "corrected")
    )  # fmt: skip
    for row in store.entries(wanted):
        writer.writerow(
            (
                row.id,
                row.alias,
                row.answer,
                row.true_digit,
                int(row.right),
                row.confidence,
                _harmless(row.model_name),
                row.model_digest,
                row.time.isoformat(),
                row.corrected.isoformat() if row.corrected else "",
            )
        )
    return File("feedback.csv", "text/csv;charset=utf-8", text.getvalue().encode())


def _harmless(text: str) -> str:
    """A text that people chose, which no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text
