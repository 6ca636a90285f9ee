// Draws with the keyboard: the arrow keys move a pen over the pad, Space puts it down and lifts it.

/** @typedef {import("./strokes.js").Point} Point */

const STEP = 0.04; // of the pad's side, for each press
const FINE = 0.01; // with Shift

/** @type {Record<string, Point>} */
const DIRECTIONS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/**
 * @param {HTMLCanvasElement} canvas gets the keys while it has focus
 * @param {{
 *   mark: HTMLElement,
 *   state: HTMLElement,
 *   onStart: (point: Point) => void,
 *   onExtend: (points: Point[]) => void,
 *   onLift: () => void,
 * }} pen mark: shows where the pen is; state: announces to screen readers whether it is down
 * @returns lift: lifts the pen, if it is down
 */
export function createArrowPen(canvas, { mark, state, onStart, onExtend, onLift }) {
  /** @type {Point} */
  let at = [0.5, 0.5];
  let down = false;

  function show() {
    mark.hidden = false;
    mark.style.left = `${100 * at[0]}%`;
    mark.style.top = `${100 * at[1]}%`;
    mark.classList.toggle("down", down);
  }

  function lift() {
    if (!down) return;
    down = false;
    state.textContent = "Pen up";
    mark.classList.remove("down");
    onLift();
  }

  canvas.addEventListener("keydown", (event) => {
    const direction = DIRECTIONS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (direction) {
      /** @param {number} place */
      const move = (place) =>
        Math.min(1, Math.max(0, at[place] + direction[place] * (event.shiftKey ? FINE : STEP)));
      at = [move(0), move(1)];
      if (down) onExtend([at]);
    } else if (event.key === " ") {
      if (down) lift();
      else {
        down = true;
        state.textContent = "Pen down";
        onStart(at);
      }
    } else return;
    event.preventDefault();
    show();
  });
  canvas.addEventListener("blur", () => {
    lift();
    mark.hidden = true;
  });
  canvas.addEventListener("pointerdown", () => {
    lift();
    mark.hidden = true;
  });
  return { lift };
}
