// Opens a tab, also by <button data-open-tab="Sketchpad">, which clears the pad; <button
// data-shows="ID"> brings an element into sight.

/** @param {string} name */
export function openTab(name) {
  const tabs = /** @type {HTMLElement[]} */ ([
    ...document.querySelectorAll(".lab-tabs [role=tab]"),
  ]);
  const tab = tabs.find(({ textContent }) => textContent?.trim() === name);
  tab?.click();
  tab?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  const button = /** @type {Element} */ (event.target).closest?.("[data-open-tab]");
  if (!(button instanceof HTMLElement)) return;
  openTab(button.dataset.openTab ?? "");
  if (button.dataset.openTab === "Sketchpad") dispatchEvent(new Event("digitcnn-draw"));
});

document.addEventListener("click", (event) => {
  const button = /** @type {Element} */ (event.target).closest?.("[data-shows]");
  if (!(button instanceof HTMLElement)) return;
  document.getElementById(button.dataset.shows ?? "")?.scrollIntoView();
});
