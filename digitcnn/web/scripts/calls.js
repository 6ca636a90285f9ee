// All calls to the app. A call ends as the app's reply or as an error, never as undefined and
// never by throwing. While the app does not respond, nothing is sent but one probe for all callers.

export const NOT_RESPONDING = "digitcnn is not responding. Your drawing is kept; retrying…";
export const LOGGED_OUT = "Log in again.";

const PATIENCE = 15000; // milliseconds until a call that is not answered has failed
const PROBE_PATIENCE = 5000;
// Failures after which probes are sent at longer intervals.
const QUICK_FAILURES = 3;
const QUICK = 1500; // milliseconds to the next probe
const SLOW = [10000, 12000]; // at random between these, so that many pages do not probe together
const LONGEST_TIMER = 60000; // a Retry-After may be longer than a timer can be
const STABLE = 15000; // milliseconds without a failure that end an outage

/** @typedef {"up" | "down" | "logged out"} State */
/** @typedef {Record<string, any>} Reply with `error`, a sentence, where the call failed */
/** @typedef {{ kind: "reply", reply: Reply } | { kind: "refused", error: string }
 *   | { kind: "logged out" | "down", retryAfter: number }} Outcome */

/**
 * Interprets a response.
 * @param {Response} response
 * @returns {Promise<Outcome>}
 */
export async function outcomeOf(response) {
  const body = await response.json().catch(() => null); // an HTML page is not an answer
  const isObject = typeof body === "object" && body !== null;
  if (response.ok && isObject) return { kind: "reply", reply: body };
  const retryAfter = retryAfterOf(response.headers.get("Retry-After"), Date.now());
  if (response.status === 401) return { kind: "logged out", retryAfter };
  const isTransient = [408, 425, 429].includes(response.status);
  if (response.status >= 400 && response.status < 500 && !isTransient && isObject) {
    const known = typeof body.detail === "string" ? body.detail : "";
    return { kind: "refused", error: known || "The app refused the request; reload the page." };
  }
  return { kind: "down", retryAfter };
}

/**
 * Returns milliseconds for a Retry-After header, given in seconds or as a date; 0 without one.
 * @param {string | null} header
 * @param {number} now milliseconds since 1970
 */
export function retryAfterOf(header, now) {
  if (!header) return 0;
  const seconds = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : 0;
}

export class Connection extends EventTarget {
  /** @type {State} */
  state = "up";
  #failures = 0; // of this outage
  #failedAt = -Infinity;
  #due = 0; // when the next probe may be sent
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #probing = false;

  /**
   * Dispatches "state" when the state changes, and "probe" with each reply to a probe.
   * @param {{
   *   send: (name: string, payload: object, signal: AbortSignal) => Promise<Response>,
   *   probe: string,
   *   isHidden?: () => boolean,
   *   now?: () => number,
   *   random?: () => number,
   * }} options send: posts a call; probe: the function that is asked whether the app is up
   */
  constructor({ send, probe, isHidden = () => false, now = Date.now, random = Math.random }) {
    super();
    this.send = send;
    this.probe = probe;
    this.isHidden = isHidden;
    this.now = now;
    this.random = random;
  }

  /** A notice for people while the app is not available; empty while it is. */
  get notice() {
    return { up: "", down: NOT_RESPONDING, "logged out": LOGGED_OUT }[this.state];
  }

  /**
   * Calls a function of the app; sends nothing while the app is known to be down.
   * @param {string} name
   * @param {object} [payload]
   * @returns {Promise<Reply>} `unavailable` is true where it is worth trying again
   */
  async call(name, payload = {}) {
    if (this.state === "up") {
      const outcome = await this.#request(name, payload, PATIENCE);
      if (outcome.kind === "reply") return outcome.reply;
      if (outcome.kind === "refused") return { error: outcome.error };
      this.#fail(outcome);
    }
    return { error: this.notice || NOT_RESPONDING, unavailable: true };
  }

  /**
   * Calls until the app has replied, at most `tries` times. For calls that are safe to repeat.
   * @param {string} name
   * @param {object} payload
   * @param {{ tries?: number, onWait?: (reply: Reply) => void }} [options]
   */
  async deliver(name, payload, { tries = 3, onWait } = {}) {
    let reply = await this.call(name, payload);
    for (let left = tries - 1; reply.unavailable && left > 0; left -= 1) {
      onWait?.(reply);
      await this.whenUp();
      reply = await this.call(name, payload);
    }
    return reply;
  }

  /** @returns {Promise<void>} */
  whenUp() {
    if (this.state === "up") return Promise.resolve();
    return new Promise((resolve) => {
      const onState = () => {
        if (this.state !== "up") return;
        this.removeEventListener("state", onState);
        resolve();
      };
      this.addEventListener("state", onState);
    });
  }

  /** Reports a request to the app, sent elsewhere, that got no response. */
  suspect() {
    if (this.state === "up") this.#fail({ kind: "down", retryAfter: 0 });
  }

  /** Sends a due probe; called when the page becomes visible. */
  wake() {
    if (this.state === "up" || this.#probing || this.isHidden()) return;
    clearTimeout(this.#timer);
    const wait = this.#due - this.now();
    if (wait > 0) this.#timer = setTimeout(() => this.wake(), Math.min(wait, LONGEST_TIMER));
    else this.#ask();
  }

  async #ask() {
    if (this.state === "up" || this.#probing || this.isHidden()) return;
    this.#probing = true;
    const outcome = await this.#request(this.probe, {}, PROBE_PATIENCE);
    this.#probing = false;
    if (outcome.kind === "reply") {
      this.#failures += 1; // counts as a failure until the app has been stable for a while
      this.#setState("up");
      this.dispatchEvent(new CustomEvent("probe", { detail: outcome.reply }));
    } else {
      this.#fail(outcome.kind === "refused" ? { kind: "down", retryAfter: 0 } : outcome);
    }
  }

  /**
   * @param {string} name
   * @param {object} payload
   * @param {number} patience
   * @returns {Promise<Outcome>}
   */
  async #request(name, payload, patience) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), patience);
    try {
      return await outcomeOf(await this.send(name, payload, stop.signal));
    } catch {
      return { kind: "down", retryAfter: 0 };
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {{ kind: "logged out" | "down", retryAfter: number }} outcome */
  #fail({ kind, retryAfter }) {
    const now = this.now();
    if (now - this.#failedAt > STABLE && this.state === "up") this.#failures = 0;
    this.#failures += 1;
    this.#failedAt = now;
    const [least, most] = SLOW;
    const quick = this.#failures < QUICK_FAILURES;
    const wait = quick ? QUICK : least + (most - least) * this.random();
    this.#due = Math.max(this.#due, now + Math.max(wait, retryAfter));
    this.#setState(kind);
    this.wake();
  }

  /** @param {State} state */
  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
