// The panel "What if": one slider at a time distorts the sketch. Each reply has the probabilities
// along all sliders and the images along the one that was moved last, so a move needs no call.

import { bytesOf, DIGITS, drawGrey, find, largest, make, percent } from "./dom.js";
import { connection } from "./page_state.js";
import { registerPanel } from "./panels.js";
import { svg } from "./svg.js";

const LEAST_NAMED = 0.1; // a rival that stays below this probability is not named

/** @param {HTMLElement} root */
export function startWhatIf(root) {
  const image = find(root, ".changed");
  const verdict = find(root, ".verdict");
  const reset = find(root, ".back");
  /** @type {any} */
  let reply = null; // the last one; null while nothing is drawn
  let nothing = ""; // what the verdict says then
  /** @type {number | null} */
  let moved = null; // which slider was moved

  const columns = DIGITS.map((digit) => {
    const item = make("li");
    const track = make("span", "track");
    const fill = make("span", "fill");
    track.append(fill);
    item.append(track, make("span", "", String(digit)));
    find(root, ".columns").append(item);
    return { item, fill };
  });

  const axes = [.../** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll(".axis"))].map(
    (row) => ({
      row,
      chart: find(row, "svg"),
      tag: find(row, ".tag"),
      slider: find(row, "input"),
      value: find(row, ".value"),
      breaks: find(row, ".breaks"),
      name: row.dataset.name,
      texts: JSON.parse(row.dataset.texts ?? "[]"),
      neutral: row.dataset.neutral,
    }),
  );
  /** @typedef {(typeof axes)[number]} Axis */

  /** @param {Axis} axis */
  const place = (axis) => Number(axis.slider.value);

  // ---- Charts ----------------------------------------------------------------------------------

  /** @param {Axis} axis @param {number} at */
  const across = (axis, at) => (100 * at) / (axis.texts.length - 1);

  /** @param {Axis} axis @param {number} at @param {string} name */
  const upright = (axis, at, name) =>
    svg("line", { class: name, x1: across(axis, at), x2: across(axis, at), y1: 0, y2: 100 });

  /** @param {Axis} axis @param {number[][]} probabilities @param {number} digit @param {string} name */
  function curve(axis, probabilities, digit, name) {
    const points = probabilities.map(
      (row, at) => `${across(axis, at).toFixed(2)},${(100 * (1 - row[digit])).toFixed(1)}`,
    );
    return svg("polyline", { class: name, points: points.join(" ") });
  }

  /** @param {Axis} axis @param {any} curves of this axis, from the reply */
  function drawChart(axis, curves) {
    const parts = [svg("line", { class: "floor", x1: 0, x2: 100, y1: 100, y2: 100 })];
    if (curves) {
      const { probabilities, rival, below, above } = curves;
      for (const [at, x, end] of [
        [below, 0, below],
        [above, above, axis.texts.length - 1],
      ]) {
        if (at === null) continue;
        const [from, to] = [across(axis, x), across(axis, end)];
        parts.push(svg("rect", { class: "broken", x: from, y: 0, width: to - from, height: 100 }));
        parts.push(upright(axis, at, "break"));
      }
      const others = DIGITS.filter((digit) => digit !== reply.answer && digit !== rival);
      for (const digit of others) parts.push(curve(axis, probabilities, digit, ""));
      parts.push(curve(axis, probabilities, rival, "rival"));
      parts.push(curve(axis, probabilities, reply.answer, "answer"));
    }
    parts.push(upright(axis, place(axis), "here"));
    axis.chart.replaceChildren(...parts);
    nameRival(axis, curves);
  }

  /**
   * Writes the rival's digit where its curve is highest.
   * @param {Axis} axis
   * @param {any} curves
   */
  function nameRival(axis, curves) {
    /** @type {number[]} */
    const shares = curves
      ? curves.probabilities.map((/** @type {number[]} */ row) => row[curves.rival])
      : [0];
    const peak = largest(shares);
    axis.tag.hidden = shares[peak] < LEAST_NAMED;
    axis.tag.textContent = curves ? curves.rival : "";
    axis.tag.style.left = `${Math.min(97, Math.max(3, across(axis, peak)))}%`;
    axis.tag.style.top = `${100 * (1 - shares[peak])}%`;
  }

  /** @param {Axis} axis @param {any} curves */
  function changesText(axis, { probabilities, below, above }) {
    const places = [below, above]
      .filter((at) => at !== null)
      .map((at) => `${axis.texts[at]} (${largest(probabilities[at])})`);
    return places.length ? `changes at ${places.join(" and ")}` : "no change";
  }

  // ---- The state of the sliders ----------------------------------------------------------------

  function showImage() {
    const isOther = reply !== null && moved !== reply.axis; // its images are on their way
    image.classList.toggle("late", isOther);
    if (isOther) return;
    const from = moved === null ? 0 : 784 * place(axes[moved]);
    drawGrey(image, reply && bytesOf(reply.images).subarray(from, from + 784));
  }

  function showProbabilities() {
    const axis = axes[moved ?? 0];
    const row = reply?.axes[moved ?? 0].probabilities[place(axis)];
    const digit = row && largest(row);
    columns.forEach(({ item, fill }, each) => {
      fill.style.transform = `scaleY(${row ? row[each] : 0})`;
      item.classList.toggle("best", each === digit);
      item.classList.toggle("answer", each === reply?.answer);
    });
    if (!row) verdict.textContent = nothing;
    else if (moved === null) {
      verdict.textContent = `${digit}, ${percent(row[digit])} confident. Move a slider.`;
    } else {
      const text =
        digit === reply.answer ? `still ${digit}` : `${digit} instead of ${reply.answer}`;
      verdict.textContent = `${axis.name} ${axis.texts[place(axis)]}: ${text}, ${percent(row[digit])} confident.`;
    }
  }

  function showSliders() {
    for (const [i, axis] of axes.entries()) {
      const text = axis.texts[place(axis)];
      axis.value.textContent = text;
      axis.slider.setAttribute("aria-valuetext", text);
      axis.row.classList.toggle("still", i !== moved);
      const line = axis.chart.querySelector(".here");
      for (const end of ["x1", "x2"]) line?.setAttribute(end, across(axis, place(axis)));
    }
    reset.disabled = moved === null;
    showImage();
    showProbabilities();
  }

  function showAll() {
    for (const [i, axis] of axes.entries()) {
      const curves = reply?.axes[i];
      drawChart(axis, curves);
      axis.breaks.textContent = curves ? changesText(axis, curves) : "";
    }
    showSliders();
  }

  const { refresh } = registerPanel(root, {
    ask: (payload) => connection.call("what_if", { ...payload, axis: moved }),
    show(latest) {
      reply = latest;
      showAll();
    },
    clear(computing) {
      reply = null;
      nothing = computing || "Draw a digit, then move a slider.";
      showAll();
    },
  });

  /** @param {number | null} i */
  function move(i) {
    if (moved !== i) {
      moved = i;
      for (const [other, axis] of axes.entries()) {
        if (other !== i) axis.slider.value = axis.neutral;
      }
      refresh();
    }
    showSliders();
  }

  axes.forEach(({ slider }, i) => {
    slider.addEventListener("input", () => move(i));
  });
  reset.addEventListener("click", () => move(null));
}
