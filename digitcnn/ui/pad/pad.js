// The pad: drawing, answers while the pen is down, and verdicts.
//
// Runs once, when Gradio has put pad.html on the page, with these at hand:
//   element  holds the markup
//   server   the functions of sketchpad_tab.py; each takes one object and answers with one
// The drawing is kept as strokes in units of the pad's side, 0 to 1, so that the answer depends
// neither on the screen nor on the canvas.

const PEN = 0.065; // width, in pad sides
const LEAST_STEP = 0.003; // points nearer to the last one than this add nothing
const CURVE_STEP = 0.015; // length of the straight pieces that a curve is drawn with
const PICTURE_SIDE = 512; // pictures are reduced to this many pixels before they are sent
const PATIENCE = 15000; // milliseconds to wait for an answer
// Milliseconds from one question to the next while a training has the processor that answers.
const BUSY_PACE = 90;
const DIGITS = [...Array(10).keys()];
const NONE = "none"; // what is no digit

const find = (selector) => element.querySelector(selector);
const pad = find("#pad");
const canvas = find("#pad canvas");
const pen = canvas.getContext("2d");
const seen = find("#pad-seen");
const answerBox = find("#pad-answer");
const message = find(".message");
const recorded = find(".recorded");
const truth = find(".truth");
const rightButton = find("#feedback-right");
const wrongButton = find("#feedback-wrong");

const make = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

const secret = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0")
  ).join("");

// A random secret that says which verdicts are this visitor's. Where the browser keeps nothing,
// it lasts as long as the page.
const visitor = (() => {
  const fresh = secret();
  try {
    const kept = localStorage.getItem("digitcnn-visitor");
    if (/^[0-9a-f]{32}$/.test(kept || "")) return kept;
    localStorage.setItem("digitcnn-visitor", fresh);
  } catch {
    // Storage is switched off.
  }
  return fresh;
})();
// For the feedback view, where a visitor's own verdicts are listed and changed.
window.digitcnnVisitor = visitor;
window.dispatchEvent(new Event("digitcnn-visitor"));

// ---- The drawing ------------------------------------------------------------------------------

// strokes: raw points and the smooth line through them. picture: {url, bitmap}, shown instead of
// the strokes. id: names the drawing in the feedback; every change makes another drawing.
// judged: what was said of the answer that is shown. done: a verdict was given, so that the pen
// begins the next drawing. lineage: the same for all states of a drawing that grows.
const drawing = {
  strokes: [],
  picture: null,
  id: secret(),
  judged: null,
  done: false,
  lineage: 0,
};

const isBlank = () => !drawing.picture && drawing.strokes.length === 0;

function changed({ grown }) {
  drawing.id = secret();
  drawing.judged = null;
  drawing.done = false;
  if (!grown) drawing.lineage += 1;
  paint();
  showTools();
  askAgain();
}

function startStroke(point) {
  // After a verdict, and on a picture, the pen begins the next drawing.
  const fresh = drawing.done || drawing.picture !== null;
  if (fresh) {
    drawing.strokes = [];
    drawing.picture = null;
    recorded.textContent = "";
  }
  drawing.strokes.push({ points: [point], line: [point] });
  changed({ grown: !fresh });
}

function extendStroke(points) {
  const stroke = drawing.strokes[drawing.strokes.length - 1];
  const before = stroke.points.length;
  for (const point of points) {
    const [x, y] = stroke.points[stroke.points.length - 1];
    if (Math.hypot(point[0] - x, point[1] - y) >= LEAST_STEP) stroke.points.push(point);
  }
  if (stroke.points.length === before) return;
  stroke.line = smooth(stroke.points);
  changed({ grown: true });
}

function undo() {
  if (isBlank()) return;
  if (drawing.picture) drawing.picture = null;
  else drawing.strokes.pop();
  changed({ grown: false });
}

function clear() {
  if (isBlank()) return;
  drawing.strokes = [];
  drawing.picture = null;
  recorded.textContent = "";
  changed({ grown: false });
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

// ---- Painting ---------------------------------------------------------------------------------

function fit() {
  const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (side === 0 || (canvas.width === side && canvas.height === side)) return;
  canvas.width = side;
  canvas.height = side;
  paint();
}

function paint() {
  const side = canvas.width;
  pad.classList.toggle("inked", !isBlank());
  pen.clearRect(0, 0, side, side);
  if (drawing.picture) {
    const { bitmap } = drawing.picture;
    const scale = Math.min(side / bitmap.width, side / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    pen.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
    return;
  }
  pen.strokeStyle = getComputedStyle(canvas).color;
  pen.lineWidth = PEN * side;
  pen.lineCap = "round";
  pen.lineJoin = "round";
  for (const { line } of drawing.strokes) {
    pen.beginPath();
    pen.moveTo(line[0][0] * side, line[0][1] * side);
    for (const [x, y] of line) pen.lineTo(x * side, y * side);
    pen.stroke();
  }
}

// ---- Answers: one in flight, the newest drawing wins ------------------------------------------

let version = 0; // of what is to be answered: drawing and model
let answered = 0; // the version that is shown
let shown = null; // the answer that is shown: a digit, NONE, or null for no answer
let busy = null; // the promise of the loop that is asking

const model = () => window.digitcnnModel || "";

function content() {
  if (drawing.picture) return { picture: drawing.picture.url.split(",")[1] };
  const round = (value) => Math.round(value * 1e4) / 1e4;
  const strokes = drawing.strokes.map(({ line }) => line.map(([x, y]) => [round(x), round(y)]));
  return { strokes, width: PEN };
}

// For the Compare tab, which asks several models about the same drawing.
window.digitcnnDrawing = content;

async function call(name, payload) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, PATIENCE, new Error("late"));
  });
  try {
    return await Promise.race([server[name](payload), late]);
  } catch {
    return { error: "The app does not answer; the drawing is kept, so try again in a moment." };
  } finally {
    clearTimeout(timer);
  }
}

function askAgain() {
  version += 1;
  keepAsking();
}

function keepAsking() {
  busy ||= ask().finally(() => {
    busy = null;
    if (answered !== version) keepAsking();
  });
}

let paced = 0; // no question before this moment

async function ask() {
  while (answered !== version) {
    const early = paced - performance.now();
    if (early > 0) await new Promise((done) => setTimeout(done, early));
    const [now, lineage, asked] = [version, drawing.lineage, performance.now()];
    const reply = isBlank() ? { digit: null } : await call("answer", { model: model(), ...content() });
    if (reply.busy) paced = asked + BUSY_PACE;
    answered = now;
    // An answer to an earlier state of the drawing is news; to one that is gone it is not.
    if (lineage === drawing.lineage) showReply(reply);
  }
}

async function settled() {
  while (busy) await busy;
}

function showReply(reply) {
  if (reply.error) {
    message.textContent = reply.error;
    showAnswer({ digit: null });
    return;
  }
  message.textContent = "";
  showAnswer(reply);
}

function showAnswer({ digit, is_digit: passes, probabilities, seen: pixels, calibrated }) {
  const refused = passes === false;
  shown = refused ? NONE : digit;
  const known = digit !== null;
  answerBox.dataset.digit = known ? String(shown) : "";
  answerBox.querySelector(".digit").textContent = refused ? "–" : known ? digit : "?";
  answerBox.querySelector(".words").textContent = refused
    ? `no digit, closest: ${digit}`
    : known
      ? `${percent(probabilities[digit])} sure${calibrated ? "" : " (not calibrated)"}`
      : isBlank()
        ? "Nothing drawn yet"
        : "No answer";
  find(".note").textContent =
    known && passes === null
      ? "This model takes everything for a digit: its file has no statistics of what is none."
      : "";
  find(".bars").classList.toggle("muted", refused);
  bars.forEach(({ item, fill, number }, i) => {
    const share = known ? probabilities[i] : 0;
    item.classList.toggle("best", i === digit);
    fill.style.transform = `scaleX(${share})`;
    number.textContent = known ? percent(share) : "–";
  });
  showSeen(known ? pixels : null);
  showTools();
  // For the panels below the pad, which ask for more once the answer stands.
  const { lineage } = drawing;
  const detail = { digit, refused, probabilities: probabilities ?? null, blank: isBlank(), lineage };
  window.dispatchEvent(new CustomEvent("digitcnn-answer", { detail }));
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function showSeen(pixels) {
  const context = seen.getContext("2d");
  const image = context.createImageData(28, 28);
  const bytes = pixels ? atob(pixels) : "";
  for (let i = 0; i < 784; i += 1) {
    const value = pixels ? bytes.charCodeAt(i) : 0;
    image.data.set([value, value, value, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  seen.setAttribute(
    "aria-label",
    `The 28 by 28 pixels that the network sees${pixels ? "" : ": nothing yet"}`
  );
}

const bars = DIGITS.map((digit) => {
  const item = make("li");
  const track = make("span", "track");
  const fill = make("span", "fill");
  const number = make("span", "percent", "–");
  track.append(fill);
  item.append(make("span", "name", String(digit)), track, number);
  find(".bars").append(item);
  return { item, fill, number };
});

// ---- Verdicts ---------------------------------------------------------------------------------

const digitButtons = [...DIGITS, NONE].map((digit) => {
  const button = make("button", "", String(digit));
  button.type = "button";
  button.dataset.digit = String(digit);
  button.title =
    digit === NONE
      ? "It is no digit (key N while the pad has focus)"
      : `It is a ${digit} (key ${digit} while the pad has focus)`;
  button.addEventListener("click", () => judge(digit));
  find("#feedback-digit").append(button);
  return button;
});

function showTools() {
  const unanswered = isBlank() || shown === null;
  for (const button of [find("#pad-undo"), find("#pad-clear")]) button.disabled = isBlank();
  for (const button of [rightButton, wrongButton, ...digitButtons]) button.disabled = unanswered;
  const { judged } = drawing;
  const right = judged !== null && judged.digit === judged.answer;
  rightButton.classList.toggle("chosen", judged !== null && right);
  wrongButton.classList.toggle("chosen", judged !== null && !right);
  for (const button of digitButtons) {
    const chosen = judged !== null && String(judged.digit) === button.dataset.digit;
    button.classList.toggle("chosen", chosen);
    button.classList.toggle("right", chosen && right);
    button.classList.toggle("wrong", chosen && !right);
    button.setAttribute("aria-pressed", String(chosen));
  }
  if (judged !== null || unanswered) truth.classList.remove("asking");
}

// digit: what it is, NONE for no digit; null for 'as answered'. One at a time: the last verdict is
// the one that holds.
let judging = Promise.resolve();
function judge(digit) {
  const { id } = drawing;
  judging = judging.then(() => send(digit, id));
}

async function send(digit, id) {
  await settled();
  if (isBlank() || shown === null || drawing.id !== id) return;
  const what = digit ?? shown;
  const said = { visitor, sketch: id, digit: what === NONE ? null : what };
  const payload = { model: model(), ...content(), ...said };
  const again = drawing.done;
  const reply = await call("verdict", payload);
  if (reply.error) {
    recorded.textContent = reply.error;
    return;
  }
  showStanding(reply);
  window.dispatchEvent(new Event("digitcnn-verdict"));
  if (drawing.id !== id) return;
  drawing.done = true;
  const answer = reply.answer ?? NONE;
  drawing.judged = { digit: what, answer };
  recorded.textContent =
    `${again ? "Corrected" : "Recorded"}: ${what === NONE ? "no digit" : `a ${what}`}, ` +
    `${what === answer ? "rightly" : "wrongly"} answered ` +
    `${answer === NONE ? "no digit" : answer}. Draw the next one.`;
  showTools();
}

function askForDigit() {
  truth.classList.add("asking");
  recorded.textContent = "Which digit is it? Choose it, or none, or press its key.";
  canvas.focus({ preventScroll: true });
}

function showStanding({ mine, all, kept, error }) {
  if (error) {
    message.textContent = error;
    return;
  }
  const score = find("#feedback-score");
  score.replaceChildren(
    ...[
      ["You", mine],
      ["Everybody", all],
    ].map(([name, { right, total, share, low, high }]) => {
      const box = make("div");
      const of = total
        ? `${right} of ${total} right, 95 % interval ${(100 * low).toFixed(1)} to ${percent(high)}`
        : "no verdict yet";
      box.append(
        make("span", "name", name),
        make("span", "share", total ? percent(share) : "–"),
        make("span", "interval", of)
      );
      return box;
    })
  );
  find(".kept").textContent = `Each verdict is kept with its drawing in ${kept}.`;
}

// ---- Pen, mouse, finger -----------------------------------------------------------------------

let pointer = null; // the one that draws; others are palms and second fingers

// Beyond the edge the pen goes along it: a circle that leaves the pad stays closed.
function place(event) {
  const box = canvas.getBoundingClientRect();
  const inside = (value) => Math.min(1, Math.max(0, value));
  return [
    inside((event.clientX - box.left) / box.width),
    inside((event.clientY - box.top) / box.height),
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  event.preventDefault();
  pointer = event.pointerId;
  canvas.setPointerCapture(pointer);
  canvas.focus({ preventScroll: true });
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

// ---- Keys, pictures ---------------------------------------------------------------------------

canvas.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && event.key.toLowerCase() === "z") undo();
  else if (command || event.altKey) return;
  else if (/^[0-9]$/.test(event.key) && !event.repeat) judge(Number(event.key));
  else if (event.key.toLowerCase() === "n" && !event.repeat) judge(NONE);
  else if (event.key === "Delete" || event.key === "Escape") clear();
  else return;
  event.preventDefault();
});

async function takePicture(file) {
  try {
    const whole = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, PICTURE_SIDE / Math.max(whole.width, whole.height));
    const small = document.createElement("canvas");
    small.width = Math.max(1, Math.round(whole.width * scale));
    small.height = Math.max(1, Math.round(whole.height * scale));
    const context = small.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(whole, 0, 0, small.width, small.height);
    whole.close();
    drawing.picture = { url: small.toDataURL("image/png"), bitmap: small };
  } catch {
    message.textContent =
      "This is no picture that the browser can read; take a PNG, JPEG, WebP, BMP or GIF file.";
    return;
  }
  recorded.textContent = "";
  changed({ grown: false });
  canvas.focus({ preventScroll: true });
}

const firstImage = (transfer) =>
  Array.from(transfer?.files ?? []).find(({ type }) => type.startsWith("image/"));

// On the whole page, as the clipboard goes to whatever has focus; fields keep theirs.
document.addEventListener("paste", (event) => {
  const visible = element.isConnected && canvas.offsetParent !== null;
  const field = event.target.closest?.("input, textarea, [contenteditable]");
  const file = firstImage(event.clipboardData);
  if (!visible || field || !file) return;
  event.preventDefault();
  takePicture(file);
});

pad.addEventListener("dragover", (event) => {
  event.preventDefault();
  pad.classList.add("dropping");
});
pad.addEventListener("dragleave", () => pad.classList.remove("dropping"));
pad.addEventListener("drop", (event) => {
  event.preventDefault();
  pad.classList.remove("dropping");
  const file = firstImage(event.dataTransfer);
  if (file) takePicture(file);
  else message.textContent = "What was dropped is no picture; drop an image file.";
});

// ---- Start ------------------------------------------------------------------------------------

find("#pad-undo").addEventListener("click", undo);
find("#pad-clear").addEventListener("click", clear);
rightButton.addEventListener("click", () => judge(null));
wrongButton.addEventListener("click", askForDigit);
window.addEventListener("digitcnn-model", () => {
  if (!element.isConnected) return;
  drawing.judged = null; // it was said of another model's answer
  askAgain();
});
new ResizeObserver(fit).observe(canvas);
new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
fit();
showAnswer({ digit: null });
const showScore = () => call("standing", { visitor }).then(showStanding);
window.addEventListener("digitcnn-correction", () => {
  if (element.isConnected) showScore();
});
showScore();
