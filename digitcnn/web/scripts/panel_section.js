// Starts the panels' scripts when the section is put on the page, and shows one panel at a time.

import { startBreakIt } from "./break_it.js";
import { startNearest } from "./nearest.js";
import { startReplay } from "./replay.js";
import { startStepThrough } from "./step_through.js";
import { startWhatIf } from "./what_if.js";
import { startWhy } from "./why.js";

/** @type {Record<string, (root: HTMLElement) => void>} */
const STARTS = {
  "panel-nearest": startNearest,
  "panel-why": startWhy,
  "panel-what_if": startWhatIf,
  "panel-step-through": startStepThrough,
  "panel-break-it": startBreakIt,
  "panel-replay": startReplay,
};

class PanelsElement extends HTMLElement {
  connectedCallback() {
    if (this.dataset.started) return;
    this.dataset.started = "true";
    startTabs(this);
    for (const root of this.querySelectorAll(".panel")) {
      STARTS[root.id]?.(/** @type {HTMLElement} */ (root));
    }
  }
}

/** @param {HTMLElement} section */
function startTabs(section) {
  const buttons = /** @type {HTMLElement[]} */ ([...section.querySelectorAll(".panel-tab")]);
  for (const chosen of buttons) {
    chosen.addEventListener("click", () => {
      for (const button of buttons) {
        const panel = document.getElementById(button.getAttribute("aria-controls") ?? "");
        button.setAttribute("aria-expanded", String(button === chosen));
        if (panel) panel.hidden = button !== chosen;
      }
      // The panel that has come into sight asks for what it has missed.
      dispatchEvent(new Event("digitcnn-panel"));
    });
  }
}

customElements.define("digitcnn-panels", PanelsElement);
