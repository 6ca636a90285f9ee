// Places a popover below the element that it belongs to, inside the window.

const GAP = 4; // pixels between the two
const EDGE = 8; // between a popover and the window's edge

/**
 * Shows a popover below an element, or above it where there is no room below.
 * @param {HTMLElement} popover
 * @param {HTMLElement} anchor
 */
export function showAt(popover, anchor) {
  // @ts-expect-error The types lack the source, from which the Tab key goes into the popover.
  popover.showPopover({ source: anchor });
  placeAt(popover, anchor);
}

/**
 * Places an open popover again, for example after scrolling.
 * @param {HTMLElement} popover
 * @param {Element} anchor
 */
export function placeAt(popover, anchor) {
  const box = anchor.getBoundingClientRect();
  const below = box.bottom + GAP;
  const fits = below + popover.offsetHeight + EDGE <= innerHeight;
  const top = fits ? below : Math.max(EDGE, box.top - GAP - popover.offsetHeight);
  popover.style.top = `${top}px`;
  popover.style.left = `${Math.max(EDGE, Math.min(box.left, innerWidth - popover.offsetWidth - EDGE))}px`;
}
