// Says so when the model in use has changed without a choice on this page, as after a training.

import { make } from "./dom.js";

const SHOWN = 8000; // milliseconds

addEventListener("digitcnn-swap", (event) => {
  const name = /** @type {CustomEvent} */ (event).detail;
  if (!name) return;
  const toast = make("div", "swap-toast", `The model in use is now ${name}.`);
  toast.role = "status";
  document.querySelector(".gradio-container")?.append(toast);
  setTimeout(() => toast.remove(), SHOWN);
});
