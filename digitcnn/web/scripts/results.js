// Greys results whose models or test sets are not those chosen now, says whose they are, and offers
// a button that computes the ones of the new choice.
//
// The app renders each result inside `<digitcnn-result>` with the stamp of what it was computed for,
// and what a tab's components had chosen as `<digitcnn-choice>`. Until the app has responded to what
// they choose now, nothing is known to be up to date, and everything is grey.

import { make } from "./dom.js";

/** @type {Map<string, string>} what each component chooses now, as JSON; once it has changed */
const present = new Map();

/** @param {string} tab @returns {HTMLElement[]} */
const resultsOf = (tab) => [
  .../** @type {NodeListOf<HTMLElement>} */ (
    document.querySelectorAll(`digitcnn-result[data-tab="${tab}"]`)
  ),
];

/** Greys an element that shows a result, or takes the grey away. @param {Element} shown @param {boolean} outdated @param {string} text */
function mark(shown, outdated, text) {
  shown.classList.toggle("outdated", outdated);
  if (outdated) {
    shown.setAttribute("role", "group");
    shown.setAttribute("aria-disabled", "true");
    shown.setAttribute("aria-label", `Outdated: results for ${text}`);
  } else {
    for (const name of ["role", "aria-disabled", "aria-label"]) shown.removeAttribute(name);
  }
}

/** @param {string} tab */
function judge(tab) {
  const results = resultsOf(tab);
  const choice = document.querySelector(`digitcnn-choice[data-tab="${tab}"]`);
  const chosen = choice instanceof ChoiceElement ? choice : null; // null: nothing was computed yet
  /** @param {HTMLElement} result */
  const isOutdated = ({ dataset }) => chosen !== null && chosen.stamp !== dataset.stamp;
  for (const result of results) {
    const [outdated, text] = [isOutdated(result), result.dataset.text ?? ""];
    mark(result, outdated, text);
    // A gallery cannot be inside; the piece of HTML beside it says what it shows.
    const beside = result.querySelector("[data-beside]")?.getAttribute("data-beside");
    const other = beside ? document.getElementById(beside) : null;
    if (other) mark(other, outdated, text);
  }
  chosen?.tell(results.find(isOutdated)?.dataset.text ?? "");
}

/** @type {Set<string>} tabs to judge once their elements are all in place */
const due = new Set();

/** @param {string} tab */
function judgeSoon(tab) {
  if (due.size === 0) {
    queueMicrotask(() => {
      const tabs = [...due];
      due.clear();
      tabs.forEach(judge);
    });
  }
  due.add(tab);
}

// Gradio patches the elements of an earlier response into those of the next one: their attributes
// change, what was added to them goes, and they are not connected again.

class ResultElement extends HTMLElement {
  static observedAttributes = ["class", "data-stamp"];

  connectedCallback() {
    judgeSoon(this.dataset.tab ?? "");
  }

  attributeChangedCallback() {
    judgeSoon(this.dataset.tab ?? "");
  }

  disconnectedCallback() {
    judgeSoon(this.dataset.tab ?? "");
  }
}

class ChoiceElement extends HTMLElement {
  static observedAttributes = ["data-number"]; // another one in each response

  attributeChangedCallback() {
    judgeSoon(this.dataset.tab ?? "");
  }

  /** Whether this was rendered for what the components choose now, not for an earlier choice. */
  get isPresent() {
    const chosen = Object.entries(JSON.parse(this.dataset.chosen ?? "{}"));
    return chosen.every(([part, value]) => {
      const text = JSON.stringify(value);
      return (present.get(part) ?? text) === text;
    });
  }

  /** The stamp of what is chosen; empty while it is not known. */
  get stamp() {
    return (this.isPresent && this.dataset.stamp) || "";
  }

  /** Says whose results are shown, where they are not of what is chosen. @param {string} text */
  tell(text) {
    this.replaceChildren();
    if (!text) return;
    const notice = make("p", "", `Results for ${text}. `);
    notice.role = "status";
    const { action, tab } = this.dataset;
    if (action && this.isPresent) {
      const compute = make("button", "button primary", action);
      compute.type = "button";
      compute.addEventListener("click", () => document.getElementById(`${tab}-run`)?.click());
      notice.append(compute);
    }
    this.append(notice);
  }
}

addEventListener("digitcnn-choosing", (event) => {
  const { part, value } = /** @type {CustomEvent} */ (event).detail;
  present.set(part, JSON.stringify(value));
  for (const choice of document.querySelectorAll("digitcnn-choice")) {
    judgeSoon(/** @type {HTMLElement} */ (choice).dataset.tab ?? "");
  }
});

customElements.define("digitcnn-result", ResultElement);
customElements.define("digitcnn-choice", ChoiceElement);
