"""Confusion matrices whose cells are chosen, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from digitcnn.analysis.metrics import Evaluation
from digitcnn.digits.digit_set import CLASSES
from digitcnn.ui.tables import MORE_BESIDE_STYLE

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

_STYLE = """
.matrices { display: flex; flex-wrap: wrap; gap: 20px; }
.matrix { flex: 0 1 auto; max-width: 100%; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem;
  color: var(--body-text-color); }
caption { text-align: left; font-weight: 600; padding-bottom: 4px; }
th { font-weight: 600; padding: 2px 6px; }
td { padding: 0; border: 1px solid var(--border-color-primary); min-width: 38px; height: 28px;
  text-align: center; }
td button { all: unset; box-sizing: border-box; width: 100%; height: 100%; min-height: 28px;
  cursor: pointer; text-align: center; padding: 0 3px; }
td.error { background: color-mix(in srgb, #d55e00 var(--heat), transparent); }
td.right { background: var(--background-fill-secondary); color: var(--body-text-color-subdued); }
td button:hover, td button:focus-visible { outline: 2px solid var(--primary-500);
  outline-offset: -2px; }
td button[aria-pressed="true"] { outline: 2px solid var(--body-text-color); outline-offset: -2px; }
@media (max-width: 640px) { td { min-width: 30px; } }
"""
MATRICES_STYLE = MORE_BESIDE_STYLE + _STYLE


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
