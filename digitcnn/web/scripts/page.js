// All of the page's own scripts. They are in the page's head, so they run before Gradio's.

import "./announce.js";
import "./clock.js";
import "./compare.js";
import "./confusion_matrices.js";
import "./dialogs.js";
import "./feedback_view.js";
import "./file_drop.js";
import "./keep_focus.js";
import "./model_chip.js";
import "./open_figure.js";
import "./open_page.js";
import "./open_tab.js";
import "./owner.js";
import { ownerToken, visitor } from "./page_state.js";
import "./panel_section.js";
import "./results.js";
import "./runs.js";
import "./tables.js";
import "./swap_toast.js";
import "./tablists.js";
import "./toasts.js";
import "./tooltips.js";

// For Gradio's events of owner-only handlers: the token is never written into the page.
addEventListener("digitcnn-owner", (event) => {
  /** @type {CustomEvent} */ (event).detail.secret = ownerToken();
});

// For Gradio's events that count each browser once.
addEventListener("digitcnn-visitor", (event) => {
  /** @type {CustomEvent} */ (event).detail.secret = visitor;
});
