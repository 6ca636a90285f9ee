// Lets a cell of a confusion matrix be chosen by click, Enter or the space bar. The arrow keys move
// from cell to cell, so that each matrix is one stop of the tab key.

const SIDE = 10;
/** @type {Record<string, [number, number]>} */
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** @param {Event} event @returns {HTMLButtonElement | null} */
const cellOf = (event) =>
  /** @type {Element} */ (event.target).closest?.(".matrices button[data-true]") ?? null;

document.addEventListener("click", (event) => {
  const cell = cellOf(event);
  const matrices = cell?.closest(".matrices");
  if (!cell || !matrices) return;
  for (const other of matrices.querySelectorAll("button[aria-pressed]")) {
    other.removeAttribute("aria-pressed");
  }
  cell.setAttribute("aria-pressed", "true");
  const { digits } = cell.dataset;
  const [row, column] = [Number(cell.dataset.true), Number(cell.dataset.predicted)];
  const detail = { digits, true: row, predicted: column };
  cell.dispatchEvent(new CustomEvent("digitcnn-cell", { bubbles: true, detail }));
});

document.addEventListener("keydown", (event) => {
  const cell = cellOf(event);
  const step = STEPS[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  let [row, column] = [
    Number(cell.dataset.true) + step[0],
    Number(cell.dataset.predicted) + step[1],
  ];
  while (row >= 0 && row < SIDE && column >= 0 && column < SIDE) {
    const next = cell
      .closest("table")
      ?.querySelector(`button[data-true="${row}"][data-predicted="${column}"]`);
    if (next instanceof HTMLButtonElement) {
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      return;
    }
    [row, column] = [row + step[0], column + step[1]];
  }
});
