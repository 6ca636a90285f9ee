// Starts the panels' scripts when the section is put on the page.

import { startBreakIt } from "./break_it.js";
import { startNearest } from "./nearest.js";
import { startReplay } from "./replay.js";
import { startStepThrough } from "./step_through.js";
import { startWhatIf } from "./what_if.js";
import { startWhy } from "./why.js";

/** @type {Record<string, (root: HTMLDetailsElement) => void>} */
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
    for (const root of this.querySelectorAll("details")) STARTS[root.id]?.(root);
  }
}

customElements.define("digitcnn-panels", PanelsElement);
