// Passes a file dropped anywhere on an area that accepts files (the selector's row, the models of
// Compare) to the file input in it, unless the input's own zone has handled the drop.

/** @param {Event} event @returns {Element | null} */
const placeOf = (event) => /** @type {Element} */ (event.target).closest?.(".takes-files") ?? null;

document.addEventListener("dragover", (event) => {
  const place = placeOf(event);
  if (!place) return;
  event.preventDefault();
  place.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => placeOf(event)?.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  const place = placeOf(event);
  const input = /** @type {HTMLInputElement | null | undefined} */ (
    place?.querySelector("input[type=file]")
  );
  place?.classList.remove("dropping");
  const files = event.dataTransfer?.files;
  if (event.defaultPrevented || !input || !files?.length) return;
  event.preventDefault();
  input.files = files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
