// Reads out to screen readers how a training, an experiment or a fine-tuning goes. Each status is
// rendered again every second, too often to be a live region itself: what is to be said comes with
// it in <digitcnn-spoken data-text data-running>, and goes into one region that stays.

import { make } from "./dom.js";

const BETWEEN = 10_000; // milliseconds at least, between two announcements of progress

const region = make("p", "unseen");
region.id = "announcements";
region.role = "status";
/** @type {Map<string, { text: string, running: boolean }>} what each status had to say last */
const last = new Map();
let spokenAt = -BETWEEN;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @param {string} text @param {number} delay what is still waiting gives way to it */
function say(text, delay) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    region.textContent = text;
    spokenAt = performance.now();
  }, delay);
}

class SpokenElement extends HTMLElement {
  static observedAttributes = ["data-text"]; // Gradio changes the element in place, or puts another

  attributeChangedCallback() {
    if (this.isConnected) this.connectedCallback();
  }

  connectedCallback() {
    if (!region.isConnected) document.body.append(region);
    const status = this.parentElement?.closest("[id]");
    const text = this.dataset.text ?? "";
    const running = this.dataset.running === "true";
    const before = last.get(status?.id ?? "");
    last.set(status?.id ?? "", { text, running });
    // What the page shows when it is opened is no news.
    if (!before || !text || before.text === text) return;
    if (!running || !before.running) say(text, 0);
    else if (status?.checkVisibility()) say(text, spokenAt + BETWEEN - performance.now());
  }
}

customElements.define("digitcnn-spoken", SpokenElement);
