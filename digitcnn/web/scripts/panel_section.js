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
  const tabs = /** @type {HTMLElement[]} */ ([...section.querySelectorAll("[role=tab]")]);

  /** @param {HTMLElement} chosen */
  const choose = (chosen) => {
    for (const tab of tabs) {
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      tab.setAttribute("aria-selected", String(tab === chosen));
      if (panel) panel.hidden = tab !== chosen;
    }
    // The panel that has come into sight asks for what it has missed.
    dispatchEvent(new Event("digitcnn-panel"));
  };

  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
}

customElements.define("digitcnn-panels", PanelsElement);
