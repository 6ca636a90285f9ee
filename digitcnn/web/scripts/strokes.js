// Strokes in units of the pad's side, 0 to 1, y downwards: the prediction depends neither on the
// screen nor on the canvas.

/** @typedef {[number, number]} Point */
/**
 * began: milliseconds since 1970, never the same for two strokes of a page. points: as they came
 * from the pen. line: the smooth line through them.
 * @typedef {{ began: number, points: Point[], line: Point[] }} Stroke
 */

export const PEN = 0.065; // width, in pad sides
const LEAST_STEP = 0.003; // points nearer to the last one than this add nothing
const CURVE_STEP = 0.015; // length of the straight pieces of a curve

let latest = 0; // when the newest stroke began

/** @param {Point} point @returns {Stroke} */
export function startStroke(point) {
  latest = Math.max(Date.now(), latest + 1);
  return { began: latest, points: [point], line: [point] };
}

/**
 * Names a sketch among those of one browser. Strokes are only added and taken off at the end, so
 * the last one says which were there before it.
 * @param {Stroke[]} strokes
 */
export function idOf(strokes) {
  const last = strokes[strokes.length - 1];
  return last ? `${last.began}-${last.points.length}` : "";
}

/**
 * Adds points to a stroke; returns whether it has changed.
 * @param {Stroke} stroke
 * @param {Point[]} added
 */
export function extendStroke(stroke, added) {
  const before = stroke.points.length;
  for (const point of added) {
    const [x, y] = stroke.points[stroke.points.length - 1];
    if (Math.hypot(point[0] - x, point[1] - y) >= LEAST_STEP) stroke.points.push(point);
  }
  if (stroke.points.length === before) return false;
  stroke.line = smooth(stroke.points);
  return true;
}

/**
 * Draws a quadratic curve from the middle of each piece to the middle of the next, with the point
 * between them as its control point: smooth even where a fast pen leaves few points.
 * @param {Point[]} points
 * @returns {Point[]}
 */
export function smooth(points) {
  if (points.length < 3) return points.slice();
  const line = [points[0]];
  let from = points[0];
  for (let i = 1; i < points.length - 1; i += 1) {
    const corner = points[i];
    const next = points[i + 1];
    /** @type {Point} */
    const to =
      i === points.length - 2 ? next : [(corner[0] + next[0]) / 2, (corner[1] + next[1]) / 2];
    const length =
      Math.hypot(corner[0] - from[0], corner[1] - from[1]) +
      Math.hypot(to[0] - corner[0], to[1] - corner[1]);
    const pieces = Math.max(1, Math.ceil(length / CURVE_STEP));
    for (let k = 1; k <= pieces; k += 1) {
      const t = k / pieces;
      const [a, b, c] = [(1 - t) * (1 - t), 2 * t * (1 - t), t * t];
      line.push([a * from[0] + b * corner[0] + c * to[0], a * from[1] + b * corner[1] + c * to[1]]);
    }
    from = to;
  }
  return line;
}

/**
 * Returns the lines as they are sent and read: rounded to a ten-thousandth of the pad.
 * @param {Stroke[]} strokes
 */
export function linesOf(strokes) {
  /** @param {number} value */
  const round = (value) => Math.round(value * 1e4) / 1e4;
  return strokes.map(({ line }) => line.map(([x, y]) => [round(x), round(y)]));
}

/**
 * Returns the strokes of stored points, [] for anything else.
 * @param {unknown} stored
 * @returns {Stroke[]}
 */
export function strokesOf(stored) {
  /** @param {unknown} value */
  const isShare = (value) => typeof value === "number" && value >= 0 && value <= 1;
  /** @param {unknown} value */
  const isPoint = (value) => Array.isArray(value) && value.length === 2 && value.every(isShare);
  /** @param {any} value */
  const isStroke = (value) =>
    Number.isFinite(value?.began) &&
    Array.isArray(value.points) &&
    value.points.length > 0 &&
    value.points.every(isPoint);
  if (!Array.isArray(stored) || !stored.every(isStroke)) return [];
  return stored.map(({ began, points }) => ({ began, points, line: smooth(points) }));
}

/** @typedef {{ label: number | string, predicted: number | string, model: string }} Feedback */
/**
 * A sketch that survives a reload. done: all of it has feedback. given: the feedback by the names
 * of its digits. message: the sentence about the feedback.
 * @typedef {{ strokes: Stroke[], done: boolean, given: [string, Feedback][], message: string }} StoredSketch
 */

/**
 * Returns the stored sketch, or a blank one for anything else.
 * @param {any} stored
 * @returns {StoredSketch}
 */
export function sketchOf(stored) {
  const strokes = strokesOf(stored?.strokes);
  const isFeedback = (/** @type {any} */ [, feedback]) => typeof feedback?.model === "string";
  const given = strokes.length > 0 ? Object.entries(stored.given ?? {}).filter(isFeedback) : [];
  if (given.length === 0) return { strokes, done: false, given, message: "" };
  return { strokes, done: stored.done === true, given, message: String(stored.message ?? "") };
}
