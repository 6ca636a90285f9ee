"""Read a person's digits from a CSV table, gzipped or not."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from digitcnn.digits.idx import open_unpacked
from digitcnn.digits.own_values import LABEL_NAMES, Bytes, square_side, to_labels, to_pixels
from digitcnn.errors import DigitSetError

# The text of 60,000 images of 784 values is at most 190 MB.
MAX_CSV_BYTES = 1 << 30

_INDEX_NAMES = {"", "unnamed: 0", "id", "index", "imageid"}


def read_csv(path: Path) -> tuple[Bytes, Bytes]:
    """Read a table with a row per image: a label and the pixels, row after row of the image.

    With a header, the label's column may be anywhere; without one it is the first. Raises
    DigitSetError.
    """
    lines = [line for line in _csv_text(path).splitlines() if line.strip()]
    first = lines[0] if lines else ""
    mark = max(",;\t ", key=first.count)
    header = [word.strip(" \"'\r\n").lower() for word in first.split(mark)]
    # Names such as label and 1x1, or pandas' numbers of the columns.
    numbered = header == [str(place) for place in range(len(header))]
    named = not all(_is_number(word) for word in header)
    if len(lines) <= (named or numbered):
        raise DigitSetError(f"{path} has no rows of numbers; save a row per image: label, pixels.")
    try:
        table = np.loadtxt(
            lines,
            np.float32,
            comments=None,
            delimiter=None if mark == " " else mark,
            skiprows=int(named or numbered),
            quotechar='"',
            ndmin=2,
        )
    except (ValueError, OverflowError) as error:
        # NumPy's advice after the semicolon is about its own arguments.
        reason = " ".join(str(error).partition(";")[0].split())[:120].rstrip(".")
        raise DigitSetError(
            f"{path} is not a table of numbers ({reason}); save a row per image: label, pixels."
        ) from error
    labels = [place for place, word in enumerate(header) if named and word in LABEL_NAMES]
    dropped = [place for place, word in enumerate(header) if named and word in _INDEX_NAMES]
    pixels = table.shape[1] - len(dropped)
    if not labels and not named and square_side(pixels) is None:
        labels = [0]
    if len(labels) != 1:
        raise DigitSetError(
            f"{path} has {pixels} columns of pixels but no column of labels, as Kaggle's test.csv; "
            "add a file with labels, such as its train.csv."
            if not labels
            else f"{path} has several columns of labels; keep one, called label."
        )
    images = np.delete(table, [*labels, *dropped], axis=1)
    digits = to_labels(table[:, labels[0]], f"The label column of {path}")
    return to_pixels(images, str(path), len(digits)), digits


def _csv_text(path: Path) -> str:
    try:
        with open_unpacked(path) as file:
            content = file.read(MAX_CSV_BYTES + 1)
        if len(content) > MAX_CSV_BYTES:
            raise DigitSetError(
                f"{path} has more than {MAX_CSV_BYTES >> 20:,} MiB of text; save it in parts, or "
                "as an .npz."
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DigitSetError(f"{path} is not a text file in UTF-8; save it again as CSV.") from error
    except (EOFError, zlib.error, OSError) as error:
        raise DigitSetError(f"{path} cannot be read ({error}); save it again.") from error


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
