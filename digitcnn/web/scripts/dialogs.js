// Modal dialogs that a function of the app fills each time they are opened, and the model's menu.
// The browser keeps the focus inside a dialog, closes it on Escape, and gives the focus back.

import { find } from "./dom.js";
import { connection, modelName, ownerToken } from "./page_state.js";
import { showAt } from "./popovers.js";

const COPIED = 2000; // milliseconds

/** @param {HTMLDialogElement} dialog */
async function open(dialog) {
  const body = find(dialog, ".dialog-body");
  body.textContent = "Loading…";
  dialog.showModal();
  const address = location.origin + location.pathname;
  const payload = { owner: ownerToken(), model: modelName(), address };
  const reply = await connection.call(dialog.dataset.function ?? "", payload);
  if (reply.error) body.textContent = reply.error;
  else body.innerHTML = reply.html; // a template of the app, which escapes what it shows
}

/**
 * Without https there is no clipboard, except on this machine: this older way works there too. Where
 * it does not, the text is at least selected.
 * @param {HTMLElement} element
 */
function copySelected(element) {
  getSelection()?.selectAllChildren(element);
  return document.execCommand("copy");
}

/** @param {HTMLElement} button */
async function copy(button) {
  const text = button.textContent;
  const address = find(/** @type {HTMLElement} */ (button.parentElement), "a");
  const done = await navigator.clipboard?.writeText(address.textContent ?? "").then(
    () => true,
    () => false,
  );
  button.textContent = done || copySelected(address) ? "Copied" : "Press Ctrl+C to copy";
  setTimeout(() => {
    button.textContent = text;
  }, COPIED);
}

document.addEventListener("click", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const button = /** @type {HTMLElement | null} */ (target.closest?.(".opens, .closes, .copies"));
  if (button?.matches(".opens")) {
    closeMenu(); // first, so that the dialog gives the focus back to a button that is there
    open(/** @type {HTMLDialogElement} */ (document.getElementById(button.dataset.dialog ?? "")));
  } else if (button?.matches(".closes")) button.closest("dialog")?.close();
  else if (button?.matches(".copies")) copy(button);
  // A press beside the dialog hits its own element: all of its inside is covered by others. The
  // second press of a double click is still meant for the button that opened the dialog.
  else if (target.matches?.("dialog.dialog") && event.detail < 2) closeBeside(event, target);
});

/** @param {MouseEvent} event @param {HTMLElement} dialog */
function closeBeside({ clientX, clientY }, dialog) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  if (clientX < left || clientX > right || clientY < top || clientY > bottom) {
    /** @type {HTMLDialogElement} */ (dialog).close();
  }
}

// ---- The model's menu: in the header where there is room, else a popover of the browser's --------

const NARROW = matchMedia("(max-width: 1023px)");
const menu = () => document.getElementById("model-menu");
const menuButton = () => document.getElementById("model-menu-button");

function closeMenu() {
  const list = menu();
  if (list?.matches(":popover-open")) list.hidePopover();
}

function placeMenu() {
  const list = menu();
  if (!list) return;
  if (NARROW.matches) list.setAttribute("popover", "auto");
  else {
    list.removeAttribute("popover");
    list.style.top = list.style.left = ""; // where it was opened
  }
}

NARROW.addEventListener("change", placeMenu);
document.addEventListener("click", (event) => {
  const button = menuButton();
  const list = menu();
  const target = /** @type {Element} */ (event.target);
  if (!button || !list) return;
  if (button.contains(target)) {
    placeMenu();
    if (list.matches(":popover-open")) closeMenu();
    else showAt(list, button);
    button.setAttribute("aria-expanded", String(list.matches(":popover-open")));
  } else if (target.closest("#model-menu button")) closeMenu();
});
document.addEventListener(
  "toggle",
  (event) => {
    if (event.target !== menu()) return;
    menuButton()?.setAttribute("aria-expanded", String(menu()?.matches(":popover-open")));
  },
  true,
);
document.addEventListener("focusout", (event) => {
  const list = menu();
  const to = /** @type {Node | null} */ (event.relatedTarget);
  if (to && !list?.contains(to) && to !== menuButton()) closeMenu();
});

// Gradio's lists open at any key but Escape, also at the Tab that leaves them, and then stay.
document.addEventListener("keydown", (event) => {
  const field = /** @type {Element} */ (event.target);
  if (event.key === "Tab" && field.matches('input[role="combobox"]')) {
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  }
});
