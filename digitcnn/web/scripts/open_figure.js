// Opens a clicked figure in full, on a phone larger than the screen, with a link that saves it. A
// click on the image or beside it, the cross or Escape closes it.

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const open = target.closest("dialog.full-figure[open]");
  if (open instanceof HTMLDialogElement) {
    if (!target.closest("form")) open.close();
    return;
  }
  const button = target.closest("figure[data-figure] > button");
  const dialog = button?.parentElement?.nextElementSibling;
  const address = button?.querySelector("img")?.src;
  if (!(dialog instanceof HTMLDialogElement) || !address) return;
  dialog.querySelector("img")?.setAttribute("src", address);
  dialog.querySelector("a")?.setAttribute("href", address);
  dialog.showModal();
  dialog.scrollTo(0, 0); // the focus is on the link at its end
});

const PAN = 0.5; // of the frame's width, for each press

// In the viewer of Gradio's gallery the arrow keys move a figure that is wider than its frame, before
// they go on to the next figure.
document.addEventListener(
  "keydown",
  (event) => {
    const viewer = /** @type {Element} */ (event.target).closest(".gallery-container > .preview");
    const frame = viewer?.querySelector(".media-button");
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!frame || !direction) return;
    const before = frame.scrollLeft;
    frame.scrollBy(direction * PAN * frame.clientWidth, 0);
    if (frame.scrollLeft === before) {
      frame.scrollTo(0, 0);
      return;
    }
    event.stopPropagation();
    event.preventDefault();
  },
  true, // before the gallery
);

// The viewer of Gradio's gallery takes the focus with it when it closes: it goes back to the figure.
for (const kind of ["keydown", "click"]) {
  document.addEventListener(
    kind,
    (event) => {
      const viewer = /** @type {Element} */ (event.target).closest(".gallery-container > .preview");
      if (!viewer) return;
      const thumbnails = [...viewer.querySelectorAll(".thumbnail-small")];
      const place = thumbnails.findIndex((thumbnail) => thumbnail.matches(".selected"));
      const figures = viewer.parentElement?.querySelectorAll("button.thumbnail-lg");
      requestAnimationFrame(() => {
        const figure = /** @type {HTMLElement | undefined} */ (figures?.[place]);
        if (!viewer.isConnected && document.activeElement === document.body) figure?.focus();
      });
    },
    true, // before the viewer is gone
  );
}
