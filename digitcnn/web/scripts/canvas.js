// The drawing area: follows a mouse, finger or pen and paints the strokes.

import { onThemeChange } from "./dom.js";
import { PEN } from "./strokes.js";

/** @typedef {import("./strokes.js").Point} Point */
/** @typedef {import("./strokes.js").Stroke} Stroke */

/**
 * @param {HTMLCanvasElement} canvas inside the pad, which gets the class "inked"
 * @param {{
 *   strokes: () => Stroke[],
 *   image?: () => HTMLCanvasElement | null,
 *   onStart: (point: Point) => void,
 *   onExtend: (points: Point[]) => void,
 *   onLift?: () => void,
 * }} drawing image: shown in place of the strokes
 */
export function createCanvas(canvas, { strokes, image = () => null, onStart, onExtend, onLift }) {
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {number | null} */
  let pointer = null; // the one that draws; others are palms and second fingers

  function paint() {
    const side = canvas.width;
    const bitmap = image();
    canvas.parentElement?.classList.toggle("inked", bitmap !== null || strokes().length > 0);
    pen.clearRect(0, 0, side, side);
    if (bitmap) {
      const scale = Math.min(side / bitmap.width, side / bitmap.height);
      const [width, height] = [bitmap.width * scale, bitmap.height * scale];
      pen.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
      return;
    }
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = PEN * side;
    pen.lineCap = "round";
    pen.lineJoin = "round";
    for (const { line } of strokes()) {
      pen.beginPath();
      pen.moveTo(line[0][0] * side, line[0][1] * side);
      for (const [x, y] of line) pen.lineTo(x * side, y * side);
      pen.stroke();
    }
  }

  function fit() {
    const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
    if (side === 0 || (canvas.width === side && canvas.height === side)) return;
    canvas.width = side;
    canvas.height = side;
    paint();
  }

  /**
   * Beyond the edge the pen follows it: a circle that leaves the pad stays closed.
   * @param {PointerEvent[]} events
   * @returns {Point[]}
   */
  function places(events) {
    const box = canvas.getBoundingClientRect();
    /** @param {number} value */
    const inside = (value) => Math.min(1, Math.max(0, value));
    return events.map(({ clientX, clientY }) => [
      inside((clientX - box.left) / box.width),
      inside((clientY - box.top) / box.height),
    ]);
  }

  /** Ends the stroke that is being drawn. */
  function lift() {
    if (pointer === null) return;
    pointer = null;
    onLift?.();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault();
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    onStart(places([event])[0]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    onExtend(places(events.length ? events : [event]));
  });
  /** @param {PointerEvent} event */
  const onEnd = (event) => {
    if (event.pointerId === pointer) lift();
  };
  canvas.addEventListener("pointerup", onEnd);
  canvas.addEventListener("pointercancel", onEnd);
  canvas.addEventListener("lostpointercapture", onEnd);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  new ResizeObserver(fit).observe(canvas);
  onThemeChange(paint);
  fit();
  return { paint, lift, isDrawing: () => pointer !== null };
}
