// Checks once a second whether the page is behind the app. Browsers only slow down the timers of a
// hidden tab, so this one does nothing there.

import { connection, noteNews } from "./page_state.js";

const EACH = 1000; // milliseconds between two calls
const UNSEEN = 4000; // between two updates of progress that is out of sight
const LONGEST = 60000; // between two updates of a page that is not behind, to keep its session

class ClockElement extends HTMLElement {
  connectedCallback() {
    if (this.dataset.started) return;
    this.dataset.started = "true";
    startClock(this.dataset.seenIn ?? "");
  }
}

/** @param {string} places a selector of where progress can be seen */
function startClock(places) {
  let asking = false;
  let updated = performance.now(); // when the last update was requested; loading the page is one

  const shown = () =>
    /** @type {HTMLInputElement | null} */ (
      document.querySelector("#page-shown :is(textarea, input)")
    )?.value ?? "";

  const inSight = () =>
    places !== "" &&
    [...document.querySelectorAll(places)].some((place) => place.getClientRects().length > 0);

  function update() {
    updated = performance.now();
    document.getElementById("page-behind")?.click();
  }

  async function check() {
    if (asking || document.hidden || connection.state !== "up") return;
    const since = performance.now() - updated;
    const moving = shown().endsWith(" moving");
    asking = true;
    // Also before an update: Gradio gives up after an event that gets no response.
    const news = await connection.call("page_news");
    asking = false;
    if (news.error) return;
    noteNews(news);
    const isBehind = news.state !== shown() && (shown() !== "" || since >= UNSEEN);
    const isDue = since >= LONGEST || (moving && (since >= UNSEEN || inSight()));
    if (isBehind || isDue) update();
  }

  check();
  setInterval(check, EACH);
  document.addEventListener("visibilitychange", check);
}

customElements.define("digitcnn-clock", ClockElement);
