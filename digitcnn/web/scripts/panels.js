// The panels follow the pad, each at its own pace: a call at a time, only while the panel is
// chosen and in sight, and only after the pad's own prediction.

import { find } from "./dom.js";
import { predictedContent } from "./pad.js";
import { connection, modelName, onConnection } from "./page_state.js";

const COMPUTING = "Computing…";
const LONGEST_REST = 60; // milliseconds between a reply and the next call while the pen is down

/** @typedef {import("./calls.js").Reply} Reply */

// What the pad showed last: {digit, refused, blank, lineage}. lineage is the same for all states of
// a sketch that grows.
/** @type {{ digit: number | null, refused: boolean, blank: boolean, lineage: number }} */
let prediction = { digit: null, refused: false, blank: true, lineage: 0 };

/** @type {(() => void)[]} */
const panels = [];

addEventListener("digitcnn-answer", (event) => {
  prediction = /** @type {CustomEvent} */ (event).detail;
  for (const refresh of panels) refresh();
});

/**
 * Makes a panel follow the pad.
 * @param {HTMLElement} root
 * @param {{
 *   ask: (payload: object) => Promise<Reply>,
 *   show: (reply: Reply, prediction: { refused: boolean }) => void,
 *   clear: (computing: string) => void,
 * }} panel ask: calls the app, with more than the model and the sketch if needed. Its reply is the
 *   argument of `show`, or {error}, or {blank: true}, or {again: milliseconds} to call again, with
 *   {wait: sentence} for a long wait. clear: empties the panel, and says that it is computing, or,
 *   where the argument is empty, what to do.
 * @returns refresh: calls again, as after a control of the panel was moved
 */
export function registerPanel(root, { ask, show, clear }) {
  const notice = find(root, ".said");
  let version = 0; // counts changes of sketch, model and the panel's own controls
  let shown = 0; // the version that is shown
  let busy = false;
  let resting = false; // calls again when that is over
  let near = false; // on the screen, or nearly
  let empty = true; // shows no result

  const showNothing = () => {
    empty = true;
    clear("");
  };

  // In place of the content, which keeps its height: the page never jumps.
  /** @param {string} text */
  const say = (text) => {
    notice.textContent = text;
    root.classList.toggle("saying", text !== "");
  };

  const inSight = () => near && !root.hidden && !document.hidden && root.isConnected;

  const refresh = () => {
    version += 1;
    if (empty && prediction.digit !== null) clear(COMPUTING);
    follow();
  };

  /** @param {number} milliseconds */
  const rest = (milliseconds) => {
    resting = true;
    setTimeout(() => {
      resting = false;
      follow();
    }, milliseconds);
  };

  const follow = async () => {
    if (busy || shown === version || !inSight()) return;
    const now = version;
    if (prediction.digit === null || !modelName()) {
      shown = now;
      say(connection.notice || (prediction.blank ? "" : "No prediction to explain."));
      showNothing();
      return;
    }
    const content = predictedContent();
    if (resting || !content) return; // null: the pad is asking about another sketch
    busy = true;
    const asked = prediction;
    const began = performance.now();
    const reply = await ask({ model: modelName(), ...content });
    busy = false;
    if (reply.again) {
      if (reply.wait) say(reply.wait);
      rest(reply.again);
    } else if (predictedContent() && asked.lineage === prediction.lineage) {
      // A reply for an earlier state of this sketch is news; one for another sketch is not.
      shown = now;
      say(reply.error ?? "");
      if (reply.blank) showNothing();
      else if (!reply.error) {
        empty = false;
        show(reply, asked);
      }
      // While the pen is down, half of the time is left to the pad's own calls.
      if (shown !== version) rest(Math.min(performance.now() - began, LONGEST_REST));
    }
    follow();
  };

  addEventListener("digitcnn-panel", follow); // another tab is chosen
  document.addEventListener("visibilitychange", follow);
  new IntersectionObserver(
    (entries) => {
      near = entries[entries.length - 1].isIntersecting;
      follow();
    },
    { rootMargin: "120px" },
  ).observe(root);
  panels.push(refresh);
  clear("");
  onConnection((text) => {
    say(text);
    if (!text) refresh();
  });
  if (prediction.digit !== null) refresh();
  return { refresh, inSight };
}
