// Small helpers for building and filling elements.

export const DIGITS = [...Array(10).keys()];
export const NONE = "none"; // the label of a sketch that is not a digit

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/**
 * Returns the element that a selector finds; throws where there is none.
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {any}
 */
export function find(root, selector) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`The page lacks ${selector}.`);
  return element;
}

/** @param {number} share */
export const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** @param {number | string | null} label */
export const labelText = (label) =>
  label === null || label === NONE ? "not a digit" : String(label);

/** @param {number[]} shares */
export const largest = (shares) => shares.indexOf(Math.max(...shares));

/** @param {string} base64 */
export function bytesOf(base64) {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/**
 * Returns an address of a file that the app sent as base64.
 * @param {{ [key: string]: any }} file with `type` and `content`
 */
export const addressOf = ({ type, content }) =>
  URL.createObjectURL(new Blob([bytesOf(content)], { type }));

/**
 * Saves a file that the app sent as base64.
 * @param {{ [key: string]: any }} file with `name`, `type` and `content`
 */
export function saveFile({ name, ...file }) {
  const link = make("a");
  link.href = addressOf(file);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/**
 * Draws square grey pixels, 0 to 255, on a canvas of that side; none clears it.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number> | null} pixels
 */
export function drawGrey(canvas, pixels) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!pixels) return;
  const image = context.createImageData(canvas.width, canvas.height);
  image.data.fill(255);
  for (let i = 0; i < pixels.length; i += 1) image.data.fill(pixels[i], 4 * i, 4 * i + 3);
  context.putImageData(image, 0, 0);
}

/** Calls back when the colour scheme changes. @param {() => void} repaint */
export function onThemeChange(repaint) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  const options = { attributes: true, attributeFilter: ["class"] };
  new MutationObserver(repaint).observe(document.body, options);
}
