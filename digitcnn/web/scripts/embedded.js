// Whether the page is embedded: opened with ?embed=1, or inside a page of another origin. Such a page
// has no owner: it sends no token, and marks its calls so that the app refuses what owners may do.

/** @param {Window} view @returns {boolean} whether a window around it is another origin's */
export function isInForeignFrame(view) {
  for (let inner = view; inner !== inner.parent; inner = inner.parent) {
    try {
      if (inner.parent.location.origin !== view.location.origin) return true;
    } catch {
      return true; // access to another origin's window throws
    }
  }
  return false;
}

export const embedded =
  new URLSearchParams(location.search).getAll("embed").includes("1") || isInForeignFrame(window);

if (embedded) document.documentElement.dataset.embedded = "true";
