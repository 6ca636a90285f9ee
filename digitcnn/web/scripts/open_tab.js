// Buttons inside a tab that open another one: <button data-open-tab="Sketchpad">.

document.addEventListener("click", (event) => {
  const button = /** @type {Element} */ (event.target).closest?.("[data-open-tab]");
  if (!(button instanceof HTMLElement)) return;
  const tabs = /** @type {HTMLElement[]} */ ([
    ...document.querySelectorAll(".lab-tabs [role=tab]"),
  ]);
  const tab = tabs.find(({ textContent }) => textContent?.trim() === button.dataset.openTab);
  tab?.click();
  tab?.scrollIntoView({ block: "nearest" });
});
