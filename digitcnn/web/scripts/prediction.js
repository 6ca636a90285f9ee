// Shows a prediction: the digit, its confidence, ten bars, and the 28x28 that the network sees.

import { DIGITS, drawGrey, find, make, NONE, percent } from "./dom.js";

/**
 * @typedef {{
 *   digit: number,
 *   refused: boolean,
 *   probabilities: number[],
 *   calibrated: boolean,
 *   pixels: ArrayLike<number>,
 * }} Prediction
 * digit: the most probable one; refused: the sketch is not a digit; pixels: 784, ink high
 */

/**
 * @param {ParentNode} root
 * @returns {(prediction: Prediction | null, words?: string) => void} a function that shows a
 *   prediction, or none and the words why
 */
export function createPredictionView(root) {
  const box = find(root, "#pad-answer");
  const seen = find(root, "#pad-seen");
  const list = find(root, ".bars");
  const bars = DIGITS.map((digit) => {
    const item = make("li");
    const track = make("span", "track");
    const fill = make("span", "fill");
    const number = make("span", "percent", "–");
    track.append(fill);
    item.append(make("span", "name", String(digit)), track, number);
    list.append(item);
    return { item, fill, number };
  });

  return (prediction, words = "Nothing drawn yet") => {
    const refused = prediction?.refused === true;
    box.dataset.digit = refused ? NONE : String(prediction?.digit ?? "");
    find(box, ".digit").textContent = refused ? "–" : (prediction?.digit ?? "?");
    find(box, ".words").textContent = prediction ? describe(prediction) : words;
    list.classList.toggle("muted", refused);
    bars.forEach(({ item, fill, number }, digit) => {
      const share = prediction?.probabilities[digit];
      item.classList.toggle("best", digit === prediction?.digit);
      fill.style.transform = `scaleX(${share ?? 0})`;
      number.textContent = share === undefined ? "–" : percent(share);
    });
    drawGrey(seen, prediction?.pixels ?? new Uint8Array(784));
    seen.setAttribute("aria-label", `What the network sees${prediction ? "" : ": nothing yet"}`);
  };
}

/** @param {Prediction} prediction */
function describe({ digit, refused, probabilities, calibrated }) {
  if (refused) return `Not a digit (closest: ${digit})`;
  return `${percent(probabilities[digit])} confident${calibrated ? "" : " (not calibrated)"}`;
}
