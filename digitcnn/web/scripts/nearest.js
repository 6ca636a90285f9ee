// The panel with the nearest training images: nine, with labels and distances.

import { bytesOf, drawGrey, find, make } from "./dom.js";
import { connection } from "./page_state.js";
import { registerPanel } from "./panels.js";

/** @param {HTMLElement} root */
export function startNearest(root) {
  const agreement = find(root, ".agree");
  const slots = Array.from({ length: 9 }, () => {
    const item = make("li");
    const canvas = make("canvas");
    const [label, distance] = [make("span", "label", "–"), make("span", "distance", "–")];
    [canvas.width, canvas.height] = [28, 28];
    item.append(canvas, label, distance);
    find(root, ".neighbours").append(item);
    return { item, canvas, label, distance };
  });

  /** @param {any[]} images @param {number | null} digit */
  function fill(images, digit) {
    slots.forEach(({ item, canvas, label, distance }, i) => {
      const image = images[i];
      drawGrey(canvas, image ? bytesOf(image.image) : null);
      label.textContent = image ? image.label : "–";
      distance.textContent = image ? image.distance.toPrecision(2) : "–";
      item.classList.toggle("other", Boolean(image) && image.label !== digit);
      item.title = image ? `Training image ${image.place}, labelled ${image.label}` : "";
    });
  }

  registerPanel(root, {
    ask: (payload) => connection.call("nearest", payload),
    show({ digit, digits, of, set }, { refused }) {
      fill(digits, digit);
      const same = digits.filter((/** @type {any} */ { label }) => label === digit).length;
      const count =
        same === digits.length ? `All ${same}` : `${same || "None"} of the ${digits.length}`;
      agreement.textContent =
        `${count} nearest among ${of.toLocaleString("en")} ${set} images ` +
        `${same === 1 ? "matches" : "match"} the ${refused ? "closest digit" : "prediction"} ${digit}.`;
    },
    clear(computing) {
      fill([], null);
      agreement.textContent = computing || "Draw a digit to see its nearest neighbours.";
    },
  });
}
