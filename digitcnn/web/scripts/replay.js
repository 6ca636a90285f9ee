// The panel "During training": the predictions for the sketch after each epoch.

import { find, largest, make, percent } from "./dom.js";
import { connection } from "./page_state.js";
import { registerPanel } from "./panels.js";
import { svg } from "./svg.js";

const EACH = 1000; // milliseconds between two polls during training
const IDLE = 4; // polls are so many times rarer otherwise

/** @typedef {{ epoch: number, probabilities: number[] }} Frame */

/** @param {number[]} probabilities */
function bars(probabilities) {
  const chart = svg("svg", { viewBox: "0 0 40 24", "aria-hidden": "true" });
  probabilities.forEach((share, digit) => {
    const height = Math.max(0.8, 24 * share);
    const place = { x: 4 * digit + 0.4, y: 24 - height, width: 3.2, height };
    chart.append(
      svg("rect", digit === largest(probabilities) ? { ...place, class: "best" } : place),
    );
  });
  return chart;
}

/** @param {Frame} frame @param {number} final */
function frameItem({ epoch, probabilities }, final) {
  const digit = largest(probabilities);
  const item = make("li", digit === final ? "same" : "");
  item.dataset.epoch = String(epoch);
  item.dataset.digit = String(digit);
  item.append(
    make("span", "epoch", `epoch ${epoch}`),
    make("span", "digit", String(digit)),
    make("span", "share", percent(probabilities[digit])),
    bars(probabilities),
  );
  return item;
}

/**
 * Returns since which epoch the latest prediction has been the same.
 * @param {Frame[]} frames
 * @param {number} final
 */
function summary(frames, final) {
  let since = frames.length - 1;
  while (since > 0 && largest(frames[since - 1].probabilities) === final) since -= 1;
  if (since > 0) return `${final} since epoch ${frames[since].epoch}`;
  if (frames.length === 1) return String(final);
  // After a resume the earlier epochs are not shown.
  return frames[0].epoch > 1 ? `${final} in every epoch shown` : `${final} from epoch 1`;
}

/** @param {HTMLElement} root */
export function startReplay(root) {
  const run = find(root, ".run");
  const list = find(root, ".frames");
  let key = ""; // of the training's state that is shown
  let available = 0; // how many epochs there are to see

  const { refresh, inSight } = registerPanel(root, {
    ask: (payload) => connection.call("replay", payload),
    show(reply) {
      [key, available] = [reply.key, reply.frames];
      const frames = /** @type {Frame[]} */ (reply.replay);
      if (frames.length === 0) {
        clear("");
        return;
      }
      const last = frames[frames.length - 1];
      const final = largest(last.probabilities);
      const atEnd = list.scrollLeft + list.clientWidth >= list.scrollWidth - 4;
      list.replaceChildren(...frames.map((frame) => frameItem(frame, final)));
      if (atEnd) list.scrollLeft = list.scrollWidth;
      run.textContent =
        `${reply.run}, epoch ${last.epoch} of ${reply.epochs}: ${summary(frames, final)} ` +
        "(probabilities before calibration).";
    },
    clear,
  });

  /** @param {string} computing */
  function clear(computing) {
    list.replaceChildren();
    const nothing = available
      ? "Draw a digit to see how its prediction developed."
      : "Start a run to see how the prediction develops.";
    run.textContent = computing || nothing;
  }

  let ticks = 0;
  let asking = false;
  let running = false;
  setInterval(async () => {
    ticks += 1;
    if (asking || !inSight() || !(running || ticks % IDLE === 0)) return;
    asking = true;
    const state = await connection.call("replay_state");
    asking = false;
    if (state.key === undefined) return;
    ({ running, frames: available } = state);
    if (state.key === key) return;
    ({ key } = state);
    refresh();
  }, EACH);
}
