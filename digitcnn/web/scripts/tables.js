// Sorts a table by the column whose header is clicked; a second click reverses the order. Keeps what
// has the keyboard focus beside the fixed first column, which browsers let it disappear under.

/** @param {string} a @param {string} b Numbers or texts; an empty one is undefined, so equal. */
function compare(a, b) {
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference;
}

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const header = target.closest(".table-scroll thead th button")?.closest("th");
  const body = header?.closest("table")?.tBodies[0];
  if (!header || !body) return;
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentElement?.children ?? []) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  /** @param {HTMLTableRowElement} row */
  const key = (row) => row.cells[header.cellIndex].dataset.key ?? "";
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return Number(x === "") - Number(y === "");
    return ascending ? compare(x, y) : compare(y, x);
  });
  body.append(...rows);
});

document.addEventListener("focusin", (event) => {
  const target = /** @type {Element} */ (event.target);
  const cell = target.closest(".table-scroll :is(th, td)");
  const first = cell?.parentElement?.firstElementChild;
  if (!cell || !first || cell === first) return;
  const hidden = first.getBoundingClientRect().right - cell.getBoundingClientRect().left;
  if (hidden > 0) cell.closest(".table-scroll")?.scrollBy(-hidden, 0);
});
