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
    find(root, ".shares").append(item);
    return { item, fill };
  });

  const axes = [.../** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll(".axis"))].map(
    (row) => ({
      row,
      chart: find(row, "svg"),
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
      const { probabilities } = curves;
      const changes = changesOf(curves);
      for (const { at, from, to } of changes) {
        const [x, end] = [across(axis, from), across(axis, to)];
        parts.push(svg("rect", { class: "broken", x, y: 0, width: end - x, height: 100 }));
        parts.push(upright(axis, at, "break"));
      }
      const rivals = new Set([curves.rival, ...changes.map(({ digit }) => digit)]);
      const others = DIGITS.filter((digit) => digit !== reply.answer && !rivals.has(digit));
      for (const digit of others) parts.push(curve(axis, probabilities, digit, ""));
      for (const digit of rivals) parts.push(curve(axis, probabilities, digit, "rival"));
      parts.push(curve(axis, probabilities, reply.answer, "answer"));
    }
    parts.push(upright(axis, place(axis), "here"));
    axis.chart.replaceChildren(...parts);
    nameRivals(axis, curves);
  }

  /**
   * Where the prediction changes, on the way down and on the way up, and to which digit.
   * @param {any} curves
   * @returns {{ at: number, digit: number, from: number, to: number }[]} with the places beyond
   */
  function changesOf({ probabilities, below, above }) {
    const ends = [
      { at: below, from: 0, to: below },
      { at: above, from: above, to: probabilities.length - 1 },
    ];
    return ends
      .filter(({ at }) => at !== null)
      .map((end) => ({ ...end, digit: largest(probabilities[end.at]) }));
  }

  /**
   * Writes the digits of the rivals' curves where these are highest: of those that the prediction
   * changes to, and of the axis' strongest rival.
   * @param {Axis} axis
   * @param {any} curves
   */
  function nameRivals(axis, curves) {
    for (const tag of axis.row.querySelectorAll(".tag")) tag.remove();
    if (!curves) return;
    const { probabilities, rival } = curves;
    const named = changesOf(curves);
    if (!named.some(({ digit }) => digit === rival)) {
      named.push({ at: 0, digit: rival, from: 0, to: probabilities.length - 1 });
    }
    for (const { digit, from, to } of named) {
      const shares = probabilities.map((/** @type {number[]} */ row) => row[digit]);
      const peak = from + largest(shares.slice(from, to + 1));
      if (shares[peak] < LEAST_NAMED) continue;
      const tag = make("span", "tag", String(digit));
      tag.style.left = `${Math.min(97, Math.max(3, across(axis, peak)))}%`;
      tag.style.top = `${100 * (1 - shares[peak])}%`;
      find(axis.row, ".chart").append(tag);
    }
  }

  /** @param {Axis} axis @param {any} curves */
  function changesText(axis, curves) {
    const places = changesOf(curves).map(({ at, digit }) => `${axis.texts[at]} (${digit})`);
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
      item.classList.toggle("predicted", each === reply?.answer);
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
