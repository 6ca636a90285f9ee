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

  attributeChangedCallback() {
    this.#restore();
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

/** @type {HTMLElement | null} the run whose menu or dialog is open */
let current = null;

/** @param {HTMLElement} button */
function openMenu(button) {
  current = runOf(button);
  const menu = document.getElementById("run-menu");
  if (!menu || !current) return;
  const { model, resumable } = current.dataset;
  find(menu, '[data-action="resume"]').hidden = resumable !== "true";
  find(menu, '[data-action="model"]').hidden = !model;
  showAt(menu, button);
  button.setAttribute("aria-expanded", "true");
  /** @type {HTMLElement} */ (menu.querySelector("button:not([hidden])")).focus();
  const close = () => button.setAttribute("aria-expanded", "false");
  menu.addEventListener("beforetoggle", close, { once: true });
}

/** @param {string} action */
async function choose(action) {
  const { run = "", checkpoint } = current?.dataset ?? {};
  const place = document.getElementById("run-problem");
  document.getElementById("run-menu")?.hidePopover();
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
  dialog.dataset.run = current?.dataset.run;
  dialog.showModal();
  return dialog;
}

document.addEventListener("input", async (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  const place = document.getElementById("run-rename-safe");
  if (field.id !== "runs-new-name" || !place) return;
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
  if (runOf(button)) openMenu(button);
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
