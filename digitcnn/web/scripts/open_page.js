// Opens pages that the app wrote, reports and worksheets, in a tab of their own. They load nothing and
// run no scripts; see document.html.

import { addressOf, saveFile } from "./dom.js";

/**
 * Opens a page that the app sent as base64; saves it where the browser forbids a new tab.
 * @param {{ [key: string]: any }} file with `name`, `type` and `content`
 */
export function openPage(file) {
  // Its address stays valid, since the tab can be loaded again.
  const tab = window.open(addressOf(file));
  if (tab) tab.opener = null;
  else saveFile(file);
}

// A browser opens no data address by itself.
document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a.opens-page");
  if (!(link instanceof HTMLAnchorElement)) return;
  event.preventDefault();
  const [type, content] = link.href.slice("data:".length).split(";base64,");
  openPage({ name: link.download, type, content });
});
