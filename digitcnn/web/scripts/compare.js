// The Compare tab: names for the buttons of the choice of models, and "one sketch, every model",
// which calls the app and fills the table.

import { bytesOf, drawGrey, find, make } from "./dom.js";
import { isBlank, wholeSketch } from "./pad.js";
import { connection, onConnection } from "./page_state.js";

class CompareElement extends HTMLElement {
  connectedCallback() {
    if (this.dataset.started) return;
    this.dataset.started = "true";
    const notice = find(this, ".notice");
    const result = find(this, ".result");
    addEventListener("digitcnn-compare", async (event) => {
      const models = /** @type {CustomEvent} */ (event).detail;
      if (isBlank()) {
        result.replaceChildren();
        notice.textContent = "The pad is empty; draw a digit on the Sketchpad tab first.";
        return;
      }
      const reply = await connection.call("compare_answers", { ...wholeSketch(), models });
      notice.textContent = reply.error ?? "";
      if (!reply.error) result.replaceChildren(...tableOf(reply));
    });
    onConnection((text) => {
      notice.textContent = text;
    });
  }
}

/** @param {import("./calls.js").Reply} reply */
function tableOf({ seen, heads, rows }) {
  const images = make("div", "seen");
  for (const pixels of seen) {
    const image = make("canvas");
    [image.width, image.height] = [28, 28];
    image.role = "img";
    image.ariaLabel = "The sketch as the models see it";
    drawGrey(image, bytesOf(pixels));
    images.append(image);
  }
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const text of heads) {
    const cell = make("th", "", text);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const [name, ...values] of rows) {
    const row = body.insertRow();
    const cell = make("th", "", name);
    cell.scope = "row";
    row.append(cell, ...values.map((/** @type {string} */ value) => make("td", "", value)));
  }
  return [images, table];
}

/** Names the buttons that take a model out: Gradio names them by the place in its list. */
function nameRemoveButtons() {
  for (const token of document.querySelectorAll("#compare-models .token")) {
    const name = token.querySelector("span")?.textContent?.split(" · ")[0].trim();
    const button = token.querySelector("[title]");
    const text = `Remove ${name} from the comparison`;
    if (!button || button.getAttribute("title") === text) continue;
    button.setAttribute("title", text);
    button.ariaLabel = text;
  }
}
new MutationObserver(nameRemoveButtons).observe(document.documentElement, {
  childList: true,
  subtree: true,
  characterData: true,
});

customElements.define("digitcnn-compare", CompareElement);
