// Shows a prediction: the digit, its confidence, ten bars, and the 28x28 that the network sees. Of
// a number, which has several, it shows one in full and each 28x28, to choose from.

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
 * @param {(place: number) => void} [onChoose] called when a digit of a number is chosen
 * @returns {(predictions: Prediction[], words?: string, chosen?: number) => void} a function that
 *   shows predictions, the chosen one in full, or none and the words why
 */
export function createPredictionView(root, onChoose = () => {}) {
  const box = find(root, "#pad-answer");
  const seen = find(root, "#pad-seen");
  const strip = find(root, ".parts");
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

  /** @param {Prediction[]} predictions @param {number} chosen */
  function fillStrip(predictions, chosen) {
    strip.hidden = predictions.length < 2;
    if (strip.hidden) return strip.replaceChildren();
    const buttons = predictions.map((prediction, place) => {
      const button = make("button", "button part");
      button.type = "button";
      button.title = `Digit ${place + 1} of ${predictions.length}`;
      button.setAttribute("aria-pressed", String(place === chosen));
      button.addEventListener("click", () => onChoose(place));
      const image = make("canvas");
      [image.width, image.height] = [28, 28];
      drawGrey(image, prediction.pixels);
      button.append(image, make("span", "", prediction.refused ? "–" : String(prediction.digit)));
      return button;
    });
    const focused = [...strip.children].indexOf(/** @type {Element} */ (document.activeElement));
    strip.replaceChildren(...buttons);
    buttons[focused]?.focus();
  }

  return (predictions, words = "Nothing drawn yet", chosen = 0) => {
    const prediction = predictions[chosen];
    const refused = prediction?.refused === true;
    const answer = answerOf(predictions);
    box.dataset.digit = answer;
    const text = find(box, ".digit");
    text.textContent = answer === NONE ? "Not a digit" : answer || "?";
    text.style.setProperty("--digits", String(Math.max(1, predictions.length)));
    find(box, ".words").textContent = prediction ? describe(predictions, chosen) : words;
    list.classList.toggle("muted", refused);
    bars.forEach(({ item, fill, number }, digit) => {
      const share = prediction?.probabilities[digit];
      item.classList.toggle("best", digit === prediction?.digit);
      fill.style.transform = `scaleX(${share ?? 0})`;
      number.textContent = share === undefined ? "–" : percent(share);
    });
    drawGrey(seen, prediction?.pixels ?? new Uint8Array(784));
    seen.setAttribute("aria-label", `What the network sees${prediction ? "" : ": nothing yet"}`);
    fillStrip(predictions, chosen);
  };
}

/** Returns "" for no prediction. @param {Prediction[]} predictions */
function answerOf(predictions) {
  if (predictions.length > 0 && predictions.every(({ refused }) => refused)) return NONE;
  return predictions.map(({ digit }) => digit).join("");
}

/** @param {Prediction[]} predictions @param {number} chosen */
function describe(predictions, chosen) {
  const { digit, refused, probabilities, calibrated } = predictions[chosen];
  const place =
    predictions.length > 1 ? `Digit ${chosen + 1} of ${predictions.length}: ${digit}, ` : "";
  if (refused) return place ? `${place}not accepted` : `closest: ${digit}`;
  return `${place}${percent(probabilities[digit])} confident${calibrated ? "" : " (not calibrated)"}`;
}
