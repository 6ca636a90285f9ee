"""What the Evaluate tab shows: tables, confusion matrices, images with the network's answers.

Everything is made of results that were computed elsewhere, and all texts of numbers come from
``analysis.metrics``, as on the figures and the command line.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image
from torch import Tensor

from digitcnn.analysis.figures.style import confidence_text
from digitcnn.analysis.metrics import (
    Evaluation,
    Gap,
    accuracy_text,
    confusion_csv,
    decimal,
    evaluations_csv,
    gap_text,
    per_digit_csv,
    percent,
)
from digitcnn.digits.digit_set import CLASSES
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui.tables import Cell, Value, csv_link, table

LINKS_STYLE = ".download { margin-right: 1.2em; }"

# Told to the page when somebody chooses a cell, with a click, Enter or the space bar; the arrow
# keys go from cell to cell, so that a matrix is one stop of the tab key.
MATRICES_JS = """
element.addEventListener("click", (event) => {
  const cell = event.target.closest("button[data-true]");
  if (!cell) return;
  for (const other of element.querySelectorAll("button[aria-pressed]"))
    other.removeAttribute("aria-pressed");
  cell.setAttribute("aria-pressed", "true");
  const { digits, predicted } = cell.dataset;
  trigger("click", { digits, true: Number(cell.dataset.true), predicted: Number(predicted) });
});
element.addEventListener("keydown", (event) => {
  const cell = event.target.closest("button[data-true]");
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (!cell || !step[event.key]) return;
  event.preventDefault();
  const [down, right] = step[event.key];
  const matrix = cell.closest("table");
  const at = (r, c) => matrix.querySelector(`button[data-true="${r}"][data-predicted="${c}"]`);
  let [row, column] = [Number(cell.dataset.true) + down, Number(cell.dataset.predicted) + right];
  while (row >= 0 && row < 10 && column >= 0 && column < 10) {
    const next = at(row, column);
    if (next) {
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      return;
    }
    [row, column] = [row + down, column + right];
  }
});
"""

MATRICES_STYLE = """
.matrices { display: flex; flex-wrap: wrap; gap: 20px; }
.matrix { flex: 0 1 auto; max-width: 100%; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem;
  color: var(--body-text-color); }
caption { text-align: left; font-weight: 600; padding-bottom: 4px; }
th { font-weight: 600; padding: 2px 6px; }
td { padding: 0; border: 1px solid var(--border-color-primary); min-width: 30px; height: 28px;
  text-align: center; }
td button { all: unset; box-sizing: border-box; width: 100%; height: 100%; min-height: 28px;
  cursor: pointer; text-align: center; padding: 0 3px; }
td.error { background: color-mix(in srgb, #d55e00 var(--heat), transparent); }
td.right { background: var(--background-fill-secondary); color: var(--body-text-color-subdued); }
td button:hover, td button:focus-visible { outline: 2px solid var(--primary-500);
  outline-offset: -2px; }
td button[aria-pressed="true"] { outline: 2px solid var(--body-text-color); outline-offset: -2px; }
"""

TILES_STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 10px;
  margin: 8px 0; padding: 0; list-style: none; }
.tiles li { border: 1px solid var(--border-color-primary); border-radius: var(--radius-md);
  padding: 8px; font-size: 0.84rem; font-variant-numeric: tabular-nums;
  color: var(--body-text-color); }
.tiles img { width: 84px; height: 84px; image-rendering: pixelated; display: block;
  margin-bottom: 4px; }
.tiles .bars { display: flex; align-items: end; gap: 1px; height: 26px; margin-top: 4px;
  border-bottom: 1px solid var(--border-color-primary); }
.tiles .bars i { flex: 1; background: #3b8fd6; min-height: 1px; }
.tiles .wrong { color: #d55e00; font-weight: 700; }
.tiles .small { color: var(--body-text-color-subdued); }
h4 { margin: 8px 0; color: var(--body-text-color); }
p { color: var(--body-text-color-subdued); margin: 4px 0; }
@media (max-width: 640px) {
  .tiles { grid-template-columns: repeat(auto-fill, minmax(100px, 1fr)); gap: 6px; }
}
"""


def evaluations_table(evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> str:
    """A row per digit set and, at the foot, a row per gap."""
    rows: list[list[Value]] = [
        [
            found.title,
            found.n,
            found.errors,
            Cell(found.accuracy_text, found.accuracy),
            Cell(decimal(found.nll), found.nll),
            Cell(decimal(found.brier), found.brier),
            Cell(percent(found.ece), found.ece),
            Cell(percent(found.macro_f1), found.macro_f1),
        ]
        for found in evaluations
    ]
    footer: list[list[Value]] = [
        [f"{gap.first} minus {gap.second}", "", "", Cell(gap_text(gap), gap.points), "", "", "", ""]
        for gap in gaps
    ]
    headers = ["digit set", "images", "errors", "accuracy (95 % interval)", "NLL", "Brier", "ECE"]
    return table(
        [*headers, "macro-F1"], rows, label="Accuracy and calibration per digit set", footer=footer
    )


def per_digit_table(evaluations: Sequence[Evaluation]) -> str:
    """A row per digit set and digit."""
    rows: list[list[Value]] = [
        [
            found.title,
            row.digit,
            Cell(percent(row.precision), row.precision),
            Cell(percent(row.recall), row.recall),
            Cell(percent(row.f1), row.f1),
            row.support,
        ]
        for found in evaluations
        for row in found.per_digit
    ]
    return table(
        ["digit set", "digit", "precision", "recall", "F1", "support"],
        rows,
        label="Precision, recall and F1 per digit",
    )


def csv_links(evaluations: Sequence[Evaluation], gaps: Sequence[Gap]) -> str:
    """The tables as files."""
    return "<p>" + "".join(
        csv_link(text, f"{name}.csv", f"{shown} (CSV)")
        for text, name, shown in (
            (evaluations_csv(evaluations, gaps), "evaluation", "Table per set"),
            (per_digit_csv(evaluations), "per-digit", "Table per digit"),
            (confusion_csv(evaluations), "confusion", "Confusion matrices"),
        )
    ) + "</p>"  # fmt: skip


def calibration_sentence(checkpoint: Checkpoint) -> str:
    """What the temperature is, and what it does not promise."""
    details = checkpoint.details
    if details.temperature is None:
        return "This file has no temperature: 1. NLL, Brier score and ECE are as the network gives."
    return (
        f"NLL, Brier score and ECE are after the temperature {details.temperature:.2f}, fitted on "
        f"held-out images of {details.digits}; it promises nothing elsewhere."
    )


def matrices(evaluations: Sequence[Evaluation]) -> str:
    """A confusion matrix per set, whose filled cells are buttons."""
    return f'<div class="matrices">{"".join(map(_matrix, evaluations))}</div>'


def _matrix(found: Evaluation) -> str:
    head = "".join(f'<th scope="col">{digit}</th>' for digit in range(CLASSES))
    most = max(
        (count / max(1, sum(row)) for true, row in enumerate(found.confusion)
         for predicted, count in enumerate(row) if true != predicted),
        default=0.0,
    )  # fmt: skip
    first = True
    body = ""
    for true, row in enumerate(found.confusion):
        body += f'<tr><th scope="row">{true}</th>'
        for predicted, count in enumerate(row):
            if not count:
                body += "<td></td>"
                continue
            share = count / sum(row)
            # Even steps of the square root, so that rare confusions are seen beside frequent ones.
            heat = 0 if true == predicted else round(15 + 70 * (share / most) ** 0.5)
            kind = "right" if true == predicted else "error"
            body += (
                f'<td class="{kind}" style="--heat: {heat}%"><button type="button" '
                f'tabindex="{0 if first else -1}" data-digits="{escape(found.digits)}" '
                f'data-true="{true}" data-predicted="{predicted}" '
                f'aria-label="{count} images of {true} answered {predicted}">{count:,}</button>'
                "</td>"
            )
            first = False
        body += "</tr>"
    return (
        f'<div class="matrix"><table><caption>{escape(found.title)}: {found.errors:,} of '
        f"{found.n:,} wrong</caption><thead><tr><th>true \\ answer</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def tiles(
    heading: str,
    images: Tensor,
    labels: Sequence[int],
    probabilities: Tensor,
    places: Sequence[int],
    note: str = "",
) -> str:
    """Images with label, answer, confidence and all ten probabilities.

    images: uint8 [K, 28, 28]. probabilities: [K, 10]. labels, places: one of each per image, the
    latter its place in the digit set.
    """
    shown = "".join(
        _tile(image, label, row.tolist(), place)
        for image, label, row, place in zip(images, labels, probabilities, places, strict=True)
    )
    words = f"<p>{escape(note)}</p>" if note else ""
    return f'<h4>{escape(heading)}</h4>{words}<ol class="tiles">{shown}</ol>'


def _tile(image: Tensor, label: int, probabilities: list[float], place: int) -> str:
    answer = max(range(CLASSES), key=probabilities.__getitem__)
    listed = ", ".join(f"{digit}: {100 * p:.1f} %" for digit, p in enumerate(probabilities))
    bars = "".join(f'<i style="height: {100 * p:.0f}%"></i>' for p in probabilities)
    kind = "wrong" if answer != label else "sure"
    return (
        f'<li><img src="{picture(image)}" alt="image {place}, labelled {label}">'
        f'<span class="{kind}">answer {answer}</span> {confidence_text(probabilities[answer])}<br>'
        f'labelled {label} <span class="small">· image {place}</span>'
        f'<div class="bars" role="img" aria-label="{listed}" title="{listed}">{bars}</div></li>'
    )


def picture(image: Tensor) -> str:
    """A digit as an address of its own, dark on white: uint8 [28, 28] to a data URI."""
    file = io.BytesIO()
    Image.fromarray((255 - image).numpy()).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def told(checkpoint: Checkpoint, evaluations: Sequence[Evaluation]) -> str:
    """The result in a sentence."""
    parts = [f"{accuracy_text(e.accuracy, e.n)} on {e.title}" for e in evaluations]
    return f"{checkpoint.name}: {'; '.join(parts)}."


def status(text: str, share: float | None = None) -> str:
    """A line, and how far the work is, as a fraction."""
    bar = ""
    if share is not None:
        bar = (
            f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" '
            f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}">'
            f'<div style="width: {100 * share:.1f}%"></div></div>'
        )
    line = f'<div class="status-line">{escape(text)}</div>'
    return f'<div class="status" role="status">{line}{bar}</div>'
