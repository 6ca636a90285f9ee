// Strokes: what is kept of the pen's way, and what is restored.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  extendStroke,
  idOf,
  linesOf,
  sketchOf,
  smooth,
  startStroke,
  strokesOf,
} from "../../digitcnn/web/scripts/strokes.js";

/** @typedef {import("../../digitcnn/web/scripts/strokes.js").Point} Point */

test("points that are as good as the last one add nothing", () => {
  const stroke = startStroke([0.5, 0.5]);
  assert.equal(extendStroke(stroke, [[0.501, 0.5]]), false);
  assert.equal(
    extendStroke(stroke, [
      [0.51, 0.5],
      [0.511, 0.5],
      [0.52, 0.5],
    ]),
    true,
  );
  assert.deepEqual(stroke.points, [
    [0.5, 0.5],
    [0.51, 0.5],
    [0.52, 0.5],
  ]);
});

test("a curve keeps its ends, has short pieces and stays near the pen", () => {
  /** @type {Point[]} */
  const points = [
    [0.2, 0.2],
    [0.8, 0.2],
    [0.8, 0.8],
    [0.2, 0.8],
  ];
  const line = smooth(points);
  assert.deepEqual(line[0], points[0]);
  assert.deepEqual(line[line.length - 1], points[3]);
  for (let i = 1; i < line.length; i += 1) {
    assert.ok(Math.hypot(line[i][0] - line[i - 1][0], line[i][1] - line[i - 1][1]) < 0.03);
  }
  assert.ok(line.every(([x, y]) => x >= 0.2 && x <= 0.8 && y >= 0.2 && y <= 0.8));
  assert.deepEqual(smooth(points.slice(0, 2)), points.slice(0, 2));
});

test("lines are sent with four decimals", () => {
  const stroke = startStroke([1 / 3, 2 / 3]);
  assert.deepEqual(linesOf([stroke]), [[[0.3333, 0.6667]]]);
});

test("stored strokes come back, and anything else is an empty pad", () => {
  /** @type {Point[]} */
  const points = [
    [0.1, 0.2],
    [0.3, 0.4],
    [0.5, 0.9],
  ];
  const stroke = { began: 1000, points };
  assert.deepEqual(strokesOf([stroke]), [{ ...stroke, line: smooth(points) }]);
  const others = [
    null,
    undefined,
    3,
    "x",
    {},
    [points],
    [{ points }],
    [{ began: "1", points }],
    [{ began: 1, points: [] }],
    [{ began: 1, points: [[0.1]] }],
    [{ began: 1, points: [[0.1, 2]] }],
    [{ began: 1, points: [[0.1, null]] }],
    [stroke, 3],
  ];
  for (const other of others) assert.deepEqual(strokesOf(other), []);
});

test("a stored sketch comes back with its feedback, and anything else has none", () => {
  const strokes = strokesOf([{ began: 1000, points: [[0.1, 0.2]] }]);
  const feedback = { label: 7, predicted: 7, model: "mnist" };
  const stored = { strokes, done: true, given: { "1000-1": feedback }, message: "Saved: 7." };
  const expected = { strokes, done: true, given: [["1000-1", feedback]], message: "Saved: 7." };
  assert.deepEqual(sketchOf(JSON.parse(JSON.stringify(stored))), expected);
  const unrated = { strokes, done: false, given: [], message: "" };
  for (const given of [undefined, null, 3, "x", [], {}, { "1000-1": null }, { "1000-1": {} }]) {
    assert.deepEqual(sketchOf({ ...stored, given }), unrated);
  }
  const blank = { ...unrated, strokes: [] };
  for (const other of [null, undefined, 3, "x", [], strokes, {}, { ...stored, strokes: [] }]) {
    assert.deepEqual(sketchOf(other), blank);
  }
});

test("every change makes another sketch, and being stored does not", () => {
  const [first, second] = [startStroke([0.1, 0.2]), startStroke([0.1, 0.2])];
  const ids = [idOf([first]), idOf([first, second])];
  extendStroke(second, [[0.5, 0.5]]);
  ids.push(idOf([first, second]));
  const stored = JSON.parse(JSON.stringify([first, second]));
  assert.equal(idOf(strokesOf(stored)), ids[2]);
  ids.push(idOf([first, startStroke([0.1, 0.2])])); // after an undo
  ids.push(idOf([startStroke([0.1, 0.2])])); // after Clear
  assert.equal(new Set(ids).size, ids.length);
});
