import assert from "node:assert/strict";
import { test } from "node:test";

import { createFollower } from "../../digitcnn/web/scripts/newest.js";

/** Lets everything run that waits for nothing but promises. */
const settle = () => new Promise((done) => setImmediate(done));

/** A sketch that is followed, with a clock of its own and calls that the test answers. */
function followed() {
  const pad = {
    sketch: "",
    time: 0,
    /** @type {((busy?: boolean) => void)[]} */
    answer: [],
    /** @type {(() => void)[]} */
    ring: [],
    /** @type {string[]} */
    calls: [],
    /** @type {string[]} */
    shown: [],
  };
  const { changed, settled } = createFollower({
    ask() {
      const { sketch } = pad;
      pad.calls.push(sketch);
      const show = () => {
        if (sketch === "unusable") throw new Error("cannot be shown");
        pad.shown.push(sketch);
      };
      return new Promise((resolve) => {
        pad.answer.push((busy = false) => resolve({ busy, show }));
      });
    },
    pace: 90,
    now: () => pad.time,
    wait(milliseconds) {
      const due = pad.time + milliseconds;
      return new Promise((done) => {
        pad.ring.push(() => {
          pad.time = due;
          done(undefined);
        });
      });
    },
  });
  /** @param {string} sketch */
  const draw = (sketch) => {
    pad.sketch = sketch;
    changed();
  };
  return Object.assign(pad, { draw, settled });
}

test("the last of many changes is asked for once the call before it is answered", async () => {
  const pad = followed();
  for (const sketch of ["1", "12", "123"]) pad.draw(sketch);
  assert.deepEqual(pad.calls, ["1"]);
  pad.answer[0]();
  await settle();
  assert.deepEqual(pad.calls, ["1", "123"]);
  pad.answer[1]();
  await pad.settled();
  assert.deepEqual(pad.shown, ["1", "123"]);
});

test("a change at any moment around a reply is asked for, such as a stroke right after Clear", async () => {
  for (let delay = 0; delay < 12; delay += 1) {
    const pad = followed();
    pad.draw("old");
    pad.answer[0]();
    for (let i = 0; i < delay; i += 1) await Promise.resolve();
    pad.draw("");
    pad.draw("new");
    for (let i = 1; i < 4; i += 1) {
      await settle();
      pad.answer[i]?.();
    }
    await pad.settled();
    assert.equal(pad.shown.at(-1), "new", `after ${delay} microtasks`);
  }
});

test("while the app is busy, the newest state is asked for when its pace allows", async () => {
  const pad = followed();
  pad.draw("1");
  pad.time = 20;
  pad.answer[0](true);
  await settle();
  pad.draw("12");
  await settle();
  pad.draw("123");
  assert.deepEqual(pad.calls, ["1"]);
  pad.ring[0]();
  await settle();
  assert.deepEqual([pad.calls, pad.time], [["1", "123"], 90]);
});

test("a reply that cannot be shown does not keep a later one from the page", async () => {
  const pad = followed();
  pad.draw("unusable");
  const failed = assert.rejects(pad.settled(), /cannot be shown/);
  pad.draw("new");
  pad.answer[0]();
  await failed;
  pad.answer[1]();
  await pad.settled();
  assert.deepEqual(pad.shown, ["new"]);
});
