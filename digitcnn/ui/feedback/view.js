// The Feedback section: a list with filters, changes to a row, numbers, and files.
//
// Runs once, when Gradio has put view.html on the page, with these at hand:
//   element  holds the markup
//   server   the functions of view.py; each takes one object and answers with one
// Everything that people or files have named is written as text, never as HTML.

const PATIENCE = 20000; // milliseconds to wait for an answer
const SURE = 4000; // milliseconds in which a second press deletes
const DIGITS = [...Array(10).keys()];
const ALL = { right: "any", digit: "any", model: "any" };

const find = (selector) => element.querySelector(selector);
const body = find("#feedback-table tbody");
const said = find(".said");
const numbers = find("#feedback-numbers");
const filters = Array.from(element.querySelectorAll("select[data-filter]"));

const make = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

const button = (text, id, className, onClick) => {
  const made = make("button", `plain ${className}`, text);
  made.type = "button";
  made.id = id;
  made.addEventListener("click", onClick);
  return made;
};

const option = (value, text) => {
  const made = make("option", "", text);
  made.value = value;
  return made;
};

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const digitText = (digit) => (digit === null ? "no digit" : String(digit));

// ---- Asking -----------------------------------------------------------------------------------

// The pad keeps the visitor's secret, and says so when it has it.
const whoAsks = () => ({
  owner: window.digitcnnOwnerToken?.() ?? "",
  visitor: window.digitcnnVisitor,
});

const wanted = () => Object.fromEntries(filters.map((one) => [one.dataset.filter, one.value]));

async function call(name, payload) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, PATIENCE, new Error("late"));
  });
  try {
    return await Promise.race([server[name]({ ...whoAsks(), ...payload }), late]);
  } catch {
    return { error: "The app does not answer; try again in a moment." };
  } finally {
    clearTimeout(timer);
  }
}

function say(text, wrong = false) {
  said.textContent = text;
  said.classList.toggle("wrong", wrong);
}

// ---- The list ---------------------------------------------------------------------------------

let page = 0;
let asked = 0; // the newest question wins

async function refresh() {
  asked += 1;
  const mine = asked;
  const reply = await call("feedback_list", { ...wanted(), page });
  if (mine !== asked) return;
  if (reply.error) {
    say(reply.error, true);
    return;
  }
  page = reply.page;
  showModels(reply.models);
  body.replaceChildren(...(reply.rows.length ? reply.rows.map(showRow) : [showNone()]));
  const first = page * 50 + 1;
  const last = first + reply.rows.length - 1;
  find(".place").textContent = reply.total ? `${first} to ${last} of ${reply.total}` : "";
  find("#feedback-page-newer").disabled = page === 0;
  find("#feedback-page-older").disabled = page + 1 >= reply.pages;
  if (reply.notice) say(reply.notice, true);
  if (numbers.open) showNumbers();
}

function showModels(models) {
  const choice = find("#feedback-filter-model");
  const chosen = choice.value;
  choice.replaceChildren(
    option("any", "any model"),
    ...models.map(({ digest, name }) => option(digest, name))
  );
  // A model whose last verdict is gone stays chosen, so that the list says so.
  if (!Array.from(choice.options).some(({ value }) => value === chosen)) {
    choice.append(option(chosen, chosen.slice(0, 8)));
  }
  choice.value = chosen;
}

function showNone() {
  const filtered = Object.entries(ALL).some(([name, value]) => wanted()[name] !== value);
  const text = filtered
    ? "None that the filters leave."
    : "None yet: draw a digit and say whether the answer is right.";
  const row = make("tr");
  const cell = make("td", "none", text);
  cell.colSpan = 8;
  row.append(cell);
  return row;
}

function showRow(verdict) {
  const row = make("tr");
  const answer = make("td");
  const image = make("img");
  image.src = verdict.image;
  image.width = image.height = 28;
  image.alt = "";
  answer.append(image, digitText(verdict.answer));
  const when = new Date(verdict.time);
  const time = make("td", "wide", when.toLocaleString([], { dateStyle: "short", timeStyle: "short" }));
  if (verdict.corrected) {
    const changed = make("span", "small", " corrected");
    changed.title = new Date(verdict.corrected).toLocaleString();
    time.append(changed);
  }
  const model = make("td", "wide model", verdict.model);
  model.title = `digest ${verdict.digest}`;
  const change = make("td", "change");
  if (verdict.may_change) {
    const edit = button("Edit", "", "edit", () => startEditing(row, verdict));
    edit.setAttribute(
      "aria-label",
      `Edit: answered ${digitText(verdict.answer)}, it was ${digitText(verdict.digit)}`
    );
    change.append(edit);
  }
  row.append(
    answer,
    make("td", "", digitText(verdict.digit)),
    make("td", verdict.right ? "good" : "bad", verdict.right ? "right" : "wrong"),
    // How sure it was of the closest digit says nothing of an answer that named none.
    make("td", "sure", verdict.answer === null ? "–" : percent(verdict.confidence)),
    model,
    make("td", "wide", verdict.mine ? "you" : verdict.alias),
    time,
    change
  );
  return row;
}

// ---- Changing a row ---------------------------------------------------------------------------

// One row at a time: its tools take the row after it.
function startEditing(row, verdict) {
  stopEditing();
  row.classList.add("editing");
  const tools = make("tr", "editing tools");
  const cell = make("td");
  cell.colSpan = 8;
  const editor = make("div", "editor");
  const label = make("label", "", "It was ");
  const choice = make("select");
  choice.id = "feedback-edit-digit";
  choice.append(...DIGITS.map((digit) => option(String(digit), String(digit))));
  choice.append(option("none", "no digit"));
  choice.value = verdict.digit === null ? "none" : String(verdict.digit);
  label.append(choice);
  const done = (reply) => {
    say(reply.error ?? reply.done, Boolean(reply.error));
    if (reply.error) return;
    refresh();
    // The score beside the pad counts this one, too.
    window.dispatchEvent(new Event("digitcnn-correction"));
  };
  const save = async () => {
    const digit = choice.value === "none" ? null : Number(choice.value);
    done(await call("feedback_correct", { id: verdict.id, digit }));
  };
  let timer;
  const erase = button("Delete", "feedback-edit-delete", "danger", async () => {
    if (!erase.classList.contains("armed")) {
      erase.classList.add("armed");
      erase.textContent = "Really delete";
      timer = setTimeout(() => {
        erase.classList.remove("armed");
        erase.textContent = "Delete";
      }, SURE);
      return;
    }
    clearTimeout(timer);
    done(await call("feedback_erase", { id: verdict.id }));
  });
  editor.append(
    label,
    button("Save", "feedback-edit-save", "", save),
    erase,
    button("Cancel", "feedback-edit-cancel", "", () => {
      stopEditing();
      row.querySelector(".edit")?.focus();
    })
  );
  editor.addEventListener("keydown", (event) => {
    if (event.key === "Escape") editor.querySelector("#feedback-edit-cancel").click();
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

// ---- Numbers and files ------------------------------------------------------------------------

async function showNumbers() {
  const reply = await call("feedback_numbers", wanted());
  if (reply.error) {
    say(reply.error, true);
    return;
  }
  for (const place of element.querySelectorAll("[data-table]")) {
    place.replaceChildren(...tableOf(place.dataset.heads.split("|"), reply[place.dataset.table]));
  }
  find(".calibration").textContent = reply.calibration;
  find(".chart").innerHTML = reply.chart; // drawn by the app, of numbers alone
}

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

async function save(kind) {
  const reply = await call("feedback_export", { kind });
  if (reply.error) {
    say(reply.error, true);
    return;
  }
  const bytes = Uint8Array.from(atob(reply.content), (character) => character.charCodeAt(0));
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: reply.type }));
  link.download = reply.name;
  link.click();
  URL.revokeObjectURL(link.href);
  say(`Saved as ${reply.name}.`);
}

// ---- Start ------------------------------------------------------------------------------------

find("#feedback-filter-digit").append(
  ...DIGITS.map((digit) => option(String(digit), String(digit))),
  option("none", "no digit")
);
for (const filter of filters) {
  filter.addEventListener("change", () => {
    page = 0;
    say("");
    refresh();
  });
}
find("#feedback-refresh").addEventListener("click", refresh);
find("#feedback-page-newer").addEventListener("click", () => {
  page -= 1;
  refresh();
});
find("#feedback-page-older").addEventListener("click", () => {
  page += 1;
  refresh();
});
find("#feedback-export-set").addEventListener("click", () => save("set"));
find("#feedback-export-list").addEventListener("click", () => save("list"));
numbers.addEventListener("toggle", () => {
  if (numbers.open) showNumbers();
});
// From the pad: a verdict was given there, or it has just found out who asks.
for (const news of ["digitcnn-verdict", "digitcnn-visitor"]) {
  window.addEventListener(news, () => {
    if (element.isConnected) refresh();
  });
}
if (window.digitcnnVisitor) refresh();
