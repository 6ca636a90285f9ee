// What the page knows of Gradio beyond its documentation. Everything of that kind stands here.

/** @type {any} */
const page = window;

/** @type {(hash: string) => void} */
let setSession;
/** The page's session: in the address or the body of Gradio's first requests, and nowhere else. */
const session = new Promise((resolve) => (setSession = resolve));
const SESSION_PATIENCE = 5000; // milliseconds; without one a call works too, in a session of its own

/** The app's process; another one has restarted. */
export const appId = () => page.gradio_config.app_id;

/**
 * Posts a call to a function that a component has in `server_functions`. Gradio's own caller
 * returns undefined whatever goes wrong; this one gives the response.
 * @param {string} name
 * @param {object} payload
 * @param {AbortSignal} signal
 */
export async function sendToGradio(name, payload, signal) {
  const { root, api_prefix: prefix = "", components } = page.gradio_config;
  /** @param {any} part */
  const has = ({ props }) => props.server_fns?.includes(name);
  const component = components.find(has);
  if (!component) throw new Error(`No component has the function ${name}.`);
  const without = new Promise((resolve) => setTimeout(resolve, SESSION_PATIENCE, "page"));
  const body = {
    data: payload,
    component_id: component.id,
    fn_name: name,
    session_hash: await Promise.race([session, without]),
  };
  return fetch(`${root.replace(/\/$/, "")}${prefix}/component_server/`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

/**
 * Looks at Gradio's own requests. After an event that got no response Gradio asks for the app's id
 * every two seconds, also in a hidden tab, and loads the page again when it gets it. Here such a
 * request fails without being sent until `mayReload`.
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
    const named = /session_hash\W+(\w+)/.exec(`${address} ${init?.body}`);
    if (named) setSession(named[1]);
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
