// The call module: every call ends, one probe asks for all, and the app is left alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Connection,
  NOT_RESPONDING,
  outcomeOf,
  retryAfterOf,
} from "../../digitcnn/web/scripts/calls.js";

/** @param {unknown} body @param {ResponseInit} [init] */
const json = (body, init) => new Response(JSON.stringify(body), init);
const html = () => new Response("<h1>Hello</h1>", { headers: { "Content-Type": "text/html" } });

/**
 * A connection with a clock that the test moves, to an app that answers as `answer` says.
 * @param {import("node:test").TestContext} context
 * @param {(name: string) => Response | Promise<Response>} answer
 */
function connect(context, answer) {
  context.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const app = { answer, hidden: false, sent: /** @type {[string, number][]} */ ([]) };
  const connection = new Connection({
    send: async (name, _, signal) => {
      app.sent.push([name, Date.now()]);
      const stopped = new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      });
      return /** @type {Promise<Response>} */ (Promise.race([app.answer(name), stopped]));
    },
    probe: "news",
    isHidden: () => app.hidden,
    random: () => 0.5,
  });
  const settle = async () => {
    for (let i = 0; i < 20; i += 1) await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  /** @param {number} seconds */
  const pass = async (seconds) => {
    for (let i = 0; i < 10 * seconds; i += 1) {
      context.mock.timers.tick(100);
      await settle();
    }
  };
  return { app, connection, pass };
}

const refuse = () => {
  throw new TypeError("Failed to fetch");
};

test("a response is a reply, a refusal, a lost login, or an app that is away", async () => {
  assert.deepEqual(await outcomeOf(json({ digit: 3 })), { kind: "reply", reply: { digit: 3 } });
  assert.deepEqual(await outcomeOf(json({ detail: "Draw less." }, { status: 413 })), {
    kind: "refused",
    error: "Draw less.",
  });
  assert.equal((await outcomeOf(json({}, { status: 401 }))).kind, "logged out");
  for (const response of [
    html(),
    json(null),
    new Response("", { status: 404 }),
    json({}, { status: 503 }),
    json({ detail: "slowly" }, { status: 429 }),
  ]) {
    assert.equal((await outcomeOf(response)).kind, "down");
  }
});

test("Retry-After is read as seconds and as a date", () => {
  assert.equal(retryAfterOf("30", 0), 30_000);
  assert.equal(retryAfterOf("Thu, 01 Jan 1970 00:01:00 GMT", 15_000), 45_000);
  const now = Date.UTC(2026, 0, 1);
  for (const nothing of [null, "", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT"]) {
    assert.equal(retryAfterOf(nothing, now), 0);
  }
});

test("a failed call is an error, and the next ones send nothing", async (context) => {
  const { app, connection, pass } = connect(context, refuse);
  const reply = await connection.call("predict");
  assert.deepEqual(reply, { error: NOT_RESPONDING, unavailable: true });
  for (let i = 0; i < 50; i += 1) assert.ok((await connection.call("predict")).unavailable);
  assert.equal(app.sent.length, 1);
  await pass(5);
  assert.equal(app.sent.length, 3);
  await pass(60);
  const times = app.sent.slice(2).map(([, at]) => at);
  for (let i = 1; i < times.length; i += 1) {
    const pause = times[i] - times[i - 1];
    assert.ok(pause >= 10_000 && pause <= 12_500, String(pause));
  }
  assert.ok(times.length >= 5);
});

test("a call that is never answered ends after its time", async (context) => {
  const { connection, pass } = connect(context, () => new Promise(() => {}));
  const reply = connection.call("predict");
  await pass(16);
  assert.deepEqual(await reply, { error: NOT_RESPONDING, unavailable: true });
});

test("the probe's success tells everybody, with what it replied", async (context) => {
  const { app, connection, pass } = connect(context, refuse);
  /** @type {unknown[]} */
  const heard = [];
  connection.addEventListener("state", () => heard.push(connection.state));
  connection.addEventListener("probe", (event) => {
    heard.push(/** @type {CustomEvent} */ (event).detail);
  });
  await connection.call("predict");
  app.answer = () => json({ app: 7 });
  await pass(2);
  assert.deepEqual(heard, ["down", "up", { app: 7 }]);
  assert.equal(connection.notice, "");
  assert.deepEqual(await connection.call("predict"), { app: 7 });
});

test("calls that fail while the probe succeeds do not bring the short pauses back", async (context) => {
  const { app, connection, pass } = connect(context, (name) =>
    name === "news" ? json({}) : json({}, { status: 503 }),
  );
  connection.addEventListener("state", () => {
    if (connection.state === "up") connection.call("predict");
  });
  await connection.call("predict");
  await pass(5);
  assert.equal(app.sent.length, 3);
  await pass(55);
  assert.ok(app.sent.length <= 3 + 2 * 5, String(app.sent.length));
});

test("Retry-After is waited for", async (context) => {
  const { app, connection, pass } = connect(context, () =>
    json({}, { status: 429, headers: { "Retry-After": "100" } }),
  );
  await connection.call("predict");
  await pass(99);
  assert.equal(app.sent.length, 1);
  await pass(2);
  assert.equal(app.sent.length, 2);
});

test("a hidden page asks when it is looked at again", async (context) => {
  const { app, connection, pass } = connect(context, refuse);
  await connection.call("predict");
  app.hidden = true;
  await pass(60);
  assert.equal(app.sent.length, 1);
  app.hidden = false;
  connection.wake();
  connection.wake();
  await pass(1);
  assert.equal(app.sent.length, 2);
});

test("a delivery waits for the app and is tried three times at most", async (context) => {
  const { app, connection, pass } = connect(context, refuse);
  let waits = 0;
  const first = connection.deliver("give_feedback", {}, { onWait: () => (waits += 1) });
  await pass(1);
  app.answer = () => json({ done: true });
  await pass(2);
  assert.deepEqual(await first, { done: true });
  assert.equal(waits, 1);

  app.answer = (name) => (name === "news" ? json({}) : json({}, { status: 502 }));
  const second = connection.deliver("give_feedback", {});
  await pass(30);
  assert.ok((await second).unavailable);
  assert.equal(app.sent.filter(([name]) => name === "give_feedback").length, 2 + 3);
});

test("a refusal is its sentence, and the app is not taken to be away", async (context) => {
  const { connection } = connect(context, () => json({ detail: "Too large." }, { status: 413 }));
  assert.deepEqual(await connection.call("predict"), { error: "Too large." });
  assert.equal(connection.state, "up");
});
