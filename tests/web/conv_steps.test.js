import assert from "node:assert/strict";
import { test } from "node:test";

import {
  contributions,
  floatsOf,
  kernelOf,
  stepsAt,
  windowAt,
} from "../../digitcnn/web/scripts/conv_steps.js";

const maps = Float32Array.from({ length: 2 * 16 }, (_, i) => i);
const block = {
  kernels: Float32Array.from({ length: 2 * 9 }, (_, i) => (i < 9 ? 1 : -1)),
  bias: [0.5],
  factor: [2],
  summand: [3],
  padding: 1,
  count: 1,
  inputs: 2,
  size: 3,
  side: 2,
};

test("numbers in base64 are read as little-endian float32", () => {
  const bytes = new Uint8Array(new Float32Array([1.5, -2]).buffer);
  assert.deepEqual([...floatsOf(btoa(String.fromCharCode(...bytes)))], [1.5, -2]);
});

test("a window beyond the edge is filled with zeros", () => {
  assert.deepEqual(windowAt(maps, 4, 0, block, 0, 0), [0, 0, 0, 0, 0, 1, 0, 4, 5]);
  assert.deepEqual(windowAt(maps, 4, 1, block, 3, 3), [26, 27, 0, 30, 31, 0, 0, 0, 0]);
});

test("without padding the first window lies at the corner", () => {
  assert.deepEqual(
    windowAt(maps, 4, 0, { ...block, padding: 0 }, 0, 0),
    [0, 1, 2, 4, 5, 6, 8, 9, 10],
  );
});

test("every input map has its own kernel and adds its own part", () => {
  assert.deepEqual([...kernelOf(block, 0, 1)], Array(9).fill(-1));
  assert.deepEqual(contributions(maps, 4, block, 0, 1, 1), [45, -189]);
});

test("batch norm follows the sum, and pooling takes the largest of four, or zero", () => {
  const at = stepsAt(maps, 4, block, 0, 1, 1);
  assert.equal(at.sum, 45 - 189 + 0.5);
  assert.equal(at.normed, 2 * at.sum + 3);
  assert.deepEqual(at.corner, [0, 0]);
  assert.equal(at.pooled, 0);
  const positive = { ...block, kernels: new Float32Array(18).fill(1), factor: [1], summand: [0] };
  // The largest of the four is at the lower right, whose windows lie wholly inside.
  assert.equal(stepsAt(maps, 4, positive, 0, 0, 0).pooled, 45 + 189 + 0.5);
});
