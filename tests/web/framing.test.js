// The framing of the exported page: where the ink lands. That it equals Python's is tested there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { frameStrokes } from "../../digitcnn/web/scripts/framing.js";

const FRAMING = {
  side: 28,
  middle: 14,
  span: 20,
  thinnestPen: 2,
  thickestPen: 4,
  largestSpeck: 4,
  discSpacing: 0.25,
  maxDiscs: 4000,
};

/** @param {number[][][]} strokes */
const framed = (strokes) => /** @type {Uint8Array} */ (frameStrokes(strokes, 0.065, FRAMING));

/** @param {Uint8Array} pixels */
function boxOf(pixels) {
  const inked = [...pixels.keys()].filter((at) => pixels[at] > 0);
  const [rows, columns] = [inked.map((at) => Math.floor(at / 28)), inked.map((at) => at % 28)];
  return [Math.min(...rows), Math.max(...rows), Math.min(...columns), Math.max(...columns)];
}

test("no strokes are no image", () => {
  assert.equal(frameStrokes([], 0.065, FRAMING), null);
});

test("ink is 20 pixels long and in the middle, wherever and however large it was drawn", () => {
  const large = framed([
    [
      [0.5, 0.1],
      [0.5, 0.9],
    ],
  ]);
  const small = framed([
    [
      [0.2, 0.2],
      [0.2, 0.6],
    ],
  ]);
  for (const pixels of [large, small]) {
    assert.equal(Math.max(...pixels), 255);
    const [top, bottom, left, right] = boxOf(pixels);
    assert.ok(bottom - top >= 19 && bottom - top <= 21);
    assert.ok(Math.abs(top + bottom - 27) <= 1 && Math.abs(left + right - 27) <= 1);
  }
});

test("ink whose centre of mass is not in its middle is moved, and stays in the frame", () => {
  const hook = framed([
    [
      [0.2, 0.2],
      [0.8, 0.2],
      [0.2, 0.25],
      [0.8, 0.25],
      [0.5, 0.25],
      [0.5, 0.8],
    ],
  ]);
  const [top, bottom] = boxOf(hook);
  assert.ok(top > 4 && bottom <= 27);
});
