// Opens a clicked figure in full, on a phone larger than the screen; another click or Escape closes
// it.

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const open = target.closest("dialog.full-figure[open]");
  if (open instanceof HTMLDialogElement) {
    open.close();
    return;
  }
  const button = target.closest("figure[data-figure] > button");
  const dialog = button?.parentElement?.nextElementSibling;
  const image = dialog?.querySelector("img");
  if (!button || !(dialog instanceof HTMLDialogElement) || !image) return;
  image.src = button.querySelector("img")?.src ?? "";
  dialog.showModal();
});
