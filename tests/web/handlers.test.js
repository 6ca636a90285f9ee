// What Gradio's events run in the browser: secrets and values go where they belong.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withSecret, withStoredModel } from "../../digitcnn/web/scripts/handlers.js";

/** @param {import("node:test").TestContext} context @param {(event: CustomEvent) => void} answer */
function answering(context, answer) {
  const before = globalThis.dispatchEvent;
  globalThis.dispatchEvent = (event) => {
    answer(/** @type {CustomEvent} */ (event));
    return true;
  };
  context.after(() => {
    globalThis.dispatchEvent = before;
  });
}

test("a secret takes the place of the first input alone", (context) => {
  answering(context, (event) => {
    assert.equal(event.type, "digitcnn-owner");
    event.detail.secret = "token";
  });
  assert.deepEqual(withSecret("digitcnn-owner", "", "name", 8), ["token", "name", 8]);
});

test("without an answer the secret is empty, and what was in the field does not pass", (context) => {
  answering(context, () => {});
  assert.deepEqual(withSecret("digitcnn-owner", "typed", 1), ["", 1]);
});

test("the stored model takes the places that ask for it", (context) => {
  answering(context, (event) => {
    event.detail.stored = "mine";
  });
  assert.deepEqual(withStoredModel([1], "a", "", "c"), ["a", "mine", "c"]);
});
