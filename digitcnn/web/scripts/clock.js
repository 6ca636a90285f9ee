// Checks once a second whether the page is stale. Browsers only slow down the timers of a hidden tab,
// so this one does nothing there.

import { connection, notePageState } from "./page_state.js";

const CHECK_EVERY = 1000; // milliseconds
const REFRESH_HIDDEN_EVERY = 4000; // for progress that is not visible
const REFRESH_ALWAYS_EVERY = 60000; // for a page that is not stale, to keep its session alive

class ClockElement extends HTMLElement {
  connectedCallback() {
    if (this.dataset.started) return;
    this.dataset.started = "true";
    startClock(this.dataset.progress ?? "");
  }
}

/** @param {string} progress a selector of the elements that show progress */
function startClock(progress) {
  let checking = false;
  let refreshed = performance.now(); // when the last refresh was requested; loading the page is one

  const ownVersion = () =>
    /** @type {HTMLInputElement | null} */ (
      document.querySelector("#page-version :is(textarea, input)")
    )?.value ?? "";

  const progressIsVisible = () =>
    progress !== "" &&
    [...document.querySelectorAll(progress)].some((part) => part.getClientRects().length > 0);

  function refresh() {
    refreshed = performance.now();
    document.getElementById("page-refresh")?.click();
  }

  async function check() {
    if (checking || document.hidden || connection.state !== "up") return;
    const elapsed = performance.now() - refreshed;
    checking = true;
    // Also before a refresh: Gradio gives up after an event that gets no response.
    const state = await connection.call("page_state");
    checking = false;
    if (state.error) return;
    notePageState(state);
    const own = ownVersion();
    const isLate = elapsed >= REFRESH_HIDDEN_EVERY;
    const isStale = state.version !== own && (own !== "" || isLate);
    const isRunning = own.endsWith(" running");
    const isDue = elapsed >= REFRESH_ALWAYS_EVERY || (isRunning && (isLate || progressIsVisible()));
    if (isStale || isDue) refresh();
  }

  check();
  setInterval(check, CHECK_EVERY);
  document.addEventListener("visibilitychange", check);
}

customElements.define("digitcnn-clock", ClockElement);
