// Once a second: is the page behind the app? Not in a hidden tab: browsers slow its timers down by
// themselves, but go on with them for days.
//
// Runs once, when Gradio has put the clock on the page, with these at hand:
//   element  holds the markup
//   server   page_news({}) answers with {state}: what a page that is up to date shows

const EACH = 1000; // milliseconds between two questions
const UNSEEN = 4000; // between two updates of what moves where nobody looks
const LONGEST = 60000; // between two updates of a page that is not behind: its session lives on

const places = element.querySelector("[data-seen-in]").dataset.seenIn;
let asking = false;
let updated = performance.now(); // when an update was asked for last, as by the load of the page

const shown = () => document.querySelector("#page-shown :is(textarea, input)")?.value ?? "";

const inSight = () =>
  Boolean(places) &&
  [...document.querySelectorAll(places)].some((place) => place.getClientRects().length > 0);

function update() {
  updated = performance.now();
  document.getElementById("page-behind")?.click();
}

async function look() {
  if (asking || document.hidden || !element.isConnected) return;
  const since = performance.now() - updated;
  const moving = shown().endsWith(" moving");
  if (since >= LONGEST || (moving && (since >= UNSEEN || inSight()))) {
    update();
    return;
  }
  asking = true;
  try {
    const { state } = await server.page_news({});
    // Nothing shown yet: the load's own update is under way.
    if (state !== shown() && (shown() || since >= UNSEEN)) update();
  } catch {
    // The app is away, which Gradio says; it is asked again in a second.
  } finally {
    asking = false;
  }
}

setInterval(look, EACH);
document.addEventListener("visibilitychange", look);
