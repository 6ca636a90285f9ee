// The panel "Step through": one place of the drawing on its way through the network. The reply has
// what goes into every layer; the arithmetic between is done here, in conv_steps.js.

import { dot, floatsOf, kernelOf, stepsAt, windowAt } from "./conv_steps.js";
import { DIGITS, drawGrey, find, largest, make, onThemeChange } from "./dom.js";
import { connection } from "./page_state.js";
import { registerPanel } from "./panels.js";

const SIDE = 28;
const STRONGEST = 4; // inputs of the second layer that are shown
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** @typedef {import("./conv_steps.js").Block} Block */
/** @typedef {{ blocks: Block[], weights: Float32Array, bias: number[] }} Weights */

/** A number as people read it, rounded. @param {number} value */
const text = (value) => value.toFixed(2).replace("-0.00", "0.00").replace("-", "−");

/** A number that is added to others: its sign is the operator. @param {number} value */
const term = (value) => (text(value)[0] === "−" ? `− ${text(-value)}` : `+ ${text(value)}`);

/** @param {any} reply @returns {Weights} */
const weightsOf = ({ blocks, weights, bias }) => ({
  blocks: blocks.map((/** @type {any} */ block) => ({
    ...block,
    kernels: floatsOf(block.kernels),
  })),
  weights: floatsOf(weights),
  bias,
});

/** @param {HTMLTableElement} table @param {ArrayLike<number>} numbers @param {number} size */
function fillTable(table, numbers, size) {
  if (table.rows.length !== size) {
    table.replaceChildren();
    for (let i = 0; i < size * size; i += 1) {
      (i % size === 0 ? table.insertRow() : table.rows[table.rows.length - 1]).insertCell();
    }
  }
  for (const [i, cell] of table.querySelectorAll("td").entries()) {
    cell.textContent = text(numbers[i]);
    cell.classList.toggle("negative", numbers[i] < 0);
  }
}

/** @param {HTMLElement} root */
export function startStepThrough(root) {
  const canvas = find(root, ".place");
  const image = make("canvas");
  [image.width, image.height] = [SIDE, SIDE];
  let frameColour = ""; // until it is read: that takes milliseconds after a change of the page
  const none = find(root, ".none");
  const layers = [find(root, ".first"), find(root, ".second")];
  const bars = DIGITS.map((digit) => {
    const item = make("li");
    const value = make("span", "value");
    item.append(make("span", "digit", String(digit)), value);
    find(root, ".bars").append(item);
    return { item, value };
  });
  /** @type {{ digest: string, weights: Weights } | null} */
  let known = null;
  /** @type {{ input: Float32Array, outputs: Float32Array[], features: Float32Array, logits: number[], temperature: number } | null} */
  let steps = null;
  let [row, column] = [13, 13];
  let chosen = false; // whether the window was moved
  const filters = [0, 0];

  function paint() {
    const context = canvas.getContext("2d");
    const size = canvas.width / SIDE;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!steps || !known) return;
    const [low, high] = [Math.min(...steps.input), Math.max(...steps.input)];
    drawGrey(
      image,
      steps.input.map((value) => Math.round((255 * (value - low)) / (high - low || 1))),
    );
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const { size: kernel, padding } = known.weights.blocks[0];
    frameColour ||= getComputedStyle(root).getPropertyValue("--against");
    context.strokeStyle = frameColour;
    context.lineWidth = 2.5;
    context.strokeRect(
      (column - padding) * size,
      (row - padding) * size,
      kernel * size,
      kernel * size,
    );
  }

  /**
   * Writes the steps after the products.
   * @param {number} number of the layer
   * @param {Block} block
   * @param {ReturnType<typeof stepsAt>} at
   */
  function showRest(number, block, at) {
    const filter = filters[number];
    const layer = layers[number];
    const [factor, summand] = [block.factor[filter], block.summand[filter]];
    const plain = factor === 1 && summand === 0;
    find(layer, ".normed").hidden = plain;
    find(layer, ".norm").textContent =
      `${text(at.sum)} × ${text(factor)} ${term(summand)} ≈ ${text(at.normed)}`;
    find(layer, ".pool").textContent =
      `ReLU: max(0, ${text(at.normed)}) = ${text(Math.max(0, at.normed))}. Pooling keeps the ` +
      `largest of the four places around here: ${text(at.pooled)}.`;
  }

  function showFirst() {
    if (!steps || !known) return;
    const block = known.weights.blocks[0];
    const pixels = windowAt(steps.input, SIDE, 0, block, row, column);
    const kernel = kernelOf(block, filters[0], 0);
    fillTable(find(root, ".window"), pixels, block.size);
    fillTable(find(root, ".kernel"), kernel, block.size);
    const at = stepsAt(steps.input, SIDE, block, filters[0], row, column);
    find(layers[0], ".sum").textContent =
      `${text(dot(pixels, kernel))} ${term(block.bias[filters[0]])} (bias) ≈ ${text(at.sum)}`;
    showRest(0, block, at);
  }

  function showSecond() {
    if (!steps || !known) return;
    const [first, second] = known.weights.blocks;
    // The place in the first layer's pooled maps; without padding the second layer's are smaller.
    const last = 2 * second.side - 1;
    const place = [row, column].map((at) =>
      Math.max(
        0,
        Math.min(last, Math.floor(at / 2) + second.padding - Math.floor(second.size / 2)),
      ),
    );
    const at = stepsAt(steps.outputs[0], first.side, second, filters[1], place[0], place[1]);
    const order = at.parts
      .map((part, input) => ({ part, input }))
      .sort((a, b) => Math.abs(b.part) - Math.abs(a.part));
    const shown = order.slice(0, STRONGEST);
    const rest = order.slice(STRONGEST).reduce((total, { part }) => total + part, 0);
    find(root, ".inputs").textContent =
      `It looks at all ${second.inputs} maps of the first layer here. The strongest:`;
    find(root, ".strongest").replaceChildren(
      ...shown.map(({ part, input }) => make("li", "", `map ${input}: ${text(part)}`)),
    );
    const others = second.inputs - shown.length;
    const [strongest, ...next] = shown.map(({ part }) => part);
    find(layers[1], ".sum").textContent =
      `${text(strongest)} ${next.map(term).join(" ")} ` +
      `${term(rest)} (the other ${others}) ${term(second.bias[filters[1]])} (bias) ≈ ${text(at.sum)}`;
    showRest(1, second, at);
  }

  function showScores() {
    const temperature = steps?.temperature ?? 1;
    const scores = (steps?.logits ?? []).map((logit) => logit / temperature);
    const best = largest(scores);
    const [low, high] = [Math.min(...scores), Math.max(...scores)];
    bars.forEach(({ item, value }, digit) => {
      const share = steps ? (scores[digit] - low) / (high - low || 1) : 0;
      item.style.setProperty("--share", String(share));
      item.classList.toggle("best", steps !== null && digit === best);
      value.textContent = steps ? text(scores[digit]) : "";
    });
    if (!steps || !known) return;
    const { weights, bias } = known.weights;
    const { features } = steps;
    const count = features.length;
    const products = Array.from(features, (feature, i) => feature * weights[best * count + i]);
    const top = [...products.keys()].sort((a, b) => products[b] - products[a]).slice(0, 3);
    const named = top.map(
      (i) => `feature ${i}: ${text(features[i])} × ${text(weights[best * count + i])}`,
    );
    find(root, ".total").textContent =
      `The score of ${best} adds up ${count} features, each times a weight, and a bias of ` +
      `${text(bias[best])}: ${text(steps.logits[best])}. Most is added by ${named.join("; ")}.` +
      (temperature === 1
        ? ""
        : ` Calibration divides all scores by ${text(temperature)}: ${text(scores[best])}.`);
  }

  function showPlace() {
    showFirst();
    showSecond();
    paint();
  }

  /** Offers the filters of a new model. */
  function offerFilters() {
    layers.forEach((layer, number) => {
      const count = known?.weights.blocks[number].count ?? 0;
      const select = find(layer, ".filter");
      filters[number] = Math.min(filters[number], Math.max(0, count - 1));
      select.replaceChildren(
        ...Array.from({ length: count }, (_, i) => new Option(String(i), String(i))),
      );
      select.value = String(filters[number]);
    });
  }

  registerPanel(root, {
    ask: (payload) => connection.call("step_through", { ...payload, known: known?.digest }),
    show(reply) {
      if (reply.weights) {
        known = { digest: reply.digest, weights: weightsOf(reply.weights) };
        offerFilters();
      }
      steps = {
        input: floatsOf(reply.input),
        outputs: reply.outputs.map(floatsOf),
        features: floatsOf(reply.features),
        logits: reply.logits,
        temperature: reply.temperature,
      };
      if (!chosen) startOnInk(steps.input);
      none.hidden = true;
      root.classList.remove("empty");
      showPlace();
      showScores();
    },
    clear(computing) {
      steps = null;
      root.classList.add("empty");
      none.hidden = false;
      none.textContent = computing || "Draw a digit to follow it through the network.";
      paint();
      showScores();
    },
  });

  /** Puts the window on the ink nearest to the middle. @param {Float32Array} input */
  function startOnInk(input) {
    const full = 0.9 * Math.max(...input);
    /** @param {number} i */
    const distance = (i) => Math.hypot(Math.floor(i / SIDE) - 13.5, (i % SIDE) - 13.5);
    const inked = [...input.keys()].filter((i) => input[i] >= full);
    const nearest = inked.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    [row, column] = [Math.floor(nearest / SIDE), nearest % SIDE];
  }

  /** @param {number} y @param {number} x */
  function moveTo(y, x) {
    chosen = true;
    row = Math.max(0, Math.min(SIDE - 1, y));
    column = Math.max(0, Math.min(SIDE - 1, x));
    showPlace();
  }

  /** @param {PointerEvent} event */
  const follow = (event) => {
    const box = canvas.getBoundingClientRect();
    moveTo(
      Math.floor((SIDE * (event.clientY - box.top)) / box.height),
      Math.floor((SIDE * (event.clientX - box.left)) / box.width),
    );
  };
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = /** @type {Record<string, number[]>} */ (KEYS)[event.key];
    if (!step) return;
    event.preventDefault();
    moveTo(row + step[0], column + step[1]);
  });
  layers.forEach((layer, number) => {
    find(layer, ".filter").addEventListener("change", (/** @type {Event} */ event) => {
      filters[number] = Number(/** @type {HTMLSelectElement} */ (event.target).value);
      showPlace();
    });
  });
  onThemeChange(() => {
    frameColour = "";
    paint();
  });
}
