// Puts an error beside the field that it concerns. The app marks such an error in its toast:
// <span class="field-problem epochs">, for the field `train-epochs` of the tab that is open.

import { make } from "./dom.js";

const PROBLEM = ".field-problem";
const FIELDS = "input, textarea, select";

/** @param {HTMLElement} problem */
function place(problem) {
  const tab = document.querySelector('.lab-tabs [role="tab"][aria-selected="true"]');
  const name = tab?.textContent?.trim().toLowerCase();
  const field = problem.classList[1];
  const block = document.getElementById(`${name}-${field}`) ?? document.getElementById(field);
  if (!block) return;
  block.querySelector(":scope > .field-error")?.remove();
  const line = make("p", "field-error", problem.textContent ?? "");
  line.id = `${block.id}-problem`;
  block.append(line);
  const fields = block.querySelectorAll(FIELDS);
  for (const field of fields) {
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", line.id);
  }
  const clear = () => {
    line.remove();
    for (const field of fields) {
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
  };
  for (const event of ["input", "change"]) block.addEventListener(event, clear, { once: true });
}

new MutationObserver((mutations) => {
  for (const { addedNodes } of mutations) {
    for (const node of addedNodes) {
      if (!(node instanceof HTMLElement)) continue;
      const problem = node.matches(PROBLEM) ? node : node.querySelector(PROBLEM);
      if (problem instanceof HTMLElement) place(problem);
      // Gradio's toast is a button with another one inside, which screen readers cannot reach.
      const header = node.querySelector(".toast-header");
      for (const name of ["role", "tabindex"]) header?.removeAttribute(name);
    }
  }
}).observe(document.documentElement, { childList: true, subtree: true });
