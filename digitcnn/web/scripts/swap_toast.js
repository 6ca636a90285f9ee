// Says so when the model in use has changed without a choice on this page, as after a training.

import { make } from "./dom.js";

const SHOWN = 8000; // milliseconds

let before = "";

addEventListener("digitcnn-model", (event) => {
  const name = /** @type {CustomEvent} */ (event).detail ?? "";
  const chosenHere = document.activeElement?.closest("#model-select, .adapt") ?? null;
  if (before && name && name !== before && !chosenHere) show(`The model in use is now ${name}.`);
  before = name;
});

/** @param {string} text */
function show(text) {
  const toast = make("div", "swap-toast", text);
  toast.role = "status";
  document.querySelector(".gradio-container")?.append(toast);
  setTimeout(() => toast.remove(), SHOWN);
}
