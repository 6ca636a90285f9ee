// Shows titles as tooltips on hover and on focus, and those of terms on touch. Browsers show titles
// only to the mouse, and late.

import { make } from "./dom.js";
import { placeAt, showAt } from "./popovers.js";

const TITLED = ":is(.term, .button, .badge, .table-view thead button)";
const HOVER = 300; // milliseconds that the pointer rests before the tooltip appears

/** @type {HTMLElement | null} */
let tooltip = null;
/** @type {HTMLElement | null} the element whose tooltip is shown or about to be */
let shown = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @param {EventTarget | null} target @returns {HTMLElement | null} */
function titled(target) {
  const element = target instanceof Element ? target.closest(TITLED) : null;
  if (!(element instanceof HTMLElement)) return null;
  if (element.title) {
    // Otherwise the browser would show its own as well. Screen readers read it as before.
    element.dataset.about = element.title;
    element.ariaDescription = element.title;
    element.removeAttribute("title");
  }
  return element.dataset.about ? element : null;
}

/** @param {HTMLElement} element */
function show(element) {
  if (!tooltip) {
    tooltip = make("div", "tooltip");
    tooltip.popover = "manual";
    tooltip.ariaHidden = "true"; // the element has the text as its description
  }
  // Inside an open dialog, since everything outside it is inert.
  (element.closest("dialog") ?? document.body).append(tooltip);
  tooltip.textContent = element.dataset.about ?? "";
  shown = element;
  showAt(tooltip, element);
  rendered.observe(element, { attributeFilter: ["title"] });
}

// A status is rendered again each second, and then the element may be that of another term.
const rendered = new MutationObserver(() => {
  if (!tooltip || !shown || !titled(shown)) return;
  tooltip.textContent = shown.dataset.about ?? "";
  placeAt(tooltip, shown);
});

function hide() {
  clearTimeout(timer);
  if (tooltip?.matches(":popover-open")) tooltip.hidePopover();
  rendered.disconnect();
  shown = null;
}

document.addEventListener("pointerover", (event) => {
  const element = titled(event.target);
  if (event.pointerType === "touch" || element === shown) return;
  // The page may have scrolled under a resting mouse, to what the keyboard focused.
  if (!element && shown?.matches(":focus-visible")) return;
  hide();
  if (element) timer = setTimeout(show, HOVER, element);
});
document.addEventListener("focusin", ({ target }) => {
  const element = titled(target);
  hide();
  if (element?.matches(":focus-visible")) show(element);
});
document.addEventListener("focusout", hide);
document.addEventListener("click", (event) => {
  const element = titled(event.target);
  if (!element && !event.isTrusted) return; // a script's, such as the clock's each second
  const again = element === shown && tooltip?.matches(":popover-open");
  hide();
  const explains = element?.matches(".term, .badge, thead button");
  if (element && explains && !again) show(element);
});
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") hide();
});
// Focus by keyboard scrolls to the element.
addEventListener(
  "scroll",
  () => {
    if (shown && tooltip?.matches(":popover-open")) placeAt(tooltip, shown);
  },
  { capture: true, passive: true },
);
