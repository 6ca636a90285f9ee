// Moves an error from its toast to the field that it concerns. The app marks such an error:
// <span class="field-problem epochs">, for the field `train-epochs` of the tab that is open. Train's
// estimate brings such a mark, too.

import { make } from "./dom.js";

const PROBLEM = ".field-problem";
const ESTIMATE = "#train-estimate .md";
const CHECKED = '[id^="train-"]:has(> .field-error)';
const FIELDS = "input, textarea, select";

/** @param {HTMLElement} problem @returns {HTMLElement | null} its field's block */
function place(problem) {
  const tab = document.querySelector('.lab-tabs [role="tab"][aria-selected="true"]');
  const name = tab?.textContent?.trim().toLowerCase();
  const field = problem.classList[1];
  const block = document.getElementById(`${name}-${field}`) ?? document.getElementById(field);
  if (!block) return null;
  clear(block);
  const line = make("p", "field-error", problem.textContent ?? "");
  line.id = `${block.id}-problem`;
  line.role = "alert";
  block.append(line);
  withdraw(problem);
  for (const each of block.querySelectorAll(FIELDS)) {
    each.setAttribute("aria-invalid", "true");
    each.setAttribute("aria-describedby", line.id);
  }
  // Not "change": leaving a field sends it, and what is wrong with the field stays so.
  block.addEventListener("input", () => clear(block), { once: true });
  return block;
}

/** Brings the first of the fields with a problem into sight. @param {(HTMLElement | null)[]} blocks */
function leadTo(blocks) {
  const block = blocks.find((each) => each);
  if (!block || blocks.some((each) => each?.contains(document.activeElement))) return;
  block.scrollIntoView({ block: "center" });
  // Whoever pressed a button is led to the field; whoever types in another one goes on.
  if (document.activeElement?.closest("button")) focusOn(block.querySelectorAll(FIELDS));
}

/** Removes what was wrong with a field. @param {Element} block */
function clear(block) {
  block.querySelector(":scope > .field-error")?.remove();
  for (const each of block.querySelectorAll("[aria-invalid]")) {
    each.removeAttribute("aria-invalid");
    each.removeAttribute("aria-describedby");
  }
}

/** Shortens Gradio's "range slider for Epochs" to "Epochs". @param {HTMLElement} node */
function nameSliders(node) {
  for (const each of node.querySelectorAll(
    '[aria-label^="range slider for "], [aria-label^="number input for "]',
  )) {
    each.ariaLabel = each.ariaLabel?.replace(/^.* for /, "") ?? null;
  }
}

/** Focuses the number rather than the slider beside it. @param {NodeListOf<Element>} fields */
function focusOn(fields) {
  const all = /** @type {HTMLInputElement[]} */ ([...fields]);
  const field = all.find((each) => each.type !== "range") ?? all[0];
  field?.focus({ preventScroll: true });
}

/** Hides a message in its toast, and closes the toast with its last one. @param {HTMLElement} problem */
function withdraw(problem) {
  const message = /** @type {HTMLElement | null} */ (problem.closest(".toast-message-item"));
  const toast = /** @type {HTMLElement | null} */ (problem.closest(".toast-body"));
  problem.textContent = "";
  if (message) message.hidden = true;
  if (!toast || toast.querySelector(".toast-message-item:not([hidden])")) return;
  toast.hidden = true;
  // Else Gradio adds the next message to this toast, which nobody would see.
  /** @type {HTMLElement | null} */ (toast.querySelector(".toast-close"))?.click();
}

new MutationObserver((mutations) => {
  for (const { addedNodes } of mutations) {
    for (const node of addedNodes) {
      if (!(node instanceof HTMLElement)) continue;
      // A new estimate is of settings that were all checked again.
      if (node.closest(ESTIMATE)) document.querySelectorAll(CHECKED).forEach(clear);
      const problems = node.matches(PROBLEM) ? [node] : node.querySelectorAll(PROBLEM);
      leadTo(Array.from(/** @type {Iterable<HTMLElement>} */ (problems), place));
      // Gradio heads it "Error" whatever title it is given; most of them refuse what was asked.
      const title = node.querySelector(".toast-title.error")?.firstChild;
      if (title) title.textContent = "Not done";
      nameSliders(node);
      // Gradio's toast is a button with another one inside, which screen readers cannot reach.
      const header = node.querySelector(".toast-header");
      for (const name of ["role", "tabindex"]) header?.removeAttribute(name);
    }
  }
}).observe(document.documentElement, { childList: true, subtree: true });
