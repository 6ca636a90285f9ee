// The keyboard's way through all tab lists, Gradio's and the panels', as in WAI-ARIA's tabs pattern:
// the arrow keys, Home and End move between the tabs, the Tab key goes past them.

const LIST = "[role=tablist]";

/** @param {Element | null} list */
function tabsOf(list) {
  const tabs = list?.querySelectorAll("[role=tab]") ?? [];
  return /** @type {HTMLElement[]} */ ([...tabs]);
}

document.addEventListener("keydown", (event) => {
  const tab = /** @type {HTMLElement} */ (event.target);
  const tabs = tabsOf(tab.closest(LIST));
  const place = tabs.indexOf(tab);
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -place, End: tabs.length - 1 - place };
  const step = steps[/** @type {keyof steps} */ (event.key)];
  if (place < 0 || step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const next = tabs[(place + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

// Gradio's tabs are all in the Tab key's order.
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const element = /** @type {Element} */ (target);
    for (const list of [element.closest(LIST), ...element.querySelectorAll(LIST)]) {
      for (const tab of tabsOf(list)) {
        tab.tabIndex = tab.getAttribute("aria-selected") === "true" ? 0 : -1;
      }
    }
  }
}).observe(document, {
  attributeFilter: ["aria-selected"],
  childList: true,
  subtree: true,
});
