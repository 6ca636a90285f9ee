// The arithmetic of one place in a convolution block, from the network's own numbers.

import { bytesOf } from "./dom.js";

/**
 * @typedef {{
 *   kernels: Float32Array, bias: number[], factor: number[], summand: number[],
 *   padding: number, count: number, inputs: number, size: number, side: number,
 * }} Block kernels: [count, inputs, size, size]; side: of the pooled output
 */

/** Reads little-endian numbers, as every browser's processor has them. @param {string} base64 */
export const floatsOf = (base64) => new Float32Array(bytesOf(base64).buffer);

/**
 * The window that a place of the convolution's output is computed from; zeros beyond the edge.
 * @param {Float32Array} maps [inputs, across, across]
 * @param {number} across
 * @param {number} input which map
 * @param {Block} block
 * @param {number} row of the output
 * @param {number} column of the output
 */
export function windowAt(maps, across, input, { size, padding }, row, column) {
  return Array.from({ length: size * size }, (_, i) => {
    const y = row - padding + Math.floor(i / size);
    const x = column - padding + (i % size);
    const inside = y >= 0 && y < across && x >= 0 && x < across;
    return inside ? maps[(input * across + y) * across + x] : 0;
  });
}

/**
 * @param {Block} block
 * @param {number} filter
 * @param {number} input
 */
export function kernelOf({ kernels, inputs, size }, filter, input) {
  const start = (filter * inputs + input) * size * size;
  return kernels.subarray(start, start + size * size);
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
export const dot = (a, b) => {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
};

/**
 * What each input map adds to a place of a filter's map.
 * @param {Float32Array} maps
 * @param {number} across
 * @param {Block} block
 * @param {number} filter
 * @param {number} row
 * @param {number} column
 */
export function contributions(maps, across, block, filter, row, column) {
  return Array.from({ length: block.inputs }, (_, input) =>
    dot(windowAt(maps, across, input, block, row, column), kernelOf(block, filter, input)),
  );
}

/**
 * All steps of one place of a filter's map, and of the pooling window that it is in.
 * @param {Float32Array} maps
 * @param {number} across
 * @param {Block} block
 * @param {number} filter
 * @param {number} row of the convolution's output
 * @param {number} column of the convolution's output
 * @returns {{ parts: number[], sum: number, normed: number, pooled: number, corner: [number, number] }}
 */
export function stepsAt(maps, across, block, filter, row, column) {
  /** @param {number} y @param {number} x */
  const at = (y, x) => {
    const parts = contributions(maps, across, block, filter, y, x);
    const sum = parts.reduce((total, part) => total + part, block.bias[filter]);
    return { parts, sum, normed: sum * block.factor[filter] + block.summand[filter] };
  };
  /** @type {[number, number]} */
  const corner = [row - (row % 2), column - (column % 2)];
  const four = [0, 1, 2, 3].map(
    (place) => at(corner[0] + Math.floor(place / 2), corner[1] + (place % 2)).normed,
  );
  return { ...at(row, column), pooled: Math.max(0, ...four), corner };
}
