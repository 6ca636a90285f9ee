// The pad: strokes with mouse, finger or pen, and what the network makes of them, once for every
// frame in which the drawing changed. Drawn and smoothed as on the app's Sketchpad.

const PEN = 0.065; // width, in pad sides
const LEAST_STEP = 0.003; // points nearer to the last one than this add nothing
const CURVE_STEP = 0.015; // length of the straight pieces that a curve is drawn with

const find = (selector) => document.querySelector(selector);
const canvas = find("#pad canvas");
const seen = find("#pad-seen");
const answerBox = find("#pad-answer");
const model = JSON.parse(find("#model").textContent);
const tensors = readTensors(model.tensors, find("#weights").textContent);

// ---- The drawing ------------------------------------------------------------------------------

let strokes = []; // raw points and the smooth line through them, in pad sides

function startStroke(point) {
  strokes.push({ points: [point], line: [point] });
  changed();
}

function extendStroke(added) {
  const stroke = strokes[strokes.length - 1];
  const before = stroke.points.length;
  for (const point of added) {
    const [x, y] = stroke.points[stroke.points.length - 1];
    if (Math.hypot(point[0] - x, point[1] - y) >= LEAST_STEP) stroke.points.push(point);
  }
  if (stroke.points.length === before) return;
  stroke.line = smooth(stroke.points);
  changed();
}

function undo() {
  strokes.pop();
  pointer = null; // a stroke that is taken back while it is drawn has ended
  changed();
}

function clear() {
  strokes = [];
  pointer = null;
  changed();
}

// A quadratic curve from the middle of each piece to the middle of the next, its corner being the
// point between: goes smoothly where a fast pen leaves few points.
function smooth(points) {
  if (points.length < 3) return points.slice();
  const middle = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];
  const line = [points[0]];
  let from = points[0];
  for (let i = 1; i < points.length - 1; i += 1) {
    const corner = points[i];
    const to = i === points.length - 2 ? points[i + 1] : middle(corner, points[i + 1]);
    const length =
      Math.hypot(corner[0] - from[0], corner[1] - from[1]) +
      Math.hypot(to[0] - corner[0], to[1] - corner[1]);
    const pieces = Math.max(1, Math.ceil(length / CURVE_STEP));
    for (let k = 1; k <= pieces; k += 1) {
      const t = k / pieces;
      const [a, b, c] = [(1 - t) * (1 - t), 2 * t * (1 - t), t * t];
      line.push([
        a * from[0] + b * corner[0] + c * to[0],
        a * from[1] + b * corner[1] + c * to[1],
      ]);
    }
    from = to;
  }
  return line;
}

// The strokes as the app's pad sends them, so that both see the same.
function lines() {
  const round = (value) => Math.round(value * 1e4) / 1e4;
  return strokes.map(({ line }) => line.map(([x, y]) => [round(x), round(y)]));
}

// ---- Painting ---------------------------------------------------------------------------------

let frame = null; // the animation frame that will show the last change

function changed() {
  frame ??= requestAnimationFrame(() => {
    frame = null;
    paint();
    answer();
  });
}

function fit() {
  const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (side === 0 || canvas.width === side) return;
  canvas.width = side;
  canvas.height = side;
  paint();
}

function paint() {
  const side = canvas.width;
  const pen = canvas.getContext("2d");
  find("#pad").classList.toggle("inked", strokes.length > 0);
  pen.clearRect(0, 0, side, side);
  pen.strokeStyle = getComputedStyle(canvas).color;
  pen.lineWidth = PEN * side;
  pen.lineCap = "round";
  pen.lineJoin = "round";
  for (const { line } of strokes) {
    pen.beginPath();
    pen.moveTo(line[0][0] * side, line[0][1] * side);
    for (const [x, y] of line) pen.lineTo(x * side, y * side);
    pen.stroke();
  }
}

// ---- The answer -------------------------------------------------------------------------------

function answer() {
  const pixels = fromStrokes(lines(), PEN, model.framing);
  show(pixels, pixels && read(pixels, model, tensors));
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function show(pixels, reading) {
  const refused = reading !== null && reading.isDigit === false;
  answerBox.dataset.digit = refused ? "none" : reading ? String(reading.digit) : "";
  answerBox.querySelector(".digit").textContent = refused ? "–" : reading ? reading.digit : "?";
  answerBox.querySelector(".words").textContent = refused
    ? `no digit, closest: ${reading.digit}`
    : reading
      ? `${percent(reading.probabilities[reading.digit])} sure` +
        (model.temperature === null ? " (not calibrated)" : "")
      : "Nothing drawn yet";
  find(".bars").classList.toggle("muted", refused);
  bars.forEach(({ item, fill, number }, digit) => {
    const share = reading ? reading.probabilities[digit] : 0;
    item.classList.toggle("best", reading !== null && digit === reading.digit);
    fill.style.transform = `scaleX(${share})`;
    number.textContent = reading ? percent(share) : "–";
  });
  showSeen(pixels);
  for (const button of document.querySelectorAll(".tools button")) {
    button.disabled = strokes.length === 0;
  }
}

function showSeen(pixels) {
  const context = seen.getContext("2d");
  const image = context.createImageData(28, 28);
  for (let i = 0; i < 784; i += 1) {
    const value = pixels ? pixels[i] : 0;
    image.data.set([value, value, value, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  const what = pixels ? "" : ": nothing yet";
  seen.setAttribute("aria-label", `The 28 by 28 pixels that the network sees${what}`);
}

const bars = Array.from({ length: 10 }, (_, digit) => {
  const make = (tag, className, text = "") => {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  };
  const item = make("li", "");
  const track = make("span", "track");
  const fill = make("span", "fill");
  const number = make("span", "percent");
  track.append(fill);
  item.append(make("span", "name", String(digit)), track, number);
  find(".bars").append(item);
  return { item, fill, number };
});

// ---- Pen, mouse, finger, keys -----------------------------------------------------------------

let pointer = null; // the one that draws; others are palms and second fingers

// Beyond the edge the pen goes along it: a circle that leaves the pad stays closed.
function place(event) {
  const box = canvas.getBoundingClientRect();
  return [
    clip((event.clientX - box.left) / box.width, 0, 1),
    clip((event.clientY - box.top) / box.height, 0, 1),
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  event.preventDefault();
  pointer = event.pointerId;
  canvas.setPointerCapture(pointer);
  startStroke(place(event));
});

canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents?.() ?? [];
  extendStroke((events.length ? events : [event]).map(place));
});

for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
  canvas.addEventListener(type, (event) => {
    if (event.pointerId === pointer) pointer = null;
  });
}

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && event.key.toLowerCase() === "z") undo();
  else if (command || event.altKey) return;
  else if (event.key === "Delete" || event.key === "Escape") clear();
  else return;
  event.preventDefault();
});

// ---- Start ------------------------------------------------------------------------------------

find("#pad-undo").addEventListener("click", undo);
find("#pad-clear").addEventListener("click", clear);
new ResizeObserver(fit).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
fit();
answer();
