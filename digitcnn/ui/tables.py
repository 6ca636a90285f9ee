"""Tables of the page: plain HTML that a screen reader reads, sorted by clicking the headers.

    with gr.Tab("Mine"):
        view = table_view(elem_id="mine-table")           # an empty place on the page
    ...
    return table(                                          # what a handler gives for ``view``
        ["digit set", "images", "accuracy"],
        [["mnist test", 10_000, Cell("99.59 % (99.44 to 99.70)", 0.9959)]],
        label="Accuracy per digit set",
    )

A cell is a text, a whole number, or a ``Cell``: a text as people read it and the value it is sorted
by. A value of NaN is shown as a dash and comes last whichever way is sorted. A sentence takes
several lines. A table that is wider than the page all the same scrolls by itself, its first column
staying in sight, with a bar below and a shadow at the edge beyond which it goes on.

``csv_link`` offers the same table as a file.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr

# Characters; a longer text is taken for a sentence.
LONGEST_ON_A_LINE = 36


@dataclass(frozen=True)
class Cell:
    """text: as people read it. key: what it is sorted by; None takes the text itself."""

    text: str
    key: float | str | None = None


Value = str | int | Cell

# A click on a header sorts by its column, another one the other way round. The listener is on the
# place, not on the table, so it holds for every table that is put there later.
_SORT_JS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("thead th button");
  if (!button) return;
  const header = button.closest("th");
  const body = header.closest("table").tBodies[0];
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = (row) => row.children[header.cellIndex].dataset.key;
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const numbers = [Number(x), Number(y)];
    const difference = numbers.some(Number.isNaN)
      ? x.localeCompare(y, undefined, { numeric: true })
      : numbers[0] - numbers[1];
    return ascending ? difference : -difference;
  };
  body.append(...[...body.rows].sort(order));
});
"""

# A shadow at the right edge, which the content covers once it is scrolled to its end.
MORE_BESIDE_STYLE = """
.table-scroll, .matrix {
  background: linear-gradient(to left, var(--background-fill-primary) 16px, transparent)
      right / 48px 100% no-repeat local,
    linear-gradient(to left, rgb(128 128 128 / 0.5), transparent) right / 16px 100% no-repeat; }
"""

# Gradio reads it as a template: no backslashes, no doubled braces.
_STYLE = """
.table-scroll { overflow-x: auto; max-width: 100%; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-md); }
.table-scroll::-webkit-scrollbar { height: 10px; }
.table-scroll::-webkit-scrollbar-thumb { background: var(--neutral-400); border-radius: 999px;
  border: 2px solid var(--background-fill-primary); }
.table-scroll:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 1px; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; color: var(--body-text-color); }
caption { text-align: left; padding: 8px 10px; font-weight: 600; }
caption span { position: sticky; left: 10px; display: inline-block;
  max-width: calc(100vw - 108px); }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { background: var(--background-fill-secondary); padding: 0; white-space: normal;
  vertical-align: bottom; }
thead button { all: unset; box-sizing: border-box; width: 100%; padding: 6px 10px; cursor: pointer;
  font-weight: 600; text-align: inherit; }
thead button:focus-visible { outline: 2px solid var(--primary-500); outline-offset: -2px; }
thead button::after { content: "↕"; margin-left: 4px; opacity: 0.45; }
th[aria-sort="ascending"] button::after { content: "↑"; opacity: 1; }
th[aria-sort="descending"] button::after { content: "↓"; opacity: 1; }
tbody tr, tfoot tr { border-top: 1px solid var(--border-color-primary); }
tbody tr:hover { background: var(--background-fill-secondary); }
tfoot { font-style: italic; border-top: 2px solid var(--border-color-primary); }
.text, th:first-child { text-align: left; }
.sentence { white-space: normal; min-width: 12rem; overflow-wrap: anywhere; }
th:first-child { position: sticky; left: 0; background: var(--background-fill-primary); }
thead th:first-child, tbody tr:hover th:first-child {
  background: var(--background-fill-secondary); }
@media (max-width: 640px) {
  th, td, thead button { padding: 5px 7px; }
  tbody th:first-child, tfoot th:first-child { white-space: normal; min-width: 6.5rem; }
}
"""


def table_view(value: str = "", *, elem_id: str, style: str = "") -> gr.HTML:
    """A place on the page for what ``table`` makes, with the sorting.

    style: CSS for what else stands there.
    """
    return gr.HTML(
        value,
        css_template=MORE_BESIDE_STYLE + _STYLE + style,
        js_on_load=_SORT_JS,
        apply_default_css=False,
        elem_id=elem_id,
    )


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Value]],
    *,
    label: str,
    footer: Sequence[Sequence[Value]] = (),
    caption: bool = False,
) -> str:
    """The HTML of a table; texts are escaped.

    headers: one per column; the first column names its row. rows: as many values each, in the
    order shown until somebody sorts. label: what the table is, for screen readers, and, with
    ``caption``, above it for everyone. footer: rows that stay last and are not sorted, such as a
    sum. Raises ValueError for a row of another length than the headers.
    """
    columns = zip(*rows, *footer, strict=True) if rows or footer else ([] for _ in headers)
    numeric = [all(_is_number(value) for value in column if value != "") for column in columns]
    head = "".join(
        f'<th scope="col"{_kind(number)}><button type="button">{escape(header)}</button></th>'
        for header, number in zip(headers, numeric, strict=True)
    )
    body = "".join(_row(row, numeric) for row in rows)
    foot = "".join(_row(row, numeric) for row in footer)
    return (
        f'<div class="table-scroll" role="region" tabindex="0" aria-label="{escape(label)}"><table>'
        + (f"<caption><span>{escape(label)}</span></caption>" if caption else "")
        + f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        + (f"<tfoot>{foot}</tfoot>" if foot else "")
        + "</table></div>"
    )


def csv_link(text: str, file_name: str, shown: str) -> str:
    """A link that saves a CSV text under that name, without a file on the server.

    shown: the link's words. Names and words are escaped; the text travels as base64.
    """
    return data_link(text.encode(), "text/csv;charset=utf-8", file_name, shown)


def data_link(data: bytes, kind: str, file_name: str, shown: str) -> str:
    """A link that saves ``data`` of that media type under that name."""
    encoded = base64.b64encode(data).decode("ascii")
    return (
        f'<a class="download" download="{escape(file_name)}" '
        f'href="data:{escape(kind)};base64,{encoded}">{escape(shown)}</a>'
    )


def _row(values: Sequence[Value], numeric: Sequence[bool]) -> str:
    first, *rest = (
        _cell(value, number, "td" if place else "th")
        for place, (value, number) in enumerate(zip(values, numeric, strict=True))
    )
    return f"<tr>{first}{''.join(rest)}</tr>"


def _cell(value: Value, numeric: bool, tag: str) -> str:
    text, key = _shown(value)
    scope = ' scope="row"' if tag == "th" else ""
    kind = _kind(numeric, len(text))
    return f'<{tag}{scope}{kind} data-key="{escape(key)}">{escape(text)}</{tag}>'


def _shown(value: Value) -> tuple[str, str]:
    """Text and sorting key of a value; the key is empty for what is undefined."""
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


def _kind(numeric: bool, length: int = 0) -> str:
    if numeric:
        return ""
    return ' class="text sentence"' if length > LONGEST_ON_A_LINE else ' class="text"'
