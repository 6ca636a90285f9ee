// Everything that the page runs besides Gradio. It stands in the page's head, so it runs first.

import {} from "./clock.js";
import {} from "./compare.js";
import {} from "./confusion_matrices.js";
import {} from "./feedback_view.js";
import {} from "./file_drop.js";
import {} from "./open_figure.js";
import {} from "./panel_section.js";
import {} from "./sort_tables.js";
import { ownerToken } from "./page_state.js";

// For Gradio's events of owner-only handlers: the token is never written into the page.
addEventListener("digitcnn-owner", (event) => {
  /** @type {CustomEvent} */ (event).detail.token = ownerToken();
});
