"""Tables of the page: plain HTML that a screen reader reads, sorted by clicking the headers.

    with gr.Tab("Mine"):
        view = table_view(elem_id="mine-table")           # an empty place on the page
    ...
    return table(                                          # what a handler returns for ``view``
        ["Digit set", "Images", "Accuracy"],
        [["mnist test", 10_000, Cell("99.59% (99.44 to 99.70)", 0.9959)]],
        label="Accuracy per digit set",
    )

A cell is a text, a whole number, or a ``Cell``: a text and the value it is sorted by. NaN is shown
as a dash and sorted last in either order. Long texts wrap. A table wider than the page scrolls by
itself, with its first column fixed and a shadow at the edge where it continues. Columns for experts
are folded, and a header that is one of ``web.terms`` explains itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from digitcnn.files import csv_text
from digitcnn.intervals import accuracy_text, percent
from digitcnn.ui.parts import base64_of, html_view
from digitcnn.web.templates import render
from digitcnn.web.terms import meaning

# In characters; a longer text wraps like a sentence.
LONGEST_ON_A_LINE = 36


@dataclass(frozen=True)
class Cell:
    """A text or HTML, and the value it is sorted by; None sorts by the text itself."""

    text: str
    key: float | str | None = None


Value = str | int | Cell


def two_lines(first: str, second: str, key: float | str) -> Cell:
    """Return a cell of two lines, for a table of many columns."""
    return Cell(Markup("{} <br>{}").format(first, second), key)


def interval_cell(text: str, key: float) -> Cell:
    """Return a cell with its interval, ``99.59% (99.44 to 99.70)``, below the number."""
    number, bracket, interval = text.partition("(")
    return two_lines(number.rstrip(), bracket + interval, key)


def share_cell(share: float) -> Cell:
    """Return a share from 0 to 1 as a cell in per cent."""
    return Cell(percent(share), share)


def accuracy_cell(accuracy: float, n: int) -> Cell:
    """Return an accuracy on ``n`` images as a cell, with its interval."""
    return Cell(accuracy_text(accuracy, n), accuracy)


DASH = Cell("–", math.nan)


def table_view(elem_id: str, *styles: str) -> gr.HTML:
    """Build a component for the result of ``table``. styles: sheets for other content of it."""
    return html_view(elem_id, "scroll_shadow.css", "tables.css", *styles)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Value]],
    *,
    label: str,
    footer: Sequence[Sequence[Value]] = (),
    caption: bool = False,
    advanced: Sequence[str] = (),
    file_name: str = "",
) -> Markup:
    """Render a table.

    headers: one per column; the first column names its row. rows: as many values each, in the
    order shown until someone sorts. label: what the table is, for screen readers and, with
    ``caption``, above it for everyone. footer: rows that stay last, such as a sum. advanced:
    headers of columns that are folded until they are requested. file_name: of a CSV file of
    the table that is offered below it; empty offers none.
    Raises ValueError for a row whose length differs from the headers'.
    """
    columns = zip(*rows, *footer, strict=True) if rows or footer else ([] for _ in headers)
    numeric = [all(_is_number(value) for value in column if value != "") for column in columns]
    kinds = [(number, head in advanced) for number, head in zip(numeric, headers, strict=True)]
    return render(
        "table.html",
        label=label,
        caption=caption,
        headers=[
            {"text": header, "css": css, "about": meaning(header)}
            for header, css in zip(headers, (_css(*kind) for kind in kinds), strict=True)
        ],
        rows=[_row(row, kinds) for row in rows],
        footer=[_row(row, kinds) for row in footer],
        folded=bool(advanced),
        csv=csv_link(_csv(headers, [*rows, *footer]), file_name, "CSV") if file_name else "",
    )


def _csv(headers: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """Return a table as CSV. Of HTML and of finite numbers, it has the sort keys: all digits."""

    def field(value: Value) -> str:
        text, key = _text_and_key(value)
        use_key = isinstance(text, Markup) or (_is_number(value) and key != "inf")
        return key if use_key else text

    return csv_text(headers, (map(field, row) for row in rows))


def csv_link(content: str, file_name: str, text: str) -> Markup:
    """Render a link that saves a CSV file under that name, without a file on the server."""
    return data_link(content.encode(), "text/csv;charset=utf-8", file_name, text)


def data_link(data: bytes, media_type: str, file_name: str, text: str) -> Markup:
    """Render a link that saves ``data`` under that name."""
    return render(
        "download.html", file_name=file_name, media_type=media_type, data=base64_of(data), text=text
    )


def _row(values: Sequence[Value], kinds: Sequence[tuple[bool, bool]]) -> list[dict[str, object]]:
    cells: list[dict[str, object]] = []
    for value, kind in zip(values, kinds, strict=True):
        text, key = _text_and_key(value)
        length = len(text.striptags() if isinstance(text, Markup) else text)
        cells.append({"text": text, "key": key, "css": _css(*kind, length)})
    return cells


def _text_and_key(value: Value) -> tuple[str, str]:
    """Return text and sorting key; the key of what is undefined is empty."""
    if isinstance(value, Cell):
        if isinstance(value.key, float) and math.isnan(value.key):
            return "–", ""
        return value.text, value.text if value.key is None else str(value.key)
    if isinstance(value, str):
        return value, value
    return f"{value:,}", str(value)


def _is_number(value: Value) -> bool:
    return isinstance(value, int) or (
        isinstance(value, Cell) and isinstance(value.key, (int, float))
    )


def _css(numeric: bool, advanced: bool, length: int = 0) -> dict[str, str]:
    classes = ["text"] * (not numeric)
    classes += ["sentence"] * (not numeric and length > LONGEST_ON_A_LINE)
    classes += ["advanced"] * advanced
    return {"class": " ".join(classes)} if classes else {}
