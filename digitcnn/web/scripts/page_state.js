// What the page's parts share: the connection, who asks, the model, and what a reload brings back.

import { Connection } from "./calls.js";
import { embedded } from "./embedded.js";
import { appId, sendToGradio, watchGradio } from "./gradio.js";

const VISITOR_KEY = "digitcnn-visitor";
const TAB_KEY = "digitcnn-tab";
const MODEL_KEY = "digitcnn-model";
const SKETCH_KEY = "digitcnn-sketch";

/**
 * Calls where storage may be forbidden, as in some embedded pages.
 * @template T
 * @param {() => T} use
 * @returns {T | null}
 */
function whereAllowed(use) {
  try {
    return use();
  } catch {
    return null;
  }
}

// ---- The connection ----------------------------------------------------------------------------

let holds = 0; // reasons not to load the page again yet
let restarted = false;

export const connection = new Connection({
  send: sendToGradio,
  probe: "page_state",
  isHidden: () => document.hidden,
});
watchGradio(connection, () => connection.state === "up" && holds === 0);
document.addEventListener("visibilitychange", () => connection.wake());
connection.addEventListener("probe", (event) => {
  notePageState(/** @type {CustomEvent} */ (event).detail);
});

/**
 * Delays a reload of the page until a promise has settled.
 * @template T
 * @param {Promise<T>} work
 * @returns {Promise<T>}
 */
export async function holdReload(work) {
  holds += 1;
  try {
    return await work;
  } finally {
    holds -= 1;
    reloadIfRestarted();
  }
}

function reloadIfRestarted() {
  // A macrotask later: whoever waited for the app sends first what it has kept.
  setTimeout(() => {
    if (restarted && holds === 0 && connection.state === "up") location.reload();
  }, 50);
}

/** @param {(notice: string) => void} show called now and when the state of the connection changes */
export function onConnection(show) {
  connection.addEventListener("state", () => show(connection.notice));
  if (connection.notice) show(connection.notice);
}

// ---- The login ---------------------------------------------------------------------------------

let login = "";
let lastEverybody = "null"; // the score of all visitors, as the app last reported it
/** @type {(value: void) => void} */
let setLoginKnown;
/** Settles once it is known who is logged in. */
export const loginKnown = new Promise((resolve) => (setLoginKnown = resolve));

/**
 * Takes note of the app's state, which the clock requests once a second.
 * @param {import("./calls.js").Reply} state
 */
export function notePageState(state) {
  if (state.error) return;
  login = state.login;
  setLoginKnown();
  const everybody = JSON.stringify(state.everybody ?? null);
  if (everybody !== lastEverybody) {
    lastEverybody = everybody;
    dispatchEvent(new CustomEvent("digitcnn-everybody", { detail: state.everybody ?? null }));
  }
  if (state.app !== appId()) {
    restarted = true; // the page's session is gone, and its components may be others
    reloadIfRestarted();
  }
}

// ---- Who asks ----------------------------------------------------------------------------------

export const newSecret = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");

const storedVisitor = whereAllowed(() => localStorage.getItem(VISITOR_KEY)) ?? "";

/** Whether this browser has not been here before. */
export const isFirstVisit = !/^[0-9a-f]{32}$/.test(storedVisitor);

/** A secret that marks this browser's feedback. Lasts as long as the page without storage. */
export const visitor = isFirstVisit ? newSecret() : storedVisitor;
if (isFirstVisit) whereAllowed(() => localStorage.setItem(VISITOR_KEY, visitor));

// The token outlasts a reload in the state of the tab's history entry, not in a storage. Gradio
// replaces that state without looking at it, so every replacement keeps the token.
let owner = String(history.state?.owner ?? "");
const replaceState = history.replaceState.bind(history);
history.replaceState = (state, unused, url) =>
  replaceState(owner ? { ...state, owner } : state, unused, url);

/** The owner's token; empty for a visitor, and where the page is embedded. */
export const ownerToken = () => (embedded ? "" : owner);

const tokenGiven = new EventTarget();

/** Calls back when an owner link is opened on this page. @param {() => void} callback */
export const onOwnerToken = (callback) => tokenGiven.addEventListener("token", callback);

/** Moves the token of an owner link out of the address. */
function takeOwnerToken() {
  const match = /^#owner=(.+)$/.exec(location.hash);
  if (!match) return;
  const token = whereAllowed(() => decodeURIComponent(match[1]));
  if (token !== null) {
    owner = token; // else it is not a token of ours
    tokenGiven.dispatchEvent(new Event("token"));
  }
  history.replaceState(history.state, "", location.pathname + location.search);
}
takeOwnerToken();
addEventListener("hashchange", takeOwnerToken);

// ---- The model ---------------------------------------------------------------------------------

let model = "";

/** The name of the model chosen above the tabs. */
export const modelName = () => model;

addEventListener("digitcnn-model", (event) => {
  model = /** @type {CustomEvent} */ (event).detail ?? "";
});

// ---- What a reload brings back -----------------------------------------------------------------

// Of this browser tab only: another one starts with the app's choice.
addEventListener("digitcnn-store-model", (event) => {
  const text = JSON.stringify(/** @type {CustomEvent} */ (event).detail);
  whereAllowed(() => sessionStorage.setItem(MODEL_KEY, text));
});
addEventListener("digitcnn-stored-model", (event) => {
  const stored = whereAllowed(() => sessionStorage.getItem(MODEL_KEY)) ?? "";
  /** @type {CustomEvent} */ (event).detail.stored = stored;
});

const sketchKey = () => SKETCH_KEY + (login && `-${login}`);

/** @param {import("./strokes.js").StoredSketch} sketch */
export function storeSketch({ strokes, given, ...rest }) {
  whereAllowed(() => {
    if (strokes.length === 0 || connection.state === "logged out") forgetSketch();
    else {
      const stored = {
        ...rest,
        strokes: strokes.map(({ began, points }) => ({ began, points })),
        given: Object.fromEntries(given),
      };
      sessionStorage.setItem(sketchKey(), JSON.stringify(stored));
    }
  });
}

/** @returns {any} what `storeSketch` wrote under the same login; null without it */
export function storedSketch() {
  return whereAllowed(() => {
    const stored = sessionStorage.getItem(sketchKey());
    if (stored === null) forgetSketch(); // another login's
    return JSON.parse(stored ?? "null");
  });
}

function forgetSketch() {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(SKETCH_KEY)) sessionStorage.removeItem(key);
  }
}

connection.addEventListener("state", () => {
  if (connection.state === "logged out") {
    whereAllowed(() => {
      forgetSketch();
      sessionStorage.removeItem(TAB_KEY);
      sessionStorage.removeItem(MODEL_KEY);
    });
  }
});

const TABS = ".lab-tabs [data-tab-id]:not(.sub-tabs [role=tab])";

document.addEventListener("click", (event) => {
  const tab = /** @type {Element} */ (event.target).closest?.(TABS);
  if (tab) whereAllowed(() => sessionStorage.setItem(TAB_KEY, tab.textContent?.trim() ?? ""));
});

/** Chooses the tab that a link names or that was open before a reload, once the page is built. */
function returnToTab() {
  const [entry] = /** @type {PerformanceNavigationTiming[]} */ (
    performance.getEntriesByType("navigation")
  );
  const linked = new URLSearchParams(location.search).get("tab") ?? "";
  const stored = whereAllowed(() => sessionStorage.getItem(TAB_KEY)) ?? "";
  // A link's tab, until another is chosen on the page.
  const name = (linked && !(stored && entry?.type === "reload") ? linked : stored).toLowerCase();
  if (!name) return;
  const look = () => {
    const tabs = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(TABS)]);
    if (tabs.length === 0) return false;
    tabs.find((tab) => tab.textContent?.trim().toLowerCase() === name)?.click();
    return true;
  };
  const observer = new MutationObserver(() => {
    if (look()) observer.disconnect();
  });
  observer.observe(document.documentElement, { childList: true, subtree: true });
}
returnToTab();
