// The exported page: classifies the sketch, at most once per animation frame.

import { createCanvas } from "./canvas.js";
import { find } from "./dom.js";
import { frameStrokes } from "./framing.js";
import { classify, readTensors } from "./network.js";
import { createPredictionView } from "./prediction.js";
import { extendStroke, linesOf, PEN, startStroke } from "./strokes.js";

const model = JSON.parse(find(document, "#model").textContent);
const tensors = readTensors(model.tensors, find(document, "#weights").textContent);
const undoButton = find(document, "#pad-undo");
const clearButton = find(document, "#pad-clear");
const showPrediction = createPredictionView(document);

/** @type {import("./strokes.js").Stroke[]} */
let strokes = [];
let scheduled = false; // an animation frame will show the last change

const { paint, lift } = createCanvas(find(document, "#pad canvas"), {
  strokes: () => strokes,
  onStart(point) {
    strokes.push(startStroke(point));
    changed();
  },
  onExtend(points) {
    if (extendStroke(strokes[strokes.length - 1], points)) changed();
  },
});

function changed() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    paint();
    predict();
  });
}

function predict() {
  const pixels = frameStrokes(linesOf(strokes), PEN, model.framing);
  undoButton.disabled = clearButton.disabled = pixels === null;
  if (pixels === null) {
    showPrediction([]);
    return;
  }
  const { digit, probabilities, isDigit } = classify(pixels, model, tensors);
  const calibrated = model.temperature !== null;
  showPrediction([{ digit, refused: isDigit === false, probabilities, calibrated, pixels }]);
}

function undo() {
  lift();
  strokes.pop();
  changed();
}

function clear() {
  lift();
  strokes = [];
  changed();
}

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && event.key.toLowerCase() === "z") undo();
  else if (command || event.altKey) return;
  else if (event.key === "Delete" || event.key === "Escape") clear();
  else return;
  event.preventDefault();
});
undoButton.addEventListener("click", undo);
clearButton.addEventListener("click", clear);
predict();
