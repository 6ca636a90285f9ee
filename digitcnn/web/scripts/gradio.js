// All uses of Gradio's undocumented behaviour by the page's scripts.

import { embedded } from "./embedded.js";

const EMBEDDED = { "X-Digitcnn-Embedded": "1" };

/** @type {any} */
const page = window;

/** @typedef {{ base: string, session: string }} Place the app's address and the page's session */
/** @type {(place: Place) => void} */
let setPlace;
let isPlaced = false;
/** The address and session of Gradio's first requests, known from no other source. */
const place = new Promise((/** @type {(place: Place) => void} */ resolve) => {
  setPlace = (found) => {
    isPlaced = true;
    resolve(found);
  };
});
const PATIENCE = 5000; // milliseconds for these; without them calls have a session of their own
let waits = false; // for these

/** Identifies the app's process; a new id means that the app has restarted. */
export const appId = () => page.gradio_config.app_id;

/**
 * Posts a call to a function that a component has in `server_functions`. Gradio's own caller
 * returns undefined whatever goes wrong; this one gives the response.
 * @param {string} name
 * @param {object} payload
 * @param {AbortSignal} signal
 */
export async function sendToGradio(name, payload, signal) {
  /** @param {any} part */
  const has = ({ props }) => props.server_fns?.includes(name);
  const component = page.gradio_config.components.find(has);
  if (!component) throw new Error(`No component has the function ${name}.`);
  if (!waits) setTimeout(setPlace, PATIENCE, { base: page.gradio_config.root, session: "page" });
  waits = true;
  const { base, session } = await place;
  return fetch(`${base}/gradio_api/component_server/`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      data: payload,
      component_id: component.id,
      fn_name: name,
      session_hash: session,
    }),
    signal,
  });
}

/**
 * Wraps Gradio's own requests. After an event without a response, Gradio requests the app's id every
 * two seconds, also in a hidden tab, and reloads the page when it gets it. Here such a request fails
 * without being sent until `mayReload`.
 * @param {import("./calls.js").Connection} connection
 * @param {() => boolean} mayReload
 */
export function watchGradio(connection, mayReload) {
  const plain = window.fetch;
  window.fetch = async (input, init) => {
    const address = input instanceof Request ? input.url : String(input);
    const { origin, pathname } = new URL(address, location.href);
    const route = /\/gradio_api\/(\w+)/.exec(pathname)?.[1];
    if (origin !== location.origin || !route) return plain(input, init);
    const named = isPlaced ? null : /session_hash\W+(\w+)/.exec(`${address} ${init?.body}`);
    if (named) setPlace({ base: address.split("/gradio_api/")[0], session: named[1] });
    if (embedded) {
      const given = init?.headers ?? (input instanceof Request ? input.headers : undefined);
      const headers = new Headers(given);
      for (const [name, value] of Object.entries(EMBEDDED)) headers.set(name, value);
      init = { ...init, headers };
    }
    if (route === "app_id" && !mayReload()) throw new TypeError("The app is not available.");
    try {
      return await plain(input, init);
    } catch (error) {
      const given = init?.signal ?? (input instanceof Request ? input.signal : null);
      if (!given?.aborted && route !== "component_server") connection.suspect();
      throw error;
    }
  };
}

const SLIDER_NUMBER = '[id^="train-"] [data-testid="number-input"]';

// Gradio replaces a number outside a slider's bounds with the nearest bound when its field is left.
// Here it stays, and the app says what is wrong with it.
document.addEventListener(
  "blur",
  (event) => {
    if (/** @type {Element} */ (event.target).matches?.(SLIDER_NUMBER)) event.stopPropagation();
  },
  true,
);
