// The Feedback section: a list with filters, changes to an entry, statistics, and files.
// Everything that people or files have named is written as text, never as HTML.

import { DIGITS, find, labelText, make, NONE, percent, saveFile } from "./dom.js";
import { openTab } from "./open_tab.js";
import { connection, onConnection, ownerToken, visitor } from "./page_state.js";
import { svg } from "./svg.js";

const ARMED = 4000; // milliseconds in which a second press deletes
const PAGE = 50;
/** @type {Record<string, string>} */
const UNFILTERED = { right: "any", digit: "any", model: "any" };

class FeedbackElement extends HTMLElement {
  connectedCallback() {
    if (this.dataset.started) return;
    this.dataset.started = "true";
    startFeedback(this);
  }
}

/** @param {string} text @param {string} id @param {string} className @param {() => void} onClick */
function button(text, id, className, onClick) {
  const made = make("button", `button ${className}`, text);
  made.type = "button";
  made.id = id;
  made.addEventListener("click", onClick);
  return made;
}

const labelOptions = () => [
  ...DIGITS.map((digit) => new Option(String(digit), String(digit))),
  new Option(labelText(NONE), NONE),
];

/**
 * Copies a chart of the app's as shapes: no other element and no other attribute comes along.
 * @param {string} text
 */
function chartOf(text) {
  const source = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  const shapes = [
    "svg",
    "g",
    "line",
    "path",
    "polyline",
    "rect",
    "circle",
    "text",
    "title",
    "desc",
  ];
  /** @param {Element} element @returns {Element | null} */
  const copy = (element) => {
    if (!shapes.includes(element.localName)) return null;
    const made = svg(element.localName, {});
    for (const { name, value } of element.attributes) {
      if (!/^on|href|^xmlns|^style$/i.test(name)) made.setAttribute(name, value);
    }
    for (const child of element.childNodes) {
      const part = child instanceof Element ? copy(child) : (child.textContent ?? "");
      if (part !== null) made.append(part);
    }
    return made;
  };
  return source.localName === "svg" ? copy(source) : null;
}

/** @param {HTMLElement} root */
function startFeedback(root) {
  const body = find(root, "#feedback-table tbody");
  const notice = find(root, ".said");
  const statistics = find(root, "#feedback-numbers");
  const modelFilter = find(root, "#feedback-filter-model");
  const filters = /** @type {HTMLSelectElement[]} */ ([
    ...root.querySelectorAll("select[data-filter]"),
  ]);

  const filterValues = () =>
    Object.fromEntries(filters.map(({ dataset, value }) => [String(dataset.filter), value]));

  /** @param {string} name @param {object} payload */
  const call = (name, payload) =>
    connection.call(name, { owner: ownerToken(), visitor, ...payload });

  function say(text = "", isError = false) {
    notice.textContent = text;
    notice.classList.toggle("wrong", isError);
  }

  // ---- The list --------------------------------------------------------------------------------

  let page = 0;
  let newest = 0; // the newest call wins

  async function refresh() {
    newest += 1;
    const asked = newest;
    const reply = await call("feedback_list", { ...filterValues(), page });
    if (asked !== newest) return;
    if (reply.error) {
      say(reply.error, true);
      return;
    }
    page = reply.page;
    showModels(reply.models);
    const focused = /** @type {HTMLButtonElement | null} */ (document.activeElement);
    const edited = body.querySelector("tr.editing")?.dataset.id;
    const wasInList = body.contains(focused);
    body.replaceChildren(...(reply.rows.length ? reply.rows.map(entryRow) : [emptyRow()]));
    const first = page * PAGE + 1;
    const last = first + reply.rows.length - 1;
    find(root, ".place").textContent = reply.total ? `${first} to ${last} of ${reply.total}` : "";
    find(root, "#feedback-page-newer").disabled = page === 0;
    find(root, "#feedback-page-older").disabled = page + 1 >= reply.pages;
    // What had the focus may be gone or disabled now.
    if (wasInList)
      (body.querySelector(`[data-id="${edited}"] .edit`) ?? find(root, ".list")).focus();
    else if (focused?.disabled && root.contains(focused)) find(root, ".list").focus();
    if (reply.notice) say(reply.notice, true);
    if (statistics.open) showStatistics();
  }

  /** @param {{ digest: string, name: string }[]} models */
  function showModels(models) {
    const chosen = modelFilter.value;
    const options = models.map(({ digest, name }) => new Option(name, digest));
    // A model without entries stays chosen, so that the list says so.
    if (chosen !== "any" && !models.some(({ digest }) => digest === chosen)) {
      options.push(new Option(chosen.slice(0, 8), chosen));
    }
    modelFilter.replaceChildren(new Option("Any", "any"), ...options);
    modelFilter.value = chosen;
  }

  function emptyRow() {
    const values = filterValues();
    const filtered = Object.entries(UNFILTERED).some(([name, value]) => values[name] !== value);
    const text = filtered
      ? "No feedback matches these filters."
      : "No feedback yet. Draw a digit and say whether the prediction is right.";
    const row = make("tr");
    const cell = make("td", "none", text);
    cell.colSpan = 8;
    row.append(cell);
    return row;
  }

  /** @param {any} entry */
  function entryRow(entry) {
    const row = make("tr");
    row.dataset.id = String(entry.id);
    const predicted = make("td");
    const image = make("img");
    image.src = entry.image;
    image.width = image.height = 28;
    image.alt = "";
    predicted.append(image, labelText(entry.answer));
    const given = new Date(entry.time);
    const time = make(
      "td",
      "wide",
      given.toLocaleString([], { dateStyle: "short", timeStyle: "short" }),
    );
    if (entry.corrected) {
      const corrected = make("span", "small", " corrected");
      corrected.title = new Date(entry.corrected).toLocaleString();
      time.append(corrected);
    }
    const model = make("td", "wide model", entry.model);
    model.title = `digest ${entry.digest}`;
    const change = make("td", "change");
    if (entry.may_change) {
      const edit = button("Edit", "", "edit", () => startEditing(row, entry));
      edit.ariaLabel = `Edit: predicted ${labelText(entry.answer)}, labelled ${labelText(entry.digit)}`;
      change.append(edit);
    }
    row.append(
      predicted,
      make("td", "", labelText(entry.digit)),
      make("td", entry.right ? "good" : "bad", entry.right ? "right" : "wrong"),
      // The confidence of the closest digit says nothing about a rejection.
      make("td", "sure", entry.answer === null ? "–" : percent(entry.confidence)),
      model,
      make("td", "wide", entry.mine ? "you" : entry.alias),
      time,
      change,
    );
    return row;
  }

  // ---- Changing an entry -----------------------------------------------------------------------

  /**
   * Opens the tools for an entry in a row after it; one entry at a time.
   * @param {HTMLTableRowElement} row
   * @param {any} entry
   */
  function startEditing(row, entry) {
    stopEditing();
    row.classList.add("editing");
    const tools = make("tr", "editing tools");
    const cell = make("td");
    cell.colSpan = 8;
    const editor = make("div", "editor");
    const label = make("label", "", "True digit ");
    const choice = make("select", "select");
    choice.id = "feedback-edit-digit";
    choice.append(...labelOptions());
    choice.value = String(entry.digit ?? NONE);
    label.append(choice);

    /** @param {string} name @param {object} change */
    const send = async (name, change) => {
      // What a change does is the same when it is done twice.
      const reply = await connection.deliver(
        name,
        { owner: ownerToken(), visitor, id: entry.id, ...change },
        { onWait: ({ error }) => say(`Not saved yet. ${error}`, true) },
      );
      say(
        reply.unavailable ? "The change was not saved; try again." : (reply.error ?? reply.done),
        Boolean(reply.error),
      );
      if (reply.error) return;
      refresh();
      dispatchEvent(new Event("digitcnn-correction")); // the pad shows the score
    };
    const save = button("Save", "feedback-edit-save", "", () => {
      send("feedback_correct", { digit: choice.value === NONE ? null : Number(choice.value) });
    });
    const erase = button("Delete", "feedback-edit-delete", "danger", () => {
      if (erase.classList.contains("armed")) {
        send("feedback_erase", {});
        return;
      }
      erase.classList.add("armed");
      erase.textContent = "Confirm delete";
      setTimeout(() => {
        erase.classList.remove("armed");
        erase.textContent = "Delete";
      }, ARMED);
    });
    const cancel = button("Cancel", "feedback-edit-cancel", "", () => {
      stopEditing();
      /** @type {HTMLElement | null} */ (row.querySelector(".edit"))?.focus();
    });
    editor.append(label, save, erase, cancel);
    editor.addEventListener("keydown", (event) => {
      if (event.key === "Escape") cancel.click();
    });
    cell.append(editor);
    tools.append(cell);
    row.after(tools);
    choice.focus();
  }

  function stopEditing() {
    body.querySelector("tr.tools")?.remove();
    body.querySelector("tr.editing")?.classList.remove("editing");
  }

  // ---- Statistics and files --------------------------------------------------------------------

  async function showStatistics() {
    const reply = await call("feedback_numbers", filterValues());
    if (reply.error) {
      say(reply.error, true);
      return;
    }
    for (const place of /** @type {NodeListOf<HTMLElement>} */ (
      root.querySelectorAll("[data-table]")
    )) {
      const { table = "", heads = "" } = place.dataset;
      place.replaceChildren(...tableOf(heads.split("|"), reply[table]));
    }
    find(root, ".calibration").textContent = reply.calibration;
    const chart = chartOf(reply.chart);
    find(root, ".chart").replaceChildren(...(chart ? [chart] : []));
  }

  /** @param {string[]} heads @param {string[][]} rows */
  function tableOf(heads, rows) {
    if (rows.length === 0) return [];
    const table = make("table");
    const head = make("tr");
    for (const text of heads) {
      const cell = make("th", "", text);
      cell.scope = "col";
      head.append(cell);
    }
    table.createTHead().append(head);
    const filled = table.createTBody();
    for (const [first, ...others] of rows) {
      const row = make("tr");
      const name = make("th", "", first);
      name.scope = "row";
      row.append(name, ...others.map((text) => make("td", "", text)));
      filled.append(row);
    }
    return [table];
  }

  /** @param {string} kind */
  async function download(kind) {
    const reply = await call("feedback_export", { kind });
    if (reply.error) {
      say(reply.error, true);
      return;
    }
    saveFile(reply);
    say(`Saved as ${reply.name}.`);
  }

  // ---- The owner's wall --------------------------------------------------------------------------

  const wall = find(root, "#feedback-wall");
  const eraseAll = find(root, "#feedback-erase-all");
  const opener = document.getElementById("wall-open");

  async function showWall() {
    if (document.documentElement.dataset.owner !== "true") return;
    const reply = await call("feedback_wall", {});
    if (reply.error) {
      say(reply.error, true);
      return;
    }
    const items = reply.rows.map((/** @type {any} */ entry) => {
      const item = make("li", entry.right ? "right" : "wrong");
      const image = make("img");
      image.src = entry.image;
      image.alt = "";
      const result = entry.right ? "right" : `wrong: it is ${labelText(entry.digit)}`;
      item.append(image, make("strong", "", labelText(entry.answer)), ` ${result}`);
      return item;
    });
    find(wall, ".wall").replaceChildren(...items);
    find(wall, ".wall-count").textContent =
      `${reply.total} sketch${reply.total === 1 ? "" : "es"} with feedback`;
    eraseAll.disabled = reply.total === 0;
    if (opener) opener.textContent = reply.visitors ? `Class wall (${reply.visitors})` : "";
  }

  addEventListener("digitcnn-owner-known", showWall);
  addEventListener("digitcnn-everybody", showWall);
  opener?.addEventListener("click", () => {
    openTab("Sketchpad");
    wall.open = true;
    requestAnimationFrame(() => {
      find(wall, "summary").focus({ preventScroll: true });
      wall.scrollIntoView();
    });
  });
  eraseAll.addEventListener("click", async () => {
    const all = find(wall, ".wall-count").textContent;
    if (!confirm(`Permanently delete everyone's feedback (${all})?`)) return;
    const reply = await call("feedback_erase_all", {});
    say(reply.error ?? reply.done, Boolean(reply.error));
    if (reply.error) return;
    find(wall, "summary").focus(); // the button is disabled now
    showWall();
    refresh();
    dispatchEvent(new Event("digitcnn-correction"));
  });

  // ---- Start -----------------------------------------------------------------------------------

  find(root, "#feedback-filter-digit").append(...labelOptions());
  for (const filter of filters) {
    filter.addEventListener("change", () => {
      page = 0;
      say();
      refresh();
    });
  }
  /** @param {number} step */
  const turn = (step) => {
    page += step;
    refresh();
  };
  find(root, "#feedback-refresh").addEventListener("click", refresh);
  find(root, "#feedback-page-newer").addEventListener("click", () => turn(-1));
  find(root, "#feedback-page-older").addEventListener("click", () => turn(1));
  find(root, "#feedback-export-set").addEventListener("click", () => download("set"));
  find(root, "#feedback-export-list").addEventListener("click", () => download("list"));
  statistics.addEventListener("toggle", () => {
    if (statistics.open) showStatistics();
  });
  addEventListener("digitcnn-feedback", refresh); // from the pad
  onConnection((text) => {
    root.classList.toggle("offline", text !== "");
    say(text, text !== "");
    if (!text) refresh();
  });
  if (!connection.notice) refresh();
}

customElements.define("digitcnn-feedback", FeedbackElement);
