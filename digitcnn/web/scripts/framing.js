// From pen strokes to the 28x28 that the network expects: a port of digits/sketch.py's
// from_strokes, step by step, so that the exported page and the app predict alike. The reasons for
// each step are given there, and the numbers come from there, as `framing`.

/** @typedef {Record<"side" | "middle" | "span" | "thinnestPen" | "thickestPen" | "largestSpeck"
 *   | "discSpacing" | "maxDiscs", number>} Framing */
/** @typedef {number[]} Point x and y */

/**
 * Returns 784 bytes, ink high, row by row; null without strokes.
 * @param {Point[][]} strokes polylines in units of the pad's side, 0 to 1, y downwards; none is empty
 * @param {number} width of the pen, in the same units
 * @param {Framing} framing
 */
export function frameStrokes(strokes, width, framing) {
  if (strokes.length === 0) return null;
  const { low, high } = boxAround(strokes);
  const extent = Math.max(high[0] - low[0], high[1] - low[1]);
  const pen = clip(
    (width * framing.span) / (extent + width),
    framing.thinnestPen,
    framing.thickestPen,
  );
  let scale = framing.largestSpeck / width;
  if (extent > 0) scale = Math.min(scale, (framing.span - pen) / extent);
  const centre = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
  const lines = strokes.map((stroke) =>
    stroke.map(([x, y]) => [(x - centre[0]) * scale, (y - centre[1]) * scale]),
  );
  const discs = discsAlong(lines, framing);
  // Drawn once around the middle of its box to find its centre of mass, then around that.
  const { middle } = framing;
  const mass = massOf(drawDiscs(discs, [middle, middle], pen, framing.side), framing.side);
  const place = [0, 1].map((axis) => {
    const half = ((high[axis] - low[axis]) * scale) / 2 + pen / 2;
    // The centre of mass, or the nearest place that keeps the whole box inside the frame.
    const centred = clip(
      mass[axis],
      half + middle - (framing.side - middle),
      middle - half + middle,
    );
    return 2 * middle - centred;
  });
  return toBytes(drawDiscs(discs, place, pen, framing.side));
}

/** @param {number} value @param {number} low @param {number} high */
function clip(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** @param {Point[][]} strokes */
function boxAround(strokes) {
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (const stroke of strokes) {
    for (const point of stroke) {
      for (const axis of [0, 1]) {
        low[axis] = Math.min(low[axis], point[axis]);
        high[axis] = Math.max(high[axis], point[axis]);
      }
    }
  }
  return { low, high };
}

/**
 * Returns the middles of the discs whose union is the strokes, in framed pixels.
 * @param {Point[][]} lines
 * @param {Framing} framing
 */
function discsAlong(lines, { discSpacing, maxDiscs }) {
  let total = 0;
  /** @param {(from: Point, to: Point) => void} visit */
  const eachPiece = (visit) => {
    for (const line of lines) {
      for (let i = 1; i < line.length; i += 1) visit(line[i - 1], line[i]);
    }
  };
  /** @param {Point} from @param {Point} to */
  const lengthOf = ([ax, ay], [bx, by]) => Math.hypot(bx - ax, by - ay);
  eachPiece((from, to) => {
    total += lengthOf(from, to);
  });
  const spacing = Math.max(discSpacing, total / maxDiscs);
  const discs = lines.map((line) => line[line.length - 1]);
  eachPiece((from, to) => {
    const count = Math.ceil(lengthOf(from, to) / spacing);
    for (let k = 0; k < count; k += 1) {
      const share = k / count;
      discs.push([from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share]);
    }
  });
  return discs;
}

/**
 * Returns how much of each pixel the discs cover, 0 to 1.
 * @param {Point[]} discs
 * @param {Point} shift by which they are moved
 * @param {number} pen
 * @param {number} side
 */
function drawDiscs(discs, shift, pen, side) {
  const ink = new Float32Array(side * side);
  const reach = Math.ceil(pen / 2 + 0.5);
  for (const disc of discs) {
    const x = disc[0] + shift[0];
    const y = disc[1] + shift[1];
    const [column, row] = [Math.floor(x), Math.floor(y)];
    for (let i = Math.max(0, row - reach); i <= Math.min(side - 1, row + reach); i += 1) {
      for (let j = Math.max(0, column - reach); j <= Math.min(side - 1, column + reach); j += 1) {
        const cover = pen / 2 + 0.5 - Math.hypot(j + 0.5 - x, i + 0.5 - y);
        const at = i * side + j;
        if (cover > ink[at]) ink[at] = Math.min(cover, 1);
      }
    }
  }
  return ink;
}

/** Returns the centre of mass. @param {Float32Array} ink @param {number} side */
function massOf(ink, side) {
  let [sum, x, y] = [0, 0, 0];
  for (let at = 0; at < ink.length; at += 1) {
    sum += ink[at];
    x += ink[at] * ((at % side) + 0.5);
    y += ink[at] * (Math.floor(at / side) + 0.5);
  }
  return [x / sum, y / sum];
}

/**
 * Scales the darkest pixel to 255. Halves go to the even neighbour, as NumPy rounds them.
 * @param {Float32Array} ink
 */
function toBytes(ink) {
  const factor = Math.fround(255 / ink.reduce((most, value) => Math.max(most, value), 0));
  return Uint8Array.from(ink, (value) => {
    const exact = Math.fround(value * factor);
    const below = Math.floor(exact);
    const rest = exact - below;
    return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  });
}
