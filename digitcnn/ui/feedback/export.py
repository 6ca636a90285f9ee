"""Feedback as files: a digit set that any program can read, and the list as a table."""

from __future__ import annotations

import io
import zipfile

from digitcnn.digits.idx import idx_bytes
from digitcnn.errors import FeedbackError
from digitcnn.feedback.entry import FeedbackFilter
from digitcnn.feedback.store import FeedbackStore
from digitcnn.files import csv_text
from digitcnn.ui.calls import Payload, file_reply

README = """\
{n} digits, drawn and labelled by people in digitcnn: a test set.

test-images-idx3-ubyte: uint8 [{n}, 28, 28], ink high, as the model saw them
test-labels-idx1-ubyte: uint8 [{n}], its author's label

To use it elsewhere: python -m digitcnn data add feedback --name NAME
"""

# The time of every member, so that equal content gives equal files.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def digit_set_zip(store: FeedbackStore, which: FeedbackFilter) -> Payload:
    """Return the sketches that show a digit, as an IDX pair in a folder ``feedback``.

    Raises FeedbackError where there are none.
    """
    images, labels, _ = store.labelled(which)
    if not len(labels):
        raise FeedbackError(
            "There are no digits to export yet; draw and label one, then try again."
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            ("test-images-idx3-ubyte", idx_bytes(images)),
            ("test-labels-idx1-ubyte", idx_bytes(labels)),
            ("README.txt", README.format(n=len(labels)).encode()),
        ):
            archive.writestr(
                zipfile.ZipInfo(f"feedback/{name}", _NO_TIME), content, zipfile.ZIP_DEFLATED
            )
    return file_reply("feedback-digits.zip", "application/zip", packed.getvalue())


def list_csv(store: FeedbackStore, which: FeedbackFilter) -> Payload:
    """Return a row per entry, the newest first; 'not a digit' is an empty field, times in UTC."""
    header = (
        "id", "visitor", "answer", "true_digit", "right", "confidence", "model", "model_digest",
        "time", "corrected",
    )  # fmt: skip
    rows = (
        (
            entry.id,
            entry.alias,
            entry.answer,
            entry.true_digit,
            int(entry.right),
            entry.confidence,
            _as_text(entry.model_name),
            entry.model_digest,
            entry.time.isoformat(),
            entry.corrected.isoformat() if entry.corrected else "",
        )
        for entry in store.entries(which)
    )
    return file_reply("feedback.csv", "text/csv;charset=utf-8", csv_text(header, rows).encode())


def _as_text(name: str) -> str:
    """Return a name that no spreadsheet reads as a formula."""
    return f"'{name}" if name[:1] in "=+-@" else name
