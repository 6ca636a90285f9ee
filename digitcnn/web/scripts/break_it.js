// The panel "Break it": a slider from the drawing to the smallest change that changes the
// prediction, and to random noise of the same size. A reply has every place of the slider.

import { bytesOf, drawGrey, find, largest, percent } from "./dom.js";
import { connection } from "./page_state.js";
import { registerPanel } from "./panels.js";
import { svg } from "./svg.js";

const PIXELS = 784;

/** @param {HTMLElement} root */
export function startBreakIt(root) {
  const slider = find(root, "input");
  const sentence = find(root, ".sentence");
  const key = find(root, ".key");
  /** @param {string} kind */
  const side = (kind) => ({
    canvas: find(root, `.${kind} canvas`),
    answer: find(root, `.${kind} .answer`),
    chart: find(root, `.${kind} svg`),
    /** @type {Uint8Array} */
    images: new Uint8Array(0),
    /** @type {number[][]} */
    probabilities: [],
  });
  const [change, noise] = [side("change"), side("noise")];
  /** @type {{ answer: number, broken: number } | null} */
  let digits = null;

  const last = () => Number(slider.max);
  const place = () => Number(slider.value);

  /** @param {typeof change} part */
  function drawChart({ chart, probabilities }) {
    const parts = [svg("line", { class: "floor", x1: 0, x2: 100, y1: 100, y2: 100 })];
    if (digits) {
      for (const [digit, name] of [
        [digits.broken, "rival"],
        [digits.answer, "answer"],
      ]) {
        const points = probabilities.map(
          (row, at) => `${(100 * at) / last()},${(100 * (1 - row[Number(digit)])).toFixed(1)}`,
        );
        parts.push(svg("polyline", { class: String(name), points: points.join(" ") }));
      }
    }
    const here = (100 * place()) / last();
    parts.push(svg("line", { class: "here", x1: here, x2: here, y1: 0, y2: 100 }));
    chart.replaceChildren(...parts);
  }

  function show() {
    slider.disabled = !digits;
    key.textContent = digits
      ? `Probability of ${digits.answer} (solid) and of ${digits.broken} (dashed) along the way.`
      : "";
    slider.setAttribute("aria-valuetext", `${percent(place() / last())} of the change`);
    for (const part of [change, noise]) {
      const start = PIXELS * place();
      drawGrey(part.canvas, digits ? part.images.subarray(start, start + PIXELS) : null);
      const row = digits ? part.probabilities[place()] : null;
      const digit = row ? largest(row) : null;
      part.answer.textContent = row && digit !== null ? `${digit}, ${percent(row[digit])}` : "";
      part.answer.classList.toggle("broken", digits !== null && digit !== digits.answer);
      drawChart(part);
    }
  }

  registerPanel(root, {
    ask: (payload) => connection.call("break_it", payload),
    show(reply) {
      digits = reply.unbroken ? null : { answer: reply.answer, broken: reply.broken };
      sentence.textContent = reply.unbroken ?? reply.sentence;
      if (digits) {
        change.images = bytesOf(reply.images);
        change.probabilities = reply.probabilities;
        noise.images = bytesOf(reply.noise_images);
        noise.probabilities = reply.noise_probabilities;
      }
      show();
    },
    clear(computing) {
      digits = null;
      sentence.textContent = computing || "Draw a digit to see what breaks it.";
      show();
    },
  });
  slider.addEventListener("input", show);
}
