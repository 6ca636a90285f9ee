// The table of runs: a menu for each, its dialogs, and the choice of models to compare.

import { find, saveFile } from "./dom.js";
import { openPage } from "./open_page.js";
import { openTab } from "./open_tab.js";
import { connection, ownerToken } from "./page_state.js";
import { showAt } from "./popovers.js";

const MOST = 8; // models in one comparison

/** @type {Set<string>} names of the ticked runs, since a new table comes unticked */
const ticked = new Set();

class RunElement extends HTMLElement {
  static observedAttributes = ["data-run"];

  connectedCallback() {
    this.#restore();
  }

  disconnectedCallback() {
    queueMicrotask(keepFocus);
  }

  attributeChangedCallback() {
    this.#restore();
    queueMicrotask(keepFocus); // once the whole table is written
  }

  #restore() {
    const box = this.querySelector("input");
    if (box) box.checked = ticked.has(this.dataset.run ?? "");
    offerComparison();
  }
}

const tools = () => document.querySelector("#runs-tools .run-tools");
const boxes = () =>
  /** @type {HTMLInputElement[]} */ ([
    ...document.querySelectorAll("digitcnn-run input:checked:enabled"),
  ]);
/** @param {Element | null} element */
const runOf = (element) => /** @type {HTMLElement | null} */ (element?.closest("digitcnn-run"));

/** @param {string} run @returns {HTMLElement | null} */
const rowOf = (run) => document.querySelector(`digitcnn-run[data-run="${CSS.escape(run)}"]`);

function offerComparison() {
  const button = /** @type {HTMLButtonElement | null} */ (document.getElementById("runs-compare"));
  if (!button) return;
  const count = boxes().length;
  button.disabled = count < 2 || count > MOST;
  button.textContent = count > 1 ? `Compare ${count} models` : "Compare";
}

/** @param {string[]} models */
function compare(models) {
  openTab("Compare");
  report("digitcnn-compare-runs", { models });
}

/** Hands something to the app's handlers. @param {string} name @param {object} detail */
function report(name, detail) {
  tools()?.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
}

/**
 * Asks the app to do something with a run. A problem is written to `place`.
 * @param {object} payload
 * @param {Element | null | undefined} place
 */
async function ask(payload, place) {
  if (place) place.textContent = "";
  const reply = await connection.call("manage_run", { owner: ownerToken(), ...payload });
  if (reply.error && place) place.textContent = reply.error;
  if (reply.error) return null;
  document.getElementById("page-refresh")?.click(); // refreshes the table
  return reply;
}

// ---- The menu ------------------------------------------------------------------------------------

/** @type {DOMStringMap} the run whose menu or dialog is open; its row may become another run's */
let current = {};

const menu = () => document.getElementById("run-menu");
const items = () =>
  [...(menu()?.querySelectorAll("button") ?? [])].filter((item) => item.checkVisibility());

/** @param {HTMLElement} button */
function openMenu(button) {
  const list = menu();
  if (!list) return;
  current = { ...runOf(button)?.dataset };
  find(list, '[data-action="resume"]').hidden = current.resumable !== "true";
  find(list, '[data-action="model"]').hidden = !current.model;
  button.focus(); // which not every browser does at a click
  showAt(list, button);
  button.setAttribute("aria-expanded", "true");
  items()[0].focus();
  const close = () => button.setAttribute("aria-expanded", "false");
  list.addEventListener("beforetoggle", close, { once: true });
}

function closeMenu() {
  const list = menu();
  if (list?.matches(":popover-open")) list.hidePopover();
}

document.addEventListener("focusout", (event) => {
  const [from, to] = /** @type {(Node | null)[]} */ ([event.target, event.relatedTarget]);
  if (to && menu()?.contains(from) && !menu()?.contains(to)) closeMenu();
});

document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = items();
  const at = list.indexOf(/** @type {HTMLButtonElement} */ (event.target));
  if (!step || at < 0) return;
  event.preventDefault();
  list.at((at + step) % list.length)?.focus();
});

// ---- The focus: Gradio writes a new table into the rows of the old one, by their position --------

/** @type {{ run: string, control: HTMLElement } | null} where the focus, or the open menu, is */
let focused = null;

document.addEventListener("focusin", (event) => {
  const control = /** @type {HTMLElement} */ (event.target);
  const run = runOf(control)?.dataset.run;
  if (run) focused = { run, control };
  else if (!menu()?.contains(control)) focused = null;
});

function keepFocus() {
  if (!focused) return;
  const { run, control } = focused;
  if (control.isConnected && runOf(control)?.dataset.run === run) return;
  closeMenu();
  const active = document.activeElement;
  if (active === control || active === document.body) focusRun(run, control.localName);
}

/** Gives a run the focus, or the table where the run is gone. @param {string} run @param {string} kind */
function focusRun(run, kind) {
  const row = rowOf(run);
  const control = row?.querySelector(`${kind}:enabled`) ?? row?.querySelector("button");
  const target = control ?? document.querySelector("#runs-table .table-scroll");
  /** @type {HTMLElement | null} */ (target)?.focus({ preventScroll: true });
}

document.addEventListener(
  "close",
  (event) => {
    const dialog = /** @type {HTMLElement} */ (event.target);
    if (dialog.matches("#run-rename, #run-delete")) focusRun(dialog.dataset.run ?? "", "button");
  },
  true,
);

/** @param {string} action */
async function choose(action) {
  const { run = "", checkpoint } = current;
  const place = document.getElementById("run-problem");
  closeMenu();
  if (action === "rename") {
    const dialog = openDialog("run-rename");
    const field = find(dialog, "input");
    field.value = run;
    field.select();
    find(dialog, "#run-rename-safe").textContent = "\u00a0"; // its line is kept free
  } else if (action === "delete") {
    const dialog = openDialog("run-delete");
    find(dialog, ".question").textContent = `Permanently delete run ${run} and all its files?`;
    find(dialog, "label").hidden = !checkpoint;
    find(dialog, "input").checked = false;
    const model = `Also delete its model, ${checkpoint}; otherwise it stays in the list of models`;
    find(dialog, "label span").textContent = model;
  } else if (action === "repeat") report("digitcnn-repeat", { run });
  else {
    const reply = await ask({ run, action }, place);
    if (reply?.content && action === "report") openPage(reply);
    else if (reply?.content) saveFile(reply);
    else if (reply) document.getElementById("train-status")?.scrollIntoView({ block: "nearest" });
  }
}

/** @param {string} id @returns {HTMLDialogElement} */
function openDialog(id) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById(id));
  find(dialog, ".field-error").textContent = "";
  dialog.dataset.run = current.run;
  dialog.showModal();
  return dialog;
}

document.addEventListener("input", async (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  const place = document.getElementById("run-rename-safe");
  if (field.id !== "runs-new-name" || !place) return;
  const error = field.closest("dialog")?.querySelector(".field-error");
  if (error) error.textContent = ""; // it was about the previous name
  const name = field.value;
  const { run } = await connection.call("manage_run", { action: "safe-name", name });
  if (field.value !== name) return; // a later reply is on its way
  place.textContent = run && run !== name ? `It will be called ${run}.` : "\u00a0";
});

document.addEventListener("submit", async (event) => {
  const dialog = /** @type {Element} */ (event.target).closest("#run-rename, #run-delete");
  if (!(dialog instanceof HTMLDialogElement)) return;
  event.preventDefault();
  const action = dialog.id.replace("run-", "");
  const field = find(dialog, "input");
  const chosen = action === "rename" ? { name: field.value } : { with_model: field.checked };
  const done = await ask(
    { run: dialog.dataset.run, action, ...chosen },
    dialog.querySelector(".field-error"),
  );
  if (done && action === "rename") {
    const row = rowOf(dialog.dataset.run ?? "");
    if (row) row.dataset.run = done.run;
    dialog.dataset.run = done.run;
  }
  if (done) dialog.close();
  else field.focus();
  // The name is a folder's, which may not be what was typed.
  const renamed = document.getElementById("run-renamed");
  if (done && renamed) renamed.textContent = action === "rename" ? `Renamed to ${done.run}.` : "";
});

document.addEventListener("click", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const button = target.closest?.("button");
  if (!button) return;
  const { action, compareModels } = button.dataset;
  if (runOf(button)) button.ariaExpanded === "true" ? closeMenu() : openMenu(button);
  else if (button.closest("#run-menu") && action) choose(action);
  else if (compareModels) compare(compareModels.split(" "));
  else if (button.id === "runs-compare") {
    compare(boxes().map((box) => runOf(box)?.dataset.model ?? ""));
  }
});

document.addEventListener("change", (event) => {
  const box = /** @type {HTMLInputElement} */ (event.target);
  const run = runOf(box)?.dataset.run;
  if (!run) return;
  if (box.checked) ticked.add(run);
  else ticked.delete(run);
  offerComparison();
});

customElements.define("digitcnn-run", RunElement);
