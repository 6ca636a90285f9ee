// What Gradio runs in the browser at an event of a component (`js=`), or when it puts HTML on the page
// (`js_on_load=`). `bundle.py` hands each function over as text, without the rest of this module, so
// none uses anything outside itself; what they need of the page's scripts they ask for by events.

/**
 * What Gradio offers to a script of a gr.HTML.
 * @typedef {object} Part
 * @property {HTMLElement} element
 * @property {(event: string, data?: object) => void} trigger
 * @property {{ value: unknown }} props
 * @property {(name: string, changed: () => void) => void} watch
 */

/** @param {string} selector of a button or link, which is pressed if it is there */
export function press(selector) {
  /** @type {HTMLElement | null} */ (document.querySelector(selector))?.click();
}

/**
 * Scrolls to an element no further than necessary; two frames later, as only then new content has its
 * size.
 * @param {string} selector
 */
export function reveal(selector) {
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
  const scroll = () =>
    document.querySelector(selector)?.scrollIntoView({ behavior, block: "nearest" });
  requestAnimationFrame(() => requestAnimationFrame(scroll));
}

/**
 * Scrolls to the middle of the window what is not wholly in sight.
 * @param {string} selector
 */
export function center(selector) {
  const shown = document.querySelector(selector);
  if (!shown) return;
  const { top, bottom } = shown.getBoundingClientRect();
  if (top >= 0 && bottom <= innerHeight) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
  shown.scrollIntoView({ behavior, block: "center" });
}

/** Shows Start when settings were filled in from a run: they are above the runs, often out of sight. */
export function showStart() {
  const start = document.getElementById("train-start");
  start?.scrollIntoView({ block: "center" });
  start?.focus({ preventScroll: true });
}

/** Moves whoever starts an experiment without a prediction to the choices, while they are open. */
export function askForPrediction() {
  const predict = document.getElementById("experiment-predict");
  const first = /** @type {HTMLElement | null} */ (predict?.querySelector("input:enabled"));
  if (!predict || !first || predict.querySelector("input:checked")) return;
  predict.scrollIntoView({ block: "nearest" });
  first.focus({ preventScroll: true });
}

/**
 * Tells the page's scripts a new value of a component.
 * @param {string} event @param {unknown} detail
 */
export function tell(event, detail) {
  dispatchEvent(new CustomEvent(event, { detail }));
}

/** @param {string} part the `elem_id` of a component that results depend on @param {unknown} value */
export function tellChoice(part, value) {
  dispatchEvent(new CustomEvent("digitcnn-choosing", { detail: { part, value: value ?? null } }));
}

/** @param {string} model the selected one @param {string} trained of the run finished by then */
export function storeModel(model, trained) {
  dispatchEvent(new CustomEvent("digitcnn-store-model", { detail: { model, trained } }));
}

/**
 * Puts what a script of the page holds in the place of the first input, a hidden field that stays
 * empty: the owner's token, or this browser's secret.
 * @param {string} event @param {unknown} _ @param {...unknown} inputs
 */
export function withSecret(event, _, ...inputs) {
  const asked = new CustomEvent(event, { detail: { secret: "" } });
  dispatchEvent(asked);
  return [asked.detail.secret, ...inputs];
}

/**
 * Puts the model that the browser tab has stored into some of the inputs.
 * @param {number[]} places @param {...unknown} inputs
 */
export function withStoredModel(places, ...inputs) {
  const asked = new CustomEvent("digitcnn-stored-model", { detail: { stored: "" } });
  dispatchEvent(asked);
  for (const place of places) inputs[place] = asked.detail.stored;
  return inputs;
}

/** @param {...unknown} values which the event's outputs get, without a request */
export function give(...values) {
  return values;
}

/** The address is known to the browser only. @param {string} query */
export function wholeAddress(query) {
  return location.origin + location.pathname + query;
}

/** Reports a press of any button. @param {Part} part */
export function reportPress({ element, trigger }) {
  element.addEventListener("click", (event) => {
    if (/** @type {Element} */ (event.target).closest("button")) trigger("select");
  });
}

/**
 * Reports the line of a dropped file whose button is pressed. The focus stays on the buttons while
 * there are any.
 * @param {Part} part
 */
export function reportLine({ element, trigger }) {
  element.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-file]");
    if (!(button instanceof HTMLElement)) return;
    const before = button.closest("li")?.previousElementSibling;
    before?.querySelector("button")?.focus();
    trigger("select", { file: button.dataset.file, key: button.dataset.key });
  });
}

/** Hands on the cell that `confusion_matrices.js` reports. @param {Part} part */
export function reportCell({ element, trigger }) {
  element.addEventListener("digitcnn-cell", (event) =>
    trigger("click", /** @type {CustomEvent} */ (event).detail),
  );
}

/** Hands on what `runs.js` reports: settings to fill in, and models to compare. @param {Part} part */
export function reportRuns({ element, trigger }) {
  element.addEventListener("digitcnn-repeat", (event) =>
    trigger("click", /** @type {CustomEvent} */ (event).detail),
  );
  element.addEventListener("digitcnn-compare-runs", (event) =>
    trigger("select", /** @type {CustomEvent} */ (event).detail),
  );
}

/**
 * The number is the value; the slider follows its logarithm, and writes two significant digits into it.
 * @param {Part} part
 */
export function logarithmicSlider({ element, trigger, props, watch }) {
  const [slider, number] = element.querySelectorAll("input");
  const follow = () => {
    slider.value = String(Math.log10(Number(number.value)));
  };
  // An emptied field is "" rather than 0, so that it is refused as empty.
  const typed = () => (number.value === "" ? "" : Number(number.value));
  slider.addEventListener("input", () => {
    number.value = String(Number((10 ** Number(slider.value)).toPrecision(2)));
    props.value = Number(number.value);
  });
  slider.addEventListener("change", () => trigger("change"));
  number.addEventListener("input", () => {
    follow();
    props.value = typed();
  });
  number.addEventListener("change", () => trigger("change"));
  const show = () => {
    number.value = String(props.value);
    follow();
  };
  watch("value", show);
  show();
}
