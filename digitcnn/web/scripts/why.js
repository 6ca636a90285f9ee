// The panel "Why this digit": what in the sketch supports the prediction or a rival, and what both
// layers see.

import { bytesOf, DIGITS, find, onThemeChange } from "./dom.js";
import { connection } from "./page_state.js";
import { registerPanel } from "./panels.js";

const SIDE = 28;
const INKED = -128; // in the grid of gaps: ink lies there
const LEAST_DOT = 16; // weaker effects, of 127, are not drawn

/**
 * Draws feature maps, uint8, as rows of small images with a pixel between them; none draws black.
 * @param {{ canvas: HTMLCanvasElement, side: number, across: number, count: number }} strip
 * @param {Uint8Array | null} bytes
 */
function drawMaps({ canvas, side, across, count }, bytes) {
  const step = side + 1;
  canvas.width = across * step - 1;
  canvas.height = (count / across) * step - 1;
  const context = /** @type {CanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
  context.fillStyle = "#3a4a61";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  (bytes ?? new Uint8Array(count * side * side)).forEach((value, i) => {
    const map = Math.floor(i / (side * side));
    const [row, column] = [Math.floor((i % (side * side)) / side), i % side];
    const y = Math.floor(map / across) * step + row;
    const x = (map % across) * step + column;
    image.data.set([value, value, value, 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(image, 0, 0);
}

/**
 * Draws a layer of whatever size, and says its size.
 * @param {{ canvas: HTMLCanvasElement, side: number, across: number, count: number }} strip
 * @param {string} text the maps' bytes in base64
 * @param {{ side: number, count: number }} size
 */
function showMaps(strip, text, { side, count }) {
  Object.assign(strip, { side, count, across: Math.min(16, count) });
  drawMaps(strip, bytesOf(text));
  strip.canvas.style.aspectRatio = `${strip.canvas.width} / ${strip.canvas.height}`;
  const figure = /** @type {HTMLElement} */ (strip.canvas.parentElement);
  find(figure, ".count").textContent = String(count);
  const label = String(strip.canvas.getAttribute("aria-label"));
  strip.canvas.setAttribute("aria-label", label.replace(/\d+/, String(count)));
}

/** @param {string} text */
const signed = (text) => new Int8Array(bytesOf(text).buffer);

/** @param {HTMLElement} root */
export function startWhy(root) {
  const overlay = find(root, ".overlay");
  const rival = find(root, "select");
  const sentence = find(root, ".sentence");
  const noMaps = find(root, ".no-maps");
  const strips = [
    { canvas: find(root, ".first"), side: 14, across: 16, count: 32 },
    { canvas: find(root, ".second"), side: 7, across: 16, count: 64 },
  ];
  /** @type {any} */
  let last = null; // the reply that is painted

  for (const digit of DIGITS) rival.append(new Option(String(digit), String(digit)));

  function paint() {
    const context = overlay.getContext("2d");
    const size = overlay.width / SIDE;
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (!last) return;
    const style = getComputedStyle(root);
    /** @param {number} value */
    const colour = (value) => style.getPropertyValue(value > 0 ? "--for" : "--against");
    const seen = bytesOf(last.seen);
    signed(last.ink).forEach((value, i) => {
      if (seen[i] === 0) return;
      const [x, y] = [(i % SIDE) * size, Math.floor(i / SIDE) * size];
      // Grey ink, and over it the colour, as strong as the effect.
      context.globalAlpha = seen[i] / 255;
      context.fillStyle = style.getPropertyValue("--grey");
      context.fillRect(x, y, size, size);
      context.globalAlpha = (seen[i] / 255) * Math.min(1, Math.abs(value) / 100);
      context.fillStyle = colour(value);
      context.fillRect(x, y, size, size);
    });
    context.globalAlpha = 1;
    const { first, step, across } = last.grid;
    signed(last.gaps).forEach((value, i) => {
      if (value === INKED || Math.abs(value) < LEAST_DOT) return;
      const [row, column] = [first + step * Math.floor(i / across), first + step * (i % across)];
      const radius = 0.85 * size * Math.sqrt(Math.abs(value) / 127);
      context.fillStyle = colour(value);
      context.beginPath();
      context.arc((column + 0.5) * size, (row + 0.5) * size, radius, 0, 2 * Math.PI);
      context.fill();
    });
  }

  const { refresh } = registerPanel(root, {
    ask: (payload) =>
      connection.call("why", {
        ...payload,
        rival: rival.value === "" ? null : Number(rival.value),
      }),
    show(reply, { refused }) {
      last = reply;
      paint();
      sentence.textContent = refused
        ? `Not a digit. Among the digits, ${reply.sentence}`
        : reply.sentence;
      noMaps.textContent = reply.no_maps ?? "";
      noMaps.hidden = !reply.no_maps;
      strips.forEach((strip, i) => {
        const figure = /** @type {HTMLElement} */ (strip.canvas.parentElement);
        figure.hidden = Boolean(reply.no_maps);
        if (!reply.no_maps) showMaps(strip, reply.maps[i], reply.sizes[i]);
      });
    },
    clear(computing) {
      last = null;
      paint();
      sentence.textContent = computing || "Draw a digit to see what drives the prediction.";
      for (const strip of strips) drawMaps(strip, null);
    },
  });
  rival.addEventListener("change", refresh);
  onThemeChange(paint);
}
